# once: a retry of what may have landed is published anew
# crates/flow/src/session/join.rs
s/self.list.push_back((payload, outcome));/let _ = (payload, outcome);/
