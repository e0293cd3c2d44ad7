//! What becomes of the front: the oldest batch that is not done.
//!
//! The rule it keeps: only the front is split, lettered, searched for or stamped anew. What stands behind it waits, so
//! that no decision rests on a batch whose own fate is open.

use super::in_flight::{Home, InFlight, State, records};
use super::{Now, Order, Partition, Payload};
use crate::Stamp;

impl<P: Payload> Partition<P> {
    pub(super) fn decide(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        if self.is_held() {
            return;
        }
        while let Some(index) = self.flight.iter().position(|batch| !batch.is_done()) {
            if !self.decide_front(now, index, orders) {
                return;
            }
        }
    }

    /// True when the front changed and is to be looked at again.
    fn decide_front(&mut self, now: Now, index: usize, orders: &mut Vec<Order<P>>) -> bool {
        let Some(front) = self.flight.get(index) else {
            return false;
        };
        let frozen = front.home == Home::Appending;
        match front.state {
            State::Ready if front.attempt.is_none() => self.revalidate(now, index, orders),
            State::Refused(_) if !frozen && front.payload.count() > 1 => {
                self.split(index, orders);
                false
            }
            State::Refused(refusal) if !frozen && now.elapsed >= self.health.retry_at => {
                self.letter(index, refusal, orders);
                false
            }
            State::Undecided if !frozen => {
                self.search(now, index, orders);
                false
            }
            State::Missing if matches!(front.home, Home::Stored(_)) => self.send_marked(now, index, orders),
            State::Lettered if !self.is_appending() && !self.has_open_attempt() => {
                self.leave(now, index, orders)
            }
            _ => false,
        }
    }

    fn is_appending(&self) -> bool {
        self.flight.iter().any(|batch| batch.home == Home::Appending)
    }

    /// A stamp that would not decide is not sent. True when the front changed.
    fn revalidate(&mut self, now: Now, index: usize, orders: &mut Vec<Order<P>>) -> bool {
        let Some(front) = self.flight.get_mut(index) else {
            return false;
        };
        let (stamping, uncertain, frozen) = (front.stamping, front.uncertain, front.home == Home::Appending);
        if self.is_valid(stamping, now) || !self.has_leader() {
            return false;
        }
        if uncertain {
            if let Some(front) = self.flight.get_mut(index) {
                front.state = State::Undecided;
            }
            return true;
        }
        if !frozen {
            self.refresh(now, index, stamping.stamp, orders);
        }
        false
    }

    /// Gives the front, of which no attempt can have landed, a stamp that decides from now on. Its sequence stays where
    /// its epoch is the present one.
    fn refresh(&mut self, now: Now, index: usize, stamp: Stamp, orders: &mut Vec<Order<P>>) {
        let identity = self.identities.find(stamp.producer_id);
        let range = if identity.is_some_and(|identity| identity.epoch == stamp.epoch) {
            self.put_stamp(now, index, stamp)
        } else {
            let Some(producer_id) = self.above(stamp, orders) else {
                return;
            };
            self.restamp(now, index, producer_id)
        };
        self.store_stamps(range.into_iter().collect(), orders);
    }

    /// Takes out of memory what is done, and removes it from the store where it is there.
    pub(super) fn sweep(&mut self, orders: &mut Vec<Order<P>>) {
        let mut below = None;
        for batch in &self.flight {
            if !batch.is_done() || batch.home == Home::Appending {
                break;
            }
            below = batch.stored_end().or(below);
        }
        if self.flight.is_empty() && self.append.is_none() && self.lane.is_void() {
            below = Some(self.lane.tail);
        }
        if let Some(below) = below.filter(|below| *below > self.lane.removing) {
            self.lane.removing = below;
            orders.push(Order::Remove { below });
        }
        let head = self.lane.head;
        while self.flight.front().is_some_and(|batch| is_over(batch, head)) {
            self.flight.pop_front();
        }
    }

    pub(super) fn removed(&mut self, below: u64) {
        self.lane.head = self.lane.head.max(below);
        if self.lane.is_empty() && self.flight.is_empty() {
            self.identities.keep_own();
        }
    }

    pub(super) fn stamps_stored(&mut self, write: u64) {
        for batch in &mut self.flight {
            if batch.state == State::Storing(write) {
                batch.state = State::Ready;
            }
        }
    }
}

fn is_over<P: Payload>(batch: &InFlight<P>, head: u64) -> bool {
    batch.is_done()
        && match batch.home {
            Home::Memory => true,
            Home::Appending => false,
            Home::Stored(position) => position + records(batch.payload.count()) <= head,
        }
}
