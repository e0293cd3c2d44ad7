//! Reads of parked events wait in one row for their turns, so that partitions share the pace of the drain fairly.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use evenkeel_broker::Outcome;
use evenkeel_flow::pace::{Grant, Pace};
use evenkeel_flow::{Answer, Trouble};

use super::done::Done;
use super::engine::Engine;
use super::store_step::StoreStep;

/// The row, and the pace.
#[derive(Debug)]
pub(super) struct Turns {
    pace: Pace,
    /// Lines whose reads wait, and from which positions on.
    waiting: VecDeque<(u32, u64)>,
    is_sleeping: bool,
}

impl Turns {
    pub(super) const fn new(events_per_second: Option<NonZeroU32>) -> Self {
        Self {
            pace: Pace::new(events_per_second),
            waiting: VecDeque::new(),
            is_sleeping: false,
        }
    }
}

impl Engine {
    /// Puts a line's read behind those of others.
    pub(super) fn order_read(&mut self, id: u32, from: u64) {
        self.turns.waiting.push_back((id, from));
        self.give_turns();
    }

    pub(super) fn give_turns(&mut self) {
        while let Some((id, from)) = self.turns.waiting.front().copied() {
            let now = self.shared.clock.monotonic();
            match self.turns.pace.grant(now) {
                Grant::Events(events_max) => {
                    self.turns.waiting.pop_front();
                    self.turns.pace.took(now, events_max);
                    self.order_step(id, StoreStep::Read { from, events_max });
                }
                Grant::At(at) => return self.sleep_for_turns(at.saturating_sub(now)),
            }
        }
    }

    fn sleep_for_turns(&mut self, wait: std::time::Duration) {
        if !std::mem::replace(&mut self.turns.is_sleeping, true) {
            self.work.push(Box::pin(async move {
                tokio::time::sleep(wait).await;
                Done::Turn
            }));
        }
    }

    pub(super) fn turn_has_come(&mut self) {
        self.turns.is_sleeping = false;
        self.give_turns();
    }

    /// So many events were read for a grant of `granted`.
    pub(super) fn has_read(&mut self, granted: u32, read: u32) {
        self.turns.pace.settle(granted, read);
    }

    /// Lets the pace follow how the cluster is.
    pub(super) fn note_health(&mut self, outcome: &Outcome, throttle: std::time::Duration) {
        let now = self.shared.clock.monotonic();
        if !throttle.is_zero() {
            self.turns.pace.throttled(now + throttle);
        }
        match outcome.answer {
            Answer::Appended { .. } => self.turns.pace.went_well(),
            Answer::Unanswered {
                trouble:
                    Trouble::TimedOut | Trouble::NotEnoughReplicas | Trouble::StorageFailed | Trouble::Throttled,
                ..
            } => self.turns.pace.troubled(now),
            _ => {}
        }
    }
}
