//! What the store holds goes to the log, in order, each under a stored stamp.

use super::known;
use crate::script::check;

#[test]
fn a_stamp_is_stored_before_it_is_sent_and_the_row_removed_when_it_is_answered() {
    check(
        "recovered 0 2
         producer 9
         leader -> read 0
         read 0 a | 1 b -> stamp 1 0+1:9/0/0
         stamped 1 -> send 1 9/0/0 a
         answer 1 appended 5 -> remove 1; stamp 2 1+1:9/0/1
         stamped 2 -> send 2 9/0/1 b
         removed 1
         answer 2 appended 6 -> remove 2
         removed 2
         publish 1 c -> send 3 9/0/2 c",
    );
}

#[test]
fn stored_stamps_are_sent_as_they_are_before_anything_else() {
    check(
        "recovered 3 6
         producer 9
         leader -> read 3
         read 3 a b 7/2/4 | 5 c -> send 1 7/2/4 a b
         answer 1 appended 5 -> remove 5; stamp 1 5+1:9/0/0
         stamped 1 -> send 2 9/0/0 c",
    );
}

#[test]
fn up_to_five_drain_at_once_and_none_beyond_five_that_are_not_removed() {
    check(
        "recovered 0 8
         producer 9
         leader -> read 0
         read 0 a | 1 b | 2 c | 3 d | 4 e | 5 f | 6 g | 7 h -> stamp 1 0+1:9/0/0
         stamped 1 -> send 1 9/0/0 a
         answer 1 appended 0 -> remove 1; stamp 2 1+1:9/0/1 2+1:9/0/2 3+1:9/0/3 4+1:9/0/4
         stamped 2 -> send 2 9/0/1 b; send 3 9/0/2 c; send 4 9/0/3 d; send 5 9/0/4 e
         removed 1 -> stamp 3 5+1:9/0/5
         stamped 3 -> send 6 9/0/5 f",
    );
}

#[test]
fn live_events_are_parked_behind_while_the_broker_does_not_answer() {
    check(
        "recovered 0 1
         producer 9
         leader -> read 0
         publish 1 b -> append 1 b
         stored 1 1 -> ack 1.0+1 parked 1",
    );
}

#[test]
fn live_events_wait_for_the_last_of_the_drain_and_then_go_direct() {
    check(
        "recovered 0 2
         producer 9
         leader -> read 0
         read 0 a | 1 b -> stamp 1 0+1:9/0/0
         stamped 1 -> send 1 9/0/0 a
         answer 1 appended 0 -> remove 1; stamp 2 1+1:9/0/1
         publish 1 c
         stamped 2 -> send 2 9/0/1 b
         answer 2 appended 1 -> remove 2
         removed 1
         removed 2 -> send 3 9/0/2 c",
    );
}

#[test]
fn when_the_last_of_the_drain_stalls_live_events_are_parked() {
    check(
        "recovered 0 2
         producer 9
         leader -> read 0
         read 0 a | 1 b -> stamp 1 0+1:9/0/0
         stamped 1 -> send 1 9/0/0 a
         answer 1 appended 0 -> remove 1; stamp 2 1+1:9/0/1
         publish 1 c
         wait 500 -> append 1 c
         stored 1 2 -> ack 1.0+1 parked 2; read 2",
    );
}

#[test]
fn parked_batches_in_flight_keep_being_sent_and_are_removed() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         wait 500 -> append 1 7/0/1 b
         stored 1 0 -> ack 2.0+1 parked 0
         answer 2 lost
         wait 20 -> send 3 7/0/1 b
         answer 3 appended 1 -> remove 1
         removed 1",
    );
}

#[test]
fn what_the_store_cannot_read_back_does_not_hold_up_the_rest() {
    check(
        "recovered 0 3
         producer 9
         leader -> read 0
         read 1 b -> stamp 1 1+1:9/0/0; read 2
         read -> 
         stamped 1 -> send 1 9/0/0 b
         answer 1 appended 0 -> remove 2
         removed 2
         publish 1 c -> send 2 9/0/1 c",
    );
}

#[test]
fn placed_events_come_before_newer_ones() {
    check(
        "leader
         producer 9
         grown 0 2 -> read 0
         publish 1 c -> append 1 c
         stored 1 2 -> ack 1.0+1 parked 2",
    );
}

#[test]
fn records_of_an_append_of_unknown_fate_that_were_read_are_not_read_again() {
    check(
        "recovered 0 1
         producer 9
         leader -> read 0
         publish 1 b -> append 1 b
         stored 1 unknown -> ack 1.0+1 maybe
         read 0 a b -> stamp 1 0+2:9/0/0
         stamped 1 -> send 1 9/0/0 a b
         answer 1 appended 0 -> remove 2
         removed 2
         wait 20 -> append 1 b
         stored 1 1
         publish 2 c -> send 2 9/0/2 c",
    );
}

#[test]
fn what_is_held_stays_until_it_is_let_go_and_later_events_are_parked_behind_it() {
    check(
        "recovered 0 2
         hold
         producer 9
         leader
         publish 1 c -> append 1 c
         stored 1 2 -> ack 1.0+1 parked 2
         release -> read 0
         read 0 a | 1 b | 2 c -> stamp 1 0+1:9/0/0",
    );
}

#[test]
fn a_hold_in_the_midst_of_a_drain_lets_what_is_sent_be_answered_and_sends_nothing_more() {
    check(
        "recovered 0 3
         producer 9
         leader -> read 0
         read 0 a | 1 b | 2 c -> stamp 1 0+1:9/0/0
         stamped 1 -> send 1 9/0/0 a
         hold
         publish 1 d -> append 1 d
         stored 1 3 -> ack 1.0+1 parked 3
         answer 1 appended 5 -> remove 1
         removed 1
         release -> stamp 2 1+1:9/0/1 2+1:9/0/2; read 3",
    );
}

#[test]
fn a_hold_of_a_partition_with_nothing_parked_lets_events_pass() {
    check(
        "producer 9
         leader
         hold
         publish 1 a -> send 1 9/0/0 a
         answer 1 appended 5 -> ack 1.0+1 published 5",
    );
}
