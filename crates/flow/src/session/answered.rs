//! What an answer to a send says of the batch.
//!
//! The rules it keeps:
//! - *appended*: the callers are told, and the identity is established;
//! - *refused* is believed only when no earlier attempt may have landed; otherwise the stamp cannot decide;
//! - *out of turn* (45): what stands before it is sent again first; said of a batch that was sent alone, the stamp cannot
//!   decide;
//! - *fenced* (47) and a forgotten producer (59): the stamp cannot decide;
//! - *unanswered*: the same stamp is sent again; it may have landed from now on where the broker could have appended it.

use super::in_flight::{InFlight, State};
use super::{Now, Order, Partition, Payload};
use crate::answer::{Answer, Class, Trouble};

impl<P: Payload> Partition<P> {
    pub(super) fn answered(&mut self, now: Now, attempt: u64, answer: Answer, orders: &mut Vec<Order<P>>) {
        let position = self
            .flight
            .iter()
            .position(|batch| batch.attempt.is_some_and(|open| open.number == attempt));
        let Some(batch) = position.and_then(|index| self.flight.get_mut(index)) else {
            return;
        };
        let alone = batch.attempt.take().is_some_and(|open| open.alone);
        match answer {
            Answer::Appended { offset } => {
                batch.state = State::Done;
                batch.tell_published(offset, orders);
                let (stamping, count) = (batch.stamping, batch.payload.count());
                self.landed(now, position.unwrap_or_default(), offset, count);
                if self.is_of_this_topic(stamping) {
                    self.identities.establish(stamping.stamp, stamping.at);
                }
            }
            Answer::Refused(_) if batch.uncertain => become_undecided(batch),
            Answer::Refused(refusal) => {
                batch.state = State::Refused(refusal);
                self.health.stalled_since = Some(now.elapsed);
            }
            Answer::OutOfTurn if !alone => self.health.probing = true,
            Answer::OutOfTurn => become_undecided(batch),
            Answer::Fenced => {
                become_undecided(batch);
                let stamp = batch.stamping.stamp;
                self.identities.fenced(stamp);
            }
            Answer::Unanswered {
                trouble,
                may_have_landed,
            } => {
                batch.uncertain |= may_have_landed;
                if trouble.class() == Class::Decide {
                    become_undecided(batch);
                } else {
                    self.troubled(now, trouble, orders);
                }
            }
        }
    }

    /// Remembers where the batch landed, and that sending works.
    pub(super) fn landed(&mut self, now: Now, index: usize, offset: Option<i64>, count: i32) {
        self.remember_landed(index, offset);
        let end = offset.map(|first| first + i64::from(count));
        self.broker.end = self.broker.end.max(end);
        self.health.probing = false;
        self.health.blocked = false;
        self.health.alarmed = None;
        self.health.failures = 0;
        self.health.retry_at = std::time::Duration::ZERO;
        self.health.stalled_since = Some(now.elapsed);
    }

    fn troubled(&mut self, now: Now, trouble: Trouble, orders: &mut Vec<Order<P>>) {
        self.health.probing = true;
        self.back_off(now);
        match trouble.class() {
            Class::PushBack => {
                let until = now.elapsed + self.settings.backoff.longest;
                self.broker.throttled_until = self.broker.throttled_until.max(until);
            }
            Class::ParkWithAlarm => {
                self.health.blocked = true;
                if self.health.alarmed.replace(trouble) != Some(trouble) {
                    orders.push(Order::Alarm(trouble));
                }
            }
            Class::Success | Class::Park | Class::DeadLetter | Class::Decide => {}
        }
    }
}

fn become_undecided<P>(batch: &mut InFlight<P>) {
    batch.state = State::Undecided;
}
