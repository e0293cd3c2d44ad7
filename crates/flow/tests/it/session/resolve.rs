//! When a stamp cannot decide.

use super::known;
use crate::script::check;

#[test]
fn what_is_found_is_published() {
    known(
        "publish 2 b c -> send 2 7/0/1 b c
         answer 2 lost
         hours 13
         wait 20 -> search 1 b c from 1
         found 1 1 2 -> ack 2.0+2 published 1
         publish 3 d -> send 3 7/0/3 d",
    );
}

#[test]
fn what_is_missing_is_stored_and_then_sent_marked_at_the_next_epoch() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         answer 2 lost
         hours 13
         wait 20 -> search 1 b from 1
         found 1 - -> append 1 7/0/1 b
         stored 1 0 -> ack 2.0+1 parked 0; stamp 1 0+1:7/1/0!
         stamped 1 -> send 3 7/1/0! b
         answer 3 appended 1 -> remove 1",
    );
}

#[test]
fn what_cannot_be_searched_for_is_sent_marked() {
    check(
        "recovered 0 1
         leader 2 -> read 0
         read 0 a 7/0/3 -> search 1 a from start
         unsearchable 1 -> stamp 1 0+1:7/1/0!
         stamped 1 -> send 1 7/1/0! a",
    );
}

#[test]
fn a_search_that_failed_is_made_again() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         answer 2 code 45 -> search 1 b from 1
         unsearched 1
         wait 20 -> search 2 b from 1",
    );
}

#[test]
fn nothing_is_searched_for_while_an_attempt_is_open() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         publish 3 c -> send 3 7/0/2 c
         answer 2 code 47
         answer 3 code 47 -> search 1 b from 1",
    );
}

#[test]
fn a_batch_that_is_partly_found_is_parted() {
    check(
        "recovered 0 4
         leader -> read 0
         read 0 a b c d 7/0/3 -> send 1 7/0/3 a b c d
         answer 1 code 45 -> search 1 a b c d from start
         found 1 4 - 8 9 -> stamp 1 0+1:7/0/3 1+1:7/0/4 2+2:7/0/5; stamp 2 1+1:7/1/0!; remove 1
         removed 1
         stamped 2 -> send 2 7/1/0! b
         answer 2 appended 10 -> remove 4",
    );
}

#[test]
fn each_batch_of_an_old_epoch_that_may_have_landed_is_searched_for_in_turn() {
    check(
        "recovered 0 2
         leader -> read 0
         read 0 a 7/0/3 | 1 b 7/0/4 -> send 1 7/0/3 a
         answer 1 code 45 -> search 1 a from start
         found 1 - -> stamp 1 0+1:7/1/0!
         stamped 1 -> send 2 7/1/0! a
         answer 2 appended 4 -> search 2 b from start; remove 1
         found 2 - -> stamp 2 1+1:7/1/1!
         removed 1
         stamped 2 -> send 3 7/1/1! b",
    );
}

/// The broker drops the same sequence with other content as a double. What the process before had sent under a higher
/// epoch has landed, and is no longer in the store.
#[test]
fn what_another_process_stamped_goes_on_above_all_epochs_that_were_stored() {
    check(
        "recovered 0 2 7/3
         leader -> read 0
         read 0 a 7/1/3 | 1 b 7/1/4 -> search 1 a from start
         found 1 - -> stamp 1 0+1:7/4/0!
         stamped 1 -> send 1 7/4/0! a
         answer 1 appended 4 -> search 2 b from start; remove 1
         found 2 - -> stamp 2 1+1:7/4/1!
         removed 1
         stamped 2 -> send 2 7/4/1! b",
    );
}

#[test]
fn a_stamp_that_was_never_sent_is_refreshed_and_not_searched_for() {
    check(
        "recovered 0 1
         producer 9
         leader -> read 0
         read 0 a -> stamp 1 0+1:9/0/0
         hours 13
         stamped 1 -> stamp 2 0+1:9/0/0
         stamped 2 -> send 1 9/0/0 a",
    );
}
