# restartable: a started process does not look at the store
# crates/flow/src/session/drain.rs
s/self.lane.tail = self.lane.tail.max(tail);/let _ = tail;/
