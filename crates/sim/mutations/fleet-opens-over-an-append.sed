# in-order: a partition is opened although something was appended meanwhile
# crates/flow/src/diversion/line.rs
s/Some((opened, Some(lane.tail)))/Some((opened, None))/
