# owned: what waits is parked before what is in flight
# crates/flow/src/session/append.rs
s/stamped.chain(waiting).collect()/waiting.chain(stamped).collect()/
