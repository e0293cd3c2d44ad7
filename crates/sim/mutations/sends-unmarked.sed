# once: what a stamp could not decide is sent unmarked
# crates/flow/src/session/resolve.rs
s/front.stamping.possible_double = true;/front.stamping.possible_double = false;/
