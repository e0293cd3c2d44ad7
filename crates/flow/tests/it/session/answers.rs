//! What an answer says of a batch.

use super::known;

#[test]
fn a_lost_answer_is_asked_for_with_the_same_stamp() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         answer 2 lost
         wait 20 -> send 3 7/0/1 b
         answer 3 appended 1 -> ack 2.0+1 published 1",
    );
}

#[test]
fn already_there_without_an_offset_is_published() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         answer 2 code 46 -> ack 2.0+1 published ?",
    );
}

#[test]
fn after_a_failure_the_front_alone_is_sent_until_it_is_appended() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         publish 3 c -> send 3 7/0/2 c
         answer 2 lost
         answer 3 lost
         wait 40 -> send 4 7/0/1 b
         answer 4 appended 1 -> ack 2.0+1 published 1; send 5 7/0/2 c",
    );
}

#[test]
fn out_of_turn_sends_what_stands_before_it_first() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         publish 3 c -> send 3 7/0/2 c
         answer 2 lost
         answer 3 code 45
         wait 20 -> send 4 7/0/1 b
         answer 4 appended 1 -> ack 2.0+1 published 1; send 5 7/0/2 c
         answer 5 appended 2 -> ack 3.0+1 published 2",
    );
}

#[test]
fn out_of_turn_when_sent_alone_cannot_be_decided_by_the_stamp() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         answer 2 code 45 -> search 1 b from 1",
    );
}

#[test]
fn fenced_or_forgotten_cannot_be_decided_by_the_stamp() {
    for code in [47, 59] {
        known(&format!(
            "publish 2 b -> send 2 7/0/1 b
             answer 2 code {code} -> search 1 b from 1"
        ));
    }
}

#[test]
fn a_late_answer_to_what_is_decided_is_left_unheard() {
    known(
        "publish 2 b -> send 2 7/0/1 b
         answer 2 appended 1 -> ack 2.0+1 published 1
         answer 2 lost
         answer 99 appended 5",
    );
}
