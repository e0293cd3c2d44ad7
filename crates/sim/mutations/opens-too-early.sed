# in-order: live events overtake what is parked
# crates/flow/src/session/park.rs
s/self.mode == Mode::Closing \&\& self.lane.is_empty()/self.mode == Mode::Closing/
