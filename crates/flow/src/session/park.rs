//! Parking: when a partition is out, and what the store is given then.
//!
//! The rules it keeps:
//! - a partition is out when its callers wait without progress for [`Settings::out_after`](super::Settings::out_after),
//!   and at once when its leader is known to be gone, an operator has to mend something, or a caller asked for it; a
//!   throttle is no outage;
//! - what is in flight is appended with its stamps, in order, then what waits, unstamped; one append at a time. What is
//!   becoming a dead letter is not: else a crash would send what its caller was told is a letter;
//! - `Parked` is told when the append is durable; an append whose fate is unknown is repeated under its number;
//! - what the store refuses is told `Failed`. What is in flight may have landed: it stays, and is sent until that is known.
//!   What waits is gone;
//! - the partition goes direct again when the lane is empty. While its last batches are sent events wait in memory;
//! - a lane that several processes share goes the way that is told; what was appended to it is no longer this session's;
//! - while an operator holds the lane, and it is not empty, the partition stays out: what is published is parked behind.

use std::time::Duration;

use super::append::{Append, Waiting, acknowledge, fail_shares, park_shares};
use super::in_flight::{Home, InFlight, State, records};
use super::lane::Lane;
use super::partition::{Leader, Mode, Numbers};
use super::{Now, Order, Outcome, Partition, Payload, Reason, StoreResult, Way};

impl<P: Payload> Partition<P> {
    /// Chooses between sending directly and parking.
    pub(super) fn choose_mode(&mut self, now: Now) {
        let callers_wait = !self.waiting.is_empty() || self.flight.iter().any(InFlight::has_waiting_callers);
        if callers_wait {
            self.health.stalled_since.get_or_insert(now.elapsed);
        } else {
            self.health.stalled_since = None;
        }
        let is_over = self.out_at().is_some_and(|at| now.elapsed >= at);
        let is_gone = self.broker.leader == Leader::Gone;
        let is_out = callers_wait && (is_gone || self.health.blocked || is_over || self.asked_to_park);
        if let Some(way) = self.way {
            self.is_out = way != Way::Park && (is_out || self.needs_store());
            self.follow(way);
            return;
        }
        if self.mode != Mode::Out && (is_out || self.needs_store() || self.is_held()) {
            self.mode = Mode::Out;
            self.health.probing = true;
        }
        if self.mode == Mode::Out && !is_out && self.is_nearly_empty() {
            self.mode = Mode::Closing;
        }
        if self.mode == Mode::Closing && self.lane.is_empty() {
            self.mode = Mode::Open;
        }
        if self.flight.is_empty() && self.lane.is_empty() && self.waiting.is_empty() {
            self.health.blocked = false;
        }
    }

    /// Goes the way of a shared lane.
    fn follow(&mut self, way: Way) {
        let mode = match way {
            // What is being appended goes before what came later, also when it was too late for the lane.
            Way::Direct if self.append.is_some() => Mode::Closing,
            Way::Direct => Mode::Open,
            Way::Park => Mode::Out,
            Way::Hold | Way::Refuse => Mode::Closing,
        };
        if mode == Mode::Out && self.mode != Mode::Out {
            self.health.probing = true;
        }
        self.mode = mode;
        if self.flight.is_empty() && self.waiting.is_empty() {
            self.health.blocked = false;
        }
    }

    /// The shared lane goes another way.
    pub(super) fn turn(&mut self, way: Way) {
        self.way = Some(way);
    }

    /// Tells everybody who waits for the diversion that the store cannot be reached.
    pub(super) fn not_diverted(&mut self, orders: &mut Vec<Order<P>>) {
        if !self.is_out {
            return;
        }
        for batch in self.flight.iter_mut().filter(|batch| batch.has_waiting_callers()) {
            batch.told_failed = true;
            orders.extend(fail_shares(&mut batch.shares, true, Reason::StandbyRefused).map(acknowledge));
        }
        for mut batch in self.waiting.take_all() {
            orders.extend(fail_shares(&mut batch.shares, false, Reason::StandbyRefused).map(acknowledge));
        }
    }

    /// Sending works, and what the store holds will soon be sent.
    fn is_nearly_empty(&self) -> bool {
        let nothing_left = self.flight.is_empty() && self.lane.is_empty();
        self.append.is_none()
            && self.lane.unread() <= self.settings.closing_records_max
            && self.has_leader()
            && !self.needs_store()
            && !self.is_held()
            && (!self.health.probing || nothing_left)
    }

    /// The front was not found on the log and has to be stored before it is sent again.
    fn needs_store(&self) -> bool {
        self.flight
            .iter()
            .find(|batch| !batch.is_done())
            .is_some_and(|front| front.state == State::Missing && !matches!(front.home, Home::Stored(_)))
    }

    /// When the partition is out unless there is progress.
    pub(super) fn out_at(&self) -> Option<Duration> {
        let since = self.health.stalled_since?;
        (self.mode != Mode::Out).then(|| since.max(self.broker.throttled_until) + self.settings.out_after)
    }

    /// Gives the store what is in memory.
    pub(super) fn park(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        if self.way == Some(Way::Refuse) {
            for mut batch in self.waiting.take_all() {
                orders.extend(fail_shares(&mut batch.shares, false, Reason::StandbyRefused).map(acknowledge));
            }
        }
        if self.append.is_some() {
            self.repeat_append(now, orders);
            self.fail_what_waits_too_long(now, orders);
            return;
        }
        let has_callers = self.flight.iter().any(InFlight::has_waiting_callers);
        let is_needed = has_callers
            || !self.waiting.is_empty()
            || (self.needs_store() && now.elapsed >= self.health.retry_at);
        if self.mode != Mode::Out || !is_needed {
            return;
        }
        let mut stamped = Vec::new();
        for batch in &mut self.flight {
            if batch.home == Home::Memory && !batch.is_done() && !batch.is_leaving() {
                batch.home = Home::Appending;
                stamped.push((batch.stamping, batch.payload.clone()));
            }
        }
        self.asked_to_park = false;
        let number = Numbers::next(&mut self.numbers.append);
        let append = Append::new(number, stamped, self.waiting.take_all());
        orders.push(order(&append));
        self.append = Some(append);
    }

