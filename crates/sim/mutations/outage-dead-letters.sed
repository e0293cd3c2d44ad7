# told-apart: an outage counts as a refusal
# crates/flow/src/session/answered.rs
s/self.troubled(now, trouble, orders);/batch.state = State::Refused(crate::answer::Refusal::TooLarge);/
