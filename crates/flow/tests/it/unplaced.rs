//! Events of a topic whose partitions are not known.

use std::time::Duration;

use evenkeel_event::clock::Timestamp;
use evenkeel_flow::session::{Claim, Now, Outcome, Settings, StoreResult, Ticket};
use evenkeel_flow::unplaced::{Input, Order, Unplaced};

use crate::script::{Ids, ids};

/// Tells a topic each input at its millisecond and compares the orders, wake-ups left out.
fn check(steps: Vec<(u64, Input<Ids>, Vec<Order<Ids>>)>) {
    let mut topic = Unplaced::new(Settings::default());
    for (millis, input, expected) in steps {
        let mut orders = Vec::new();
        let told = format!("{input:?}");
        let now = Now::new(Duration::from_millis(millis), Timestamp::from_millis(0));
        topic.handle(now, input, &mut orders);
        orders.retain(|order| !matches!(order, Order::WakeAt(_)));
        assert_eq!(orders, expected, "after {told}");
    }
}

fn publish(ticket: u64, id: &str) -> Input<Ids> {
    Input::Published {
        ticket: Ticket(ticket),
        payload: ids(&[id]),
    }
}

fn release(ticket: u64, id: &str) -> Order<Ids> {
    Order::Release {
        ticket: Ticket(ticket),
        payload: ids(&[id]),
    }
}

fn append(append: u64, list: &[&str]) -> Order<Ids> {
    let batches = list.iter().map(|id| ids(&[id])).collect();
    Order::Append { append, batches }
}

fn stored(append: u64, position: u64) -> Input<Ids> {
    Input::Appended {
        append,
        result: StoreResult::Durable { position },
    }
}

fn parked(ticket: u64, position: u64) -> Order<Ids> {
    Order::Acknowledge {
        claim: Claim {
            ticket: Ticket(ticket),
            first: 0,
            count: 1,
        },
        outcome: Outcome::Parked { position },
    }
}

#[test]
fn partitions_that_are_known_soon_are_published_to() {
    check(vec![
        (0, publish(1, "a"), vec![]),
        (100, publish(2, "b"), vec![]),
        (
            200,
            Input::PartitionsKnown,
            vec![release(1, "a"), release(2, "b")],
        ),
        (300, publish(3, "c"), vec![release(3, "c")]),
    ]);
}

#[test]
fn without_partitions_events_are_parked_under_the_topic() {
    check(vec![
        (0, publish(1, "a"), vec![]),
        (500, Input::Timer, vec![append(1, &["a"])]),
        (510, publish(2, "b"), vec![]),
        (520, stored(1, 0), vec![parked(1, 0), append(2, &["b"])]),
        (530, stored(2, 1), vec![parked(2, 1)]),
    ]);
}

#[test]
fn what_is_parked_is_placed_before_anything_newer() {
    check(vec![
        (0, Input::Recovered { head: 4, tail: 6 }, vec![]),
        (0, Input::PartitionsKnown, vec![Order::Place { from: 4 }]),
        (10, publish(1, "c"), vec![]),
        (20, Input::Placed { below: 5 }, vec![Order::Place { from: 5 }]),
        (30, Input::Placed { below: 6 }, vec![release(1, "c")]),
    ]);
}

#[test]
fn an_append_of_unknown_fate_is_repeated_before_anything_is_placed() {
    let unknown = Input::Appended {
        append: 1,
        result: StoreResult::Unknown,
    };
    let maybe = Order::Acknowledge {
        claim: Claim {
            ticket: Ticket(1),
            first: 0,
            count: 1,
        },
        outcome: Outcome::Failed {
            may_have_landed: true,
            reason: evenkeel_flow::session::Reason::StandbyUnknown,
        },
    };
    check(vec![
        (0, publish(1, "a"), vec![]),
        (500, Input::Timer, vec![append(1, &["a"])]),
        (510, unknown, vec![maybe]),
        (520, Input::PartitionsKnown, vec![]),
        (530, Input::Timer, vec![append(1, &["a"])]),
        (540, stored(1, 0), vec![Order::Place { from: 0 }]),
    ]);
}

#[test]
fn what_is_held_under_the_topic_is_not_placed_and_later_events_are_parked_behind_it() {
    check(vec![
        (0, Input::Recovered { head: 0, tail: 1 }, vec![]),
        (0, Input::Hold { held: true }, vec![]),
        (0, Input::PartitionsKnown, vec![]),
        (1, publish(1, "b"), vec![append(1, &["b"])]),
        (2, stored(1, 1), vec![parked(1, 1)]),
        (3, Input::Hold { held: false }, vec![Order::Place { from: 0 }]),
    ]);
}
