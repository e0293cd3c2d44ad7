//! When a partition is out, and what its callers are told.

use super::known;
use crate::script::check;

#[test]
fn half_a_second_without_an_answer_parks_what_is_sent_with_its_stamp_and_what_waits_without() {
    check(
        "leader
         producer 7
         publish 1 a -> send 1 7/0/0 a
         publish 2 b
         wait 499
         wait 1 -> append 1 7/0/0 a | b
         stored 1 0 -> ack 1.0+1 parked 0; ack 2.0+1 parked 1; read 1",
    );
}

#[test]
fn a_leader_known_to_be_gone_parks_at_once() {
    known(
        "gone
         publish 2 b -> append 1 b
         stored 1 0 -> ack 2.0+1 parked 0",
    );
}

#[test]
fn without_a_leader_or_a_producer_half_a_second_parks() {
    check(
        "publish 1 a -> ask
         wait 500 -> append 1 a
         stored 1 0 -> ack 1.0+1 parked 0",
    );
}

#[test]
fn what_an_operator_must_mend_parks_at_once_with_one_alarm() {
    for code in [3, 29, 32, 58] {
        known(&format!(
            "publish 2 b -> send 2 7/0/1 b
             answer 2 code {code} -> alarm; append 1 7/0/1 b
             stored 1 0 -> ack 2.0+1 parked 0
             wait 20 -> send 3 7/0/1 b
             answer 3 code {code}"
        ));
    }
}

#[test]
fn parked_is_told_only_when_it_is_durable_and_later_ones_go_behind() {
    known(
        "gone
         publish 2 b -> append 1 b
         publish 3 c
         stored 1 0 -> ack 2.0+1 parked 0; append 2 c
         stored 2 1 -> ack 3.0+1 parked 1",
    );
}

#[test]
fn an_answer_that_comes_while_parking_is_believed() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         wait 500 -> append 1 7/0/1 b
         answer 2 appended 1 -> ack 2.0+1 published 1
         stored 1 0 -> remove 1
         removed 1
         publish 3 c -> send 3 7/0/2 c",
    );
}

#[test]
fn a_full_store_refuses_what_waits_and_keeps_what_may_have_landed() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         publish 3 c -> send 3 7/0/2 c
         answer 3 code 45
         publish 4 d
         gone -> append 1 7/0/1 b | 7/0/2 c | d
         stored 1 full -> ack 2.0+1 maybe; ack 3.0+1 maybe; ack 4.0+1 failed
         answer 2 lost
         leader -> send 4 7/0/1 b
         answer 4 appended 1 -> send 5 7/0/2 c
         publish 5 e -> send 6 7/0/3 e",
    );
}

#[test]
fn an_append_of_unknown_fate_is_repeated_under_its_number() {
    known(
        "gone
         publish 2 b -> append 1 b
         stored 1 unknown -> ack 2.0+1 maybe
         publish 3 c
         wait 20 -> append 1 b
         stored 1 0 -> append 2 c
         stored 2 1 -> ack 3.0+1 parked 1",
    );
}

#[test]
fn behind_an_append_of_unknown_fate_nobody_waits_for_long() {
    known(
        "gone
         publish 2 b -> append 1 b
         stored 1 unknown -> ack 2.0+1 maybe
         publish 3 c
         wait 500 -> append 1 b; ack 3.0+1 failed",
    );
}
