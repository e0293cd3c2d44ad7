mod answers;
mod drain;
mod join;
mod park;
mod resolve;
mod send;
mod shared;
mod split;

/// A partition that is known to the broker: one event is on its log.
const KNOWN: &str = "
    leader
    producer 7
    publish 1 a -> send 1 7/0/0 a
    answer 1 appended 0 -> ack 1.0+1 published 0
";

fn known(script: &str) {
    crate::script::check(&format!("{KNOWN}{script}"));
}
