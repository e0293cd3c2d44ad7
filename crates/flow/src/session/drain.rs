//! Draining: what the store holds comes back in order, is stamped, stored with its stamp, sent and removed.
//!
//! The rules it keeps:
//! - stored stamped batches go first, as they are: each may have landed;
//! - an unstamped one is stamped with the process's own identity, the stamp is stored, then it is sent;
//! - it is removed when it is answered, from the front on; up to five are on their way at once;
//! - a bounded number is read ahead.

use super::in_flight::{Home, InFlight, State};
use super::lane::AHEAD_MAX;
use super::partition::Mode;
use super::send::IN_FLIGHT_MAX;
use super::{Now, Order, Partition, Payload, ProducerEpoch, StampedRange, Stored};

impl<P: Payload> Partition<P> {
    pub(super) fn recovered(&mut self, head: u64, tail: u64, epochs: &[ProducerEpoch]) {
        for used in epochs {
            self.identities.learn_epoch(*used);
        }
        self.lane.start_at(head);
        self.grown(head, tail);
    }

    pub(super) fn grown(&mut self, head: u64, tail: u64) {
        // Of a lane that held nothing at the start it was not told where its positions go on.
        if self.lane.is_empty() && head > self.lane.tail {
            self.lane.start_at(head);
        }
        self.lane.tail = self.lane.tail.max(tail);
        if !self.lane.is_empty() && self.mode == Mode::Open {
            self.mode = Mode::Out;
            self.health.probing = true;
        }
    }

    /// Puts in flight what was read, and reads on.
    pub(super) fn load(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        let mut stamps = Vec::new();
        while let Some(stored) = self.lane.ahead.pop_front() {
            match stored.stamping {
                Some(_) => self.load_stamped(stored),
                None => match self.load_unstamped(now, stored, orders) {
                    Ok(range) => stamps.push(range),
                    Err(stored) => {
                        self.lane.ahead.push_front(stored);
                        break;
                    }
                },
            }
        }
        self.store_stamps(stamps, orders);
        let has_room = self.lane.ahead.len() < AHEAD_MAX && self.flight.len() <= IN_FLIGHT_MAX;
        if has_room && !self.lane.reading && self.lane.read_to < self.lane.tail && self.has_leader() {
            self.lane.reading = true;
            let from = self.lane.read_to;
            orders.push(Order::Read { from });
        }
    }

    fn load_stamped(&mut self, stored: Stored<P>) {
        let Some(stamping) = stored.stamping else { return };
        self.identities.learn(stamping.stamp);
        self.flight.push_back(InFlight {
            stamping,
            payload: stored.payload,
            shares: Vec::new(),
            told_failed: false,
            home: Home::Stored(stored.position),
            state: State::Ready,
            uncertain: true,
            attempt: None,
        });
    }

    /// Stamps a batch, when it would be sent as soon as its stamp is stored; gives it back otherwise.
    fn load_unstamped(
        &mut self,
        now: Now,
        stored: Stored<P>,
        orders: &mut Vec<Order<P>>,
    ) -> Result<StampedRange, Stored<P>> {
        if self.ask_for_identity(orders) || !self.may_stamp(now) {
            return Err(stored);
        }
        let Some(stamping) = self.stamp_own(now, stored.payload.count()) else {
            return Err(stored);
        };
        let position = stored.position;
        self.flight.push_back(InFlight {
            stamping,
            payload: stored.payload,
            shares: Vec::new(),
            told_failed: false,
            home: Home::Stored(position),
            state: State::Storing(self.numbers.write + 1),
            uncertain: false,
            attempt: None,
        });
        Ok(StampedRange { position, stamping })
    }
}
