//! Retries with the id of an event that may have landed.

use super::known;

const MAYBE: &str = "
    publish 2 b c -> send 2 7/0/1 b c
    gone -> append 1 7/0/1 b c
    stored 1 full -> ack 2.0+2 maybe
";

#[test]
fn a_retry_shares_what_becomes_of_the_first() {
    known(&format!(
        "{MAYBE}
         join 3 c -> append 2 7/0/1 b c
         answer 2 appended 1 -> ack 3.0+1 published 2
         stored 2 0 -> remove 2"
    ));
}

#[test]
fn a_retry_is_told_what_became_of_the_first() {
    known(&format!(
        "{MAYBE}
         answer 2 appended 1
         join 3 c -> ack 3.0+1 published 2"
    ));
}

#[test]
fn a_retry_of_what_is_parked_meanwhile_is_parked() {
    known(&format!(
        "{MAYBE}
         publish 3 d -> append 2 7/0/1 b c | d
         stored 2 0 -> ack 3.0+1 parked 2
         join 4 c -> ack 4.0+1 parked 1"
    ));
}

#[test]
fn a_retry_joins_an_append_of_unknown_fate() {
    known(
        "gone
         publish 2 b -> append 1 b
         stored 1 unknown -> ack 2.0+1 maybe
         join 3 b
         wait 20 -> append 1 b
         stored 1 0 -> ack 3.0+1 parked 0
         join 4 b -> ack 4.0+1 parked 0",
    );
}

#[test]
fn what_certainly_did_not_land_is_published_as_any_other() {
    known(
        "gone
         publish 2 b -> append 1 b
         stored 1 full -> ack 2.0+1 failed
         join 3 b not",
    );
}
