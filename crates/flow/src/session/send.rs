//! What may be sent now, and stamping what waits.
//!
//! The rules it keeps:
//! - in sequence order, and nothing that is more than five batches beyond the oldest which is not done (for stored
//!   batches: not durably removed, because a crash sends them again): Kafka remembers five;
//! - a batch goes alone, everything before it done and nothing behind it sent, unless its producer id and epoch were
//!   answered appended within half of the producer's expiry: a broker that does not know the producer takes any sequence;
//! - after a failure the front alone is sent until something is answered appended;
//! - behind a dead letter nothing is sent until the store has let go of its event: else a crash would bring that one to
//!   the log too, and after younger ones;
//! - nothing is sent whose timestamp is older than half of the expiry, or that was stamped for another topic id.

use std::time::Duration;

use evenkeel_event::TopicId;

use super::append::Waiting;
use super::in_flight::{Attempt, Home, InFlight, State};
use super::partition::{Mode, Numbers};
use super::{Now, Order, Partition, Payload};
use crate::{Stamp, Stamping};

/// Batches that a broker remembers per producer and partition.
pub(super) const IN_FLIGHT_MAX: usize = 5;

impl<P: Payload> Partition<P> {
    /// Sends every batch whose turn it is.
    pub(super) fn send(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        if !self.may_send(now) || self.flight.iter().any(InFlight::is_left_behind) {
            return;
        }
        let mut open = self.flight.iter().filter(|batch| batch.attempt.is_some()).count();
        let (mut before_done, mut before) = (true, None);
        for index in 0..self.flight.len().min(IN_FLIGHT_MAX) {
            let Some(batch) = self.flight.get(index) else {
                return;
            };
            if !batch.is_done() {
                let stamping = batch.stamping;
                let identity = Some((stamping.stamp.producer_id, stamping.stamp.epoch));
                let known =
                    before == identity && !self.health.probing && self.is_established(stamping.stamp, now);
                let in_turn =
                    batch.state == State::Ready && (before_done || known) && self.is_valid(stamping, now);
                before = identity;
                if !in_turn {
                    return;
                }
                if batch.attempt.is_none() {
                    if open >= IN_FLIGHT_MAX {
                        return;
                    }
                    open += 1;
                    self.send_one(index, before_done, orders);
                }
                before_done = false;
            }
        }
    }

    fn send_one(&mut self, index: usize, alone: bool, orders: &mut Vec<Order<P>>) {
        let Some(batch) = self.flight.get_mut(index) else {
            return;
        };
        if batch.attempt.is_some() {
            return;
        }
        let number = Numbers::next(&mut self.numbers.attempt);
        batch.attempt = Some(Attempt { number, alone });
        orders.push(Order::Send {
            attempt: number,
            stamping: batch.stamping,
            payload: batch.payload.clone(),
        });
    }

    /// Stamps and so puts in flight what waits, as long as it would be sent at once.
    pub(super) fn stamp_waiting(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        while self.mode == Mode::Open && !self.waiting.is_empty() {
            if self.ask_for_identity(orders) || !self.may_stamp(now) {
                return;
            }
            let Some(Waiting { payload, shares, .. }) = self.waiting.pop() else {
                return;
            };
            let Some(stamping) = self.stamp_own(now, payload.count()) else {
                return;
            };
            self.flight.push_back(InFlight {
                stamping,
                payload,
                shares,
                told_failed: false,
                home: Home::Memory,
                state: State::Ready,
                uncertain: false,
                attempt: None,
            });
        }
    }

    /// True when a batch that is stamped now would be sent at once.
    pub(super) fn may_stamp(&self, now: Now) -> bool {
        self.may_send(now)
            && self.flight.len() < IN_FLIGHT_MAX
            && (self.flight.iter().all(InFlight::is_done)
                || (!self.health.probing && self.is_own_established(now) && self.ends_with_own()))
    }

    /// Asks for a producer id where none is there. True when it has to be waited for.
    pub(super) fn ask_for_identity(&mut self, orders: &mut Vec<Order<P>>) -> bool {
        let missing = self.identities.own().is_none();
        if missing && let Some(used_up) = self.identities.ask() {
            orders.push(Order::AskProducer { used_up });
        }
        missing
    }

    /// Stamps `count` records with the process's own identity.
    pub(super) fn stamp_own(&mut self, now: Now, count: i32) -> Option<Stamping> {
        let own = self.identities.own()?.producer_id;
        let stamp = self.identities.stamp(own, count)?;
        Some(self.stamping(now, stamp))
    }

    /// A stamp with what is known now.
    pub(super) fn stamping(&self, now: Now, stamp: Stamp) -> Stamping {
        Stamping {
            stamp,
            at: now.wall,
            topic_id: self.broker.topic_id,
            search_from: self.broker.end,
            possible_double: false,
        }
    }

    pub(super) fn may_send(&self, now: Now) -> bool {
        self.has_leader() && now.elapsed >= self.broker.throttled_until && now.elapsed >= self.health.retry_at
    }

    fn is_established(&self, stamp: Stamp, now: Now) -> bool {
        self.identities
            .is_established(stamp, now.wall, self.decides_for())
    }

    fn is_own_established(&self, now: Now) -> bool {
        self.identities.own().is_some_and(|own| {
            let stamp = Stamp {
                producer_id: own.producer_id,
                epoch: own.epoch,
                base_sequence: 0,
                count: 0,
            };
            self.is_established(stamp, now)
        })
    }

    fn ends_with_own(&self) -> bool {
        let last = self.flight.back().map(|batch| batch.stamping.stamp);
        let own = self.identities.own();
        last.map(|stamp| (stamp.producer_id, stamp.epoch)) == own.map(|own| (own.producer_id, own.epoch))
    }

    /// How long a stamp decides.
    pub(super) fn decides_for(&self) -> Duration {
        self.settings.producer_expiry / 2
    }

    /// True when the stamp, sent now, would decide whether the batch has landed.
    pub(super) fn is_valid(&self, stamping: Stamping, now: Now) -> bool {
        self.is_of_this_topic(stamping)
            && now.wall.since(stamping.at) <= self.decides_for()
            && self
                .identities
                .find(stamping.stamp.producer_id)
                .is_some_and(|identity| identity.epoch == stamping.stamp.epoch)
    }

    pub(super) fn is_of_this_topic(&self, stamping: Stamping) -> bool {
        stamping.topic_id == self.broker.topic_id
            || stamping.topic_id == TopicId::UNKNOWN
            || self.broker.topic_id == TopicId::UNKNOWN
    }
}
