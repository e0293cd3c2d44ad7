# in-order: a lease that was taken anew counts before the store was asked what is diverted
# crates/flow/src/diversion/lease.rs
s/self.stands \&\& self.listed \&\& now/self.stands \&\& now/
