# in-order: a lease counts for longer than others believe
# crates/flow/src/diversion/lease.rs
s/self.valid_until = sent.at + lease;/self.valid_until = sent.at + lease * 2;/
