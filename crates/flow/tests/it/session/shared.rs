//! A partition whose lane in the store is shared: where its events go is told to it.

use crate::script::check_shared;

/// A shared partition that published `a` directly.
fn direct(script: &str) {
    check_shared(&format!(
        "leader
         producer 7
         publish 1 a
         way direct -> send 1 7/0/0 a
         answer 1 appended 0 -> ack 1.0+1 published 0
         {script}"
    ));
}

#[test]
fn it_waits_until_it_is_told_where_events_go() {
    check_shared(
        "leader
         producer 7
         publish 1 a
         reached
         wait 500
         out
         way direct -> send 1 7/0/0 a",
    );
}

#[test]
fn it_is_out_when_it_cannot_send_and_parks_only_when_it_is_told_to() {
    direct(
        "publish 2 b -> send 2 7/0/1 b
         answer 2 unsent
         publish 3 c
         wait 500 -> send 3 7/0/1 b
         out
         way hold
         out
         way park -> append 1 7/0/1 b | c
         reached
         stored 1 0 -> ack 2.0+1 parked 0; ack 3.0+1 parked 1",
    );
}

#[test]
fn what_is_appended_is_another_sessions_and_so_is_its_producer_id() {
    direct(
        "publish 2 b -> send 2 7/0/1 b
         way park -> append 1 7/0/1 b
         stored 1 0 -> ack 2.0+1 parked 0
         answer 2 appended 1
         way direct
         publish 3 c -> ask
         producer 7 -> ask
         producer 8 -> send 3 8/0/0 c",
    );
}

#[test]
fn without_anything_of_its_own_in_the_lane_the_producer_id_is_kept() {
    direct(
        "way park
         publish 2 b -> append 1 b
         stored 1 0 -> ack 2.0+1 parked 0
         way direct
         publish 3 c -> send 2 7/0/1 c",
    );
}

#[test]
fn an_append_that_came_too_late_goes_the_other_way_in_its_order() {
    direct(
        "publish 2 b -> send 2 7/0/1 b
         way park -> append 1 7/0/1 b
         publish 3 c
         way hold
         stored 1 passed
         way direct
         answer 2 appended 1 -> ack 2.0+1 published 1; send 3 7/0/2 c",
    );
    direct(
        "way park
         publish 2 b -> append 1 b
         publish 3 c
         stored 1 passed -> append 2 b | c
         stored 2 7 -> ack 2.0+1 parked 7; ack 3.0+1 parked 8",
    );
}

#[test]
fn nothing_overtakes_an_append_that_may_come_too_late() {
    direct(
        "way park
         publish 2 b -> append 1 b
         way direct
         publish 3 c
         stored 1 passed -> send 2 7/0/1 b
         answer 2 appended 1 -> ack 2.0+1 published 1; send 3 7/0/2 c",
    );
}

#[test]
fn who_was_told_that_an_append_may_be_there_is_not_published_behind_its_back() {
    direct(
        "way park
         publish 2 b -> append 1 b
         stored 1 unknown -> ack 2.0+1 maybe
         way hold
         wait 1000 -> append 1 b
         stored 1 passed
         way direct
         idle",
    );
}

#[test]
fn a_retry_of_what_is_in_the_lane_is_told_so() {
    direct(
        "publish 2 b -> send 2 7/0/1 b
         way park -> append 1 7/0/1 b
         stored 1 unknown -> ack 2.0+1 maybe
         wait 1000 -> append 1 7/0/1 b
         stored 1 4
         join 3 b -> ack 3.0+1 parked 4",
    );
}

#[test]
fn without_a_way_everything_new_is_refused_and_what_is_sent_goes_on() {
    direct(
        "publish 2 b -> send 2 7/0/1 b
         way refuse
         publish 3 c -> ack 3.0+1 failed
         answer 2 appended 1 -> ack 2.0+1 published 1
         idle",
    );
}

#[test]
fn who_waits_for_a_diversion_that_cannot_be_had_is_told() {
    direct(
        "undiverted
         publish 2 b -> send 2 7/0/1 b
         answer 2 lost
         publish 3 c
         wait 500 -> send 3 7/0/1 b
         out
         undiverted -> ack 2.0+1 maybe; ack 3.0+1 failed
         answer 3 appended 1
         join 4 b -> ack 4.0+1 published 1",
    );
}
