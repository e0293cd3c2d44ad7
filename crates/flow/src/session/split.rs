//! A batch that is refused for its content: find the record that is refused alone, and go on without it.
//!
//! The rules it keeps:
//! - a refused batch is split in halves until a record is refused alone; a split keeps every sequence;
//! - what is stored is split in the store first;
//! - once a record has left, no sequence behind it is used again under its epoch: what follows is stamped anew at the
//!   epoch above, sequence 0, where every attempt of it was answered; otherwise it is searched for, because a topic that
//!   was created anew takes what follows a gap;
//! - a record leaves only when its letter is durable, or its callers are told that it is lost.

use super::in_flight::{Home, State};
use super::partition::Numbers;
use super::{Now, Order, Outcome, Partition, Payload, Reason, StampedRange};
use crate::answer::Refusal;
use crate::{Stamp, Stamping};

impl<P: Payload> Partition<P> {
    pub(super) fn split(&mut self, index: usize, orders: &mut Vec<Order<P>>) {
        let Some(whole) = self.flight.remove(index) else {
            return;
        };
        let half = whole.payload.count() / 2;
        let (mut first, mut second) = whole.split_at(half);
        let mut stamps = Vec::new();
        let write = self.numbers.write + 1;
        for part in [&mut first, &mut second] {
            part.state = State::Ready;
            if let Home::Stored(position) = part.home {
                part.state = State::Storing(write);
                let stamping = part.stamping;
                stamps.push(StampedRange { position, stamping });
            }
        }
        self.flight.insert(index, second);
        self.flight.insert(index, first);
        self.store_stamps(stamps, orders);
    }

    /// Orders the write whose number is the next one.
    pub(super) fn store_stamps(&mut self, stamps: Vec<StampedRange>, orders: &mut Vec<Order<P>>) {
        if !stamps.is_empty() {
            let write = Numbers::next(&mut self.numbers.write);
            orders.push(Order::StoreStamps { write, stamps });
        }
    }

    pub(super) fn letter(&mut self, index: usize, refusal: Refusal, orders: &mut Vec<Order<P>>) {
        let Some(front) = self.flight.get_mut(index) else {
            return;
        };
        let letter = Numbers::next(&mut self.numbers.letter);
        front.state = State::Lettering { letter, refusal };
        let payload = front.payload.clone();
        orders.push(Order::DeadLetter {
            letter,
            payload,
            refusal,
        });
    }

    pub(super) fn lettered(&mut self, now: Now, letter: u64, durable: bool, orders: &mut Vec<Order<P>>) {
        let is_it = |state| matches!(state, State::Lettering { letter: open, .. } if open == letter);
        let Some(index) = self.flight.iter().position(|batch| is_it(batch.state)) else {
            return;
        };
        let Some(batch) = self.flight.get_mut(index) else {
            return;
        };
        let State::Lettering { refusal, .. } = batch.state else {
            return;
        };
        let outcome = match (durable, batch.home) {
            (true, _) => Outcome::DeadLettered { refusal },
            (false, Home::Memory) => Outcome::Failed {
                may_have_landed: false,
                reason: Reason::LetterLost,
            },
            (false, Home::Appending | Home::Stored(_)) => {
                batch.state = State::Refused(refusal);
                self.back_off(now);
                return;
            }
        };
        batch.state = State::Lettered;
        for share in batch.shares.drain(..) {
            let claim = share.claim;
            orders.push(Order::Acknowledge { claim, outcome });
        }
        if durable {
            self.remember(index, outcome);
        }
    }

    /// The front leaves; what was sent behind it is stamped anew. False when a new producer id is needed first.
    pub(super) fn leave(&mut self, now: Now, index: usize, orders: &mut Vec<Order<P>>) -> bool {
        let Some(front) = self.flight.get(index) else {
            return false;
        };
        let left = front.stamping.stamp;
        let current = self
            .identities
            .find(left.producer_id)
            .is_some_and(|own| own.epoch == left.epoch);
        if current {
            let Some(producer_id) = self.raise(left.producer_id, orders) else {
                return false;
            };
            self.restamp_followers(now, index + 1, left, producer_id, orders);
        }
        if let Some(front) = self.flight.get_mut(index) {
            front.state = State::Left;
        }
        true
    }

    /// Stamps anew what followed the stamp `left`, up to the first batch that may have landed.
    fn restamp_followers(
        &mut self,
        now: Now,
        from: usize,
        left: Stamp,
        producer_id: i64,
        orders: &mut Vec<Order<P>>,
    ) {
        let mut stamps = Vec::new();
        for index in from..self.flight.len() {
            let Some(batch) = self.flight.get(index) else {
                break;
            };
            let stamp = batch.stamping.stamp;
            let same = (stamp.producer_id, stamp.epoch) == (left.producer_id, left.epoch);
            if !same || batch.is_done() || batch.uncertain {
                break;
            }
            stamps.extend(self.restamp(now, index, producer_id));
        }
        self.store_stamps(stamps, orders);
    }

    /// The producer id whose next stamp stands above the epoch of `stamp`, which is raised where it does not. `None` when a
    /// new producer id is needed first, which is asked for.
    pub(super) fn above(&mut self, stamp: Stamp, orders: &mut Vec<Order<P>>) -> Option<i64> {
        let identity = self.identities.find(stamp.producer_id);
        match identity.is_some_and(|identity| identity.goes_on_above(stamp)) {
            true => Some(stamp.producer_id),
            false => self.raise(stamp.producer_id, orders),
        }
    }

    /// Goes to the epoch above. `None` when a new producer id is needed first, which is asked for.
    pub(super) fn raise(&mut self, producer_id: i64, orders: &mut Vec<Order<P>>) -> Option<i64> {
        let raised = self.identities.raise(producer_id);
        if raised.is_none()
            && !self.has_open_attempt()
            && let Some(used_up) = self.identities.ask()
        {
            orders.push(Order::AskProducer { used_up });
        }
        raised
    }

    /// Gives one batch the next stamp of `producer_id`. Returns what is to be stored before it is sent.
    pub(super) fn restamp(&mut self, now: Now, index: usize, producer_id: i64) -> Option<StampedRange> {
        let count = self.flight.get(index)?.payload.count();
        let stamp = self.identities.stamp(producer_id, count)?;
        self.put_stamp(now, index, stamp)
    }

    /// Puts a stamp on a batch of which no attempt can have landed. Returns what is to be stored before it is sent.
    pub(super) fn put_stamp(&mut self, now: Now, index: usize, stamp: Stamp) -> Option<StampedRange> {
        let fresh = self.stamping(now, stamp);
        let write = self.numbers.write + 1;
        let batch = self.flight.get_mut(index)?;
        batch.stamping = Stamping {
            possible_double: batch.stamping.possible_double,
            ..fresh
        };
        batch.uncertain = false;
        batch.attempt = None;
        batch.state = State::Ready;
        let Home::Stored(position) = batch.home else {
            return None;
        };
        batch.state = State::Storing(write);
        let stamping = batch.stamping;
        Some(StampedRange { position, stamping })
    }
}
