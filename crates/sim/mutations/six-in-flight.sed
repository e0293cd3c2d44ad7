# bounded: six batches are in flight
# crates/flow/src/session/send.rs
s/IN_FLIGHT_MAX: usize = 5/IN_FLIGHT_MAX: usize = 6/
