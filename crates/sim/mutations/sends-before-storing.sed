# once: a stamp is sent before it is stored
# crates/flow/src/session/drain.rs
s/state: State::Storing(self.numbers.write + 1),/state: State::Ready,/
