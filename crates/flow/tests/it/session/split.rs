//! A refused batch: the record that is refused alone leaves, and nothing else.

use super::known;
use crate::script::check;

#[test]
fn halves_keep_their_sequences_until_one_is_refused_alone() {
    known(
        "publish 2 b c d e -> send 2 7/0/1 b c d e
         answer 2 refused -> send 3 7/0/1 b c; send 4 7/0/3 d e
         answer 3 appended 1 -> ack 2.0+2 published 1
         answer 4 refused -> send 5 7/0/3 d; send 6 7/0/4 e
         answer 5 refused -> letter 1 d
         answer 6 code 45
         lettered 1 -> ack 2.2+1 lettered; send 7 7/1/0 e
         answer 7 appended 3 -> ack 2.3+1 published 3",
    );
}

#[test]
fn a_batch_that_was_only_too_large_together_loses_nothing() {
    known(
        "publish 2 b c -> send 2 7/0/1 b c
         answer 2 refused -> send 3 7/0/1 b; send 4 7/0/2 c
         answer 3 appended 1 -> ack 2.0+1 published 1
         answer 4 appended 2 -> ack 2.1+1 published 2
         publish 3 d -> send 5 7/0/3 d",
    );
}

#[test]
fn a_split_puts_no_sixth_request_in_flight() {
    known(
        "publish 2 b c -> send 2 7/0/1 b c
         publish 3 d -> send 3 7/0/3 d
         publish 4 e -> send 4 7/0/4 e
         publish 5 f -> send 5 7/0/5 f
         publish 6 g -> send 6 7/0/6 g
         answer 2 refused -> send 7 7/0/1 b
         answer 3 code 45
         answer 7 appended 1 -> ack 2.0+1 published 1; send 8 7/0/2 c; send 9 7/0/3 d",
    );
}

#[test]
fn once_an_event_left_what_follows_begins_the_next_epoch_alone() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         publish 3 c -> send 3 7/0/2 c
         answer 2 refused -> letter 1 b
         answer 3 code 45
         publish 4 d
         lettered 1 -> ack 2.0+1 lettered; send 4 7/1/0 c
         publish 5 e
         answer 4 appended 1 -> ack 3.0+1 published 1; send 5 7/1/1 d; send 6 7/1/2 e",
    );
}

#[test]
fn a_refusal_is_not_believed_while_an_earlier_attempt_may_have_landed() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         answer 2 lost
         wait 20 -> send 3 7/0/1 b
         answer 3 refused -> search 1 b from 1",
    );
}

#[test]
fn what_follows_and_may_have_landed_is_searched_for() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         publish 3 c -> send 3 7/0/2 c
         answer 2 refused -> letter 1 b
         answer 3 lost
         lettered 1 -> ack 2.0+1 lettered
         wait 20 -> search 1 c from 1",
    );
}

#[test]
fn a_letter_that_is_lost_tells_its_caller_and_a_stored_one_is_written_again() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         answer 2 refused -> letter 1 b
         lettered 1 not -> ack 2.0+1 failed",
    );
    check(
        "recovered 0 1
         producer 9
         leader -> read 0
         read 0 a -> stamp 1 0+1:9/0/0
         stamped 1 -> send 1 9/0/0 a
         answer 1 refused -> letter 1 a
         lettered 1 not
         wait 20 -> letter 2 a
         lettered 2 -> remove 1",
    );
}

#[test]
fn a_stored_batch_is_split_in_the_store_before_it_is_sent_in_parts() {
    check(
        "recovered 0 2
         producer 9
         leader -> read 0
         read 0 a b -> stamp 1 0+2:9/0/0
         stamped 1 -> send 1 9/0/0 a b
         answer 1 refused -> stamp 2 0+1:9/0/0 1+1:9/0/1
         stamped 2 -> send 2 9/0/0 a
         answer 2 refused -> letter 1 a
         lettered 1 -> stamp 3 1+1:9/1/0; remove 1
         stamped 3
         removed 1 -> send 3 9/1/0 b
         answer 3 appended 0 -> remove 2",
    );
}

#[test]
fn when_the_epochs_are_used_up_a_new_producer_goes_on() {
    check(
        "recovered 0 2
         producer 9
         leader -> read 0
         read 0 a 7/32767/3 | 1 b 7/32767/4 -> send 1 7/32767/3 a
         answer 1 code 45 -> search 1 a from start
         found 1 - -> stamp 1 0+1:9/1/0!
         stamped 1 -> send 2 9/1/0! a",
    );
}

#[test]
fn when_its_own_epochs_are_used_up_the_process_asks_for_another_producer_id() {
    check(
        "recovered 0 1
         producer 9
         leader -> read 0
         read 0 a 9/32767/3 -> send 1 9/32767/3 a
         answer 1 code 45 -> search 1 a from start
         found 1 - -> ask
         producer 11 -> stamp 1 0+1:11/1/0!
         stamped 1 -> send 2 11/1/0! a",
    );
}

#[test]
fn what_becomes_a_letter_is_not_parked_and_what_follows_is() {
    const PARKED: &str = "
        publish 2 b -> send 2 7/0/1 b
        publish 3 c -> send 3 7/0/2 c
        answer 2 refused -> letter 1 b
        answer 3 code 45
        wait 500 -> append 1 7/0/2 c
    ";
    known(&format!(
        "{PARKED}
         stored 1 0 -> ack 3.0+1 parked 0
         lettered 1 -> ack 2.0+1 lettered; stamp 1 0+1:7/1/0
         stamped 1 -> send 4 7/1/0 c"
    ));
    known(&format!(
        "{PARKED}
         lettered 1 not -> ack 2.0+1 failed
         stored 1 0 -> ack 3.0+1 parked 0; stamp 1 0+1:7/1/0"
    ));
}
