//! In sequence order, five in flight, the first alone.

use super::known;
use crate::script::{check, check_with};
use evenkeel_flow::session::Settings;

#[test]
fn the_first_batch_goes_alone_until_it_is_appended() {
    check(
        "leader
         producer 7
         publish 1 a b -> send 1 7/0/0 a b
         publish 2 c
         answer 1 appended 10 -> ack 1.0+2 published 10; send 2 7/0/2 c",
    );
}

#[test]
fn a_producer_id_is_asked_for_once_and_waited_for() {
    check(
        "leader
         publish 1 a -> ask
         publish 2 b
         producer 7 -> send 1 7/0/0 a
         answer 1 appended 0 -> ack 1.0+1 published 0; send 2 7/0/1 b",
    );
}

#[test]
fn five_are_in_flight_in_sequence_order_and_the_sixth_waits_for_the_first() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         publish 3 c -> send 3 7/0/2 c
         publish 4 d -> send 4 7/0/3 d
         publish 5 e -> send 5 7/0/4 e
         publish 6 f -> send 6 7/0/5 f
         publish 7 g
         answer 3 appended 2 -> ack 3.0+1 published 2
         answer 2 appended 1 -> ack 2.0+1 published 1; send 7 7/0/6 g",
    );
}

#[test]
fn after_half_the_expiry_without_an_append_a_batch_goes_alone() {
    known(
        "hours 13
         publish 2 b -> send 2 7/0/1 b
         publish 3 c
         answer 2 appended 1 -> ack 2.0+1 published 1; send 3 7/0/2 c",
    );
}

#[test]
fn a_topic_created_anew_knows_no_producer() {
    known(
        "leader 2
         publish 2 b -> send 2 7/0/1 b
         publish 3 c
         answer 2 appended 0 -> ack 2.0+1 published 0; send 3 7/0/2 c",
    );
}

#[test]
fn a_throttle_holds_back_and_is_no_outage() {
    known(
        "throttled 2000
         publish 2 b
         wait 1999
         wait 1 -> send 2 7/0/1 b",
    );
}

#[test]
fn beyond_what_may_wait_publishing_is_refused() {
    let settings = Settings {
        waiting_batches_max: 1,
        ..Settings::default()
    };
    check_with(
        settings,
        "publish 1 a -> ask
         full
         publish 2 b -> ack 2.0+1 failed",
    );
}

#[test]
fn after_closing_nothing_is_taken_and_what_is_there_is_sent() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         close
         publish 3 c -> ack 3.0+1 failed
         answer 2 appended 1 -> ack 2.0+1 published 1
         idle",
    );
}
