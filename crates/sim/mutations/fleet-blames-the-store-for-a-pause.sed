# in-order: a process that stood still takes what it had asked before for a store that is silent
# crates/flow/src/diversion/member.rs
s/!std::mem::take(&mut self.is_stale)/true/
