# once: what an earlier run may have appended is appended without a look
# crates/flow/src/redrive.rs
s/Claim::OursBefore | Claim::TakenOver => State::Looking/Claim::OursBefore | Claim::TakenOver => State::Claimed/