    fn repeat_append(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        if let Some(append) = &mut self.append
            && append.is_due(now.elapsed)
        {
            orders.push(order(append));
        }
    }

    /// While the store does not say whether it has an append, nothing can be parked behind it.
    fn fail_what_waits_too_long(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        if !self.append.as_ref().is_some_and(Append::is_unknown) {
            return;
        }
        while let Some(mut batch) = self.waiting.pop_older(now.elapsed, self.settings.out_after) {
            orders.extend(fail_shares(&mut batch.shares, false, Reason::StandbyUnknown).map(acknowledge));
        }
    }

    pub(super) fn append_wake(&self) -> Option<Duration> {
        let append = self.append.as_ref().filter(|append| append.is_unknown())?;
        let oldest = self.waiting.oldest().map(|since| since + self.settings.out_after);
        [append.retry_at(), oldest].into_iter().flatten().min()
    }

    pub(super) fn appended(
        &mut self,
        now: Now,
        number: u64,
        result: StoreResult,
        orders: &mut Vec<Order<P>>,
    ) {
        let Some(append) = self.append.take_if(|append| append.number == number) else {
            return;
        };
        match result {
            StoreResult::Durable { position } => self.parked_at(position, append, orders),
            StoreResult::Refused => self.park_refused(now, append, orders),
            StoreResult::Passed => self.park_passed(append),
            StoreResult::Unknown => self.park_unknown(now, append, orders),
        }
    }

    fn parked_at(&mut self, position: u64, append: Append<P>, orders: &mut Vec<Order<P>>) {
        if self.lane.is_empty() && position > self.lane.tail {
            self.lane.start_at(position);
        }
        let (mut at, is_told_failed) = (position, append.is_unknown());
        for batch in self
            .flight
            .iter_mut()
            .filter(|batch| batch.home == Home::Appending)
        {
            batch.home = Home::Stored(at);
            orders.extend(park_shares(&mut batch.shares, at).map(acknowledge));
            at += records(batch.payload.count());
            self.lane.read_to = at;
        }
        for mut batch in append.waiting {
            orders.extend(park_shares(&mut batch.shares, at).map(acknowledge));
            let end = at + records(batch.payload.count());
            if is_told_failed {
                self.settled
                    .remember(batch.payload, Outcome::Parked { position: at });
            }
            at = end;
        }
        match self.way {
            None => self.lane.tail = self.lane.tail.max(at),
            Some(_) => self.hand_over(),
        }
    }

    /// What stands in a shared lane is its drainer's, and so is whoever stamped it: the drainer goes on where that ended.
    fn hand_over(&mut self) {
        let is_stored = |batch: &InFlight<P>| matches!(batch.home, Home::Stored(_));
        for index in 0..self.flight.len() {
            if let Some(Home::Stored(position)) = self.flight.get(index).map(|batch| batch.home) {
                self.remember(index, Outcome::Parked { position });
            }
        }
        if self.flight.iter().any(is_stored) {
            self.identities.renounce();
            self.flight.retain(|batch| !is_stored(batch));
        }
        self.lane = Lane::default();
    }

    /// The lane goes another way, and nothing was appended. Who was told that it may have been tries again or not.
    fn park_passed(&mut self, append: Append<P>) {
        for batch in self
            .flight
            .iter_mut()
            .filter(|batch| batch.home == Home::Appending)
        {
            batch.home = Home::Memory;
        }
        let is_waited_for = |batch: &Waiting<P>| !batch.shares.is_empty();
        self.waiting
            .put_back(append.waiting.into_iter().filter(is_waited_for).collect());
    }

    fn park_refused(&mut self, now: Now, append: Append<P>, orders: &mut Vec<Order<P>>) {
        for batch in self
            .flight
            .iter_mut()
            .filter(|batch| batch.home == Home::Appending)
        {
            batch.home = Home::Memory;
            if !batch.is_done() {
                batch.told_failed = true;
                orders.extend(fail_shares(&mut batch.shares, true, Reason::StandbyRefused).map(acknowledge));
            }
        }
        for mut batch in append.waiting {
            orders.extend(fail_shares(&mut batch.shares, false, Reason::StandbyRefused).map(acknowledge));
        }
        if self.needs_store() {
            self.back_off(now);
        }
    }

    fn park_unknown(&mut self, now: Now, mut append: Append<P>, orders: &mut Vec<Order<P>>) {
        for batch in self
            .flight
            .iter_mut()
            .filter(|batch| batch.home == Home::Appending)
        {
            if !batch.is_done() {
                batch.told_failed = true;
                orders.extend(fail_shares(&mut batch.shares, true, Reason::StandbyUnknown).map(acknowledge));
            }
        }
        for batch in &mut append.waiting {
            orders.extend(fail_shares(&mut batch.shares, true, Reason::StandbyUnknown).map(acknowledge));
        }
        append.become_unknown(now.elapsed, &self.settings);
        self.append = Some(append);
    }
}

fn order<P: Payload>(append: &Append<P>) -> Order<P> {
    Order::Append {
        append: append.number,
        batches: append.batches(),
    }
}
