//! Parking: when a partition is out, and what the store is given then.
//!
//! The rules it keeps:
//! - a partition is out when its callers wait without progress for [`Settings::out_after`](super::Settings::out_after),
//!   and at once when its leader is known to be gone or an operator has to mend something; a throttle is no outage;
//! - what is in flight is appended with its stamps, in order, then what waits, unstamped; one append at a time;
//! - `Parked` is told when the append is durable; an append whose fate is unknown is repeated under its number;
//! - what the store refuses is told `Failed`. What is in flight may have landed: it stays, and is sent until that is known.
//!   What waits is gone;
//! - the partition goes direct again when the lane is empty. While its last batches are sent events wait in memory.

use std::time::Duration;

use super::in_flight::{Home, Share, State, Waiting, records};
use super::partition::{Leader, Mode, Numbers};
use super::{Claim, Now, Order, Outcome, Partition, Payload, Reason, StoreResult};
use crate::Stamping;

/// An append that is not decided.
#[derive(Debug)]
pub(super) struct Append<P> {
    number: u64,
    /// What was in flight when it was ordered, as it was then.
    stamped: Vec<(Stamping, P)>,
    waiting: Vec<Waiting<P>>,
    /// Set while its fate is unknown: when it is ordered again.
    unknown: Option<Unknown>,
}

#[derive(Debug, Clone, Copy)]
struct Unknown {
    retry_at: Duration,
    failures: u32,
    is_ordered: bool,
}

impl<P: Payload> Append<P> {
    pub(super) fn is_told_failed(&self) -> bool {
        self.unknown.is_some()
    }

    pub(super) fn join(&mut self, claim: Claim, id: &P::Id) -> bool {
        if self.unknown.is_none() {
            return false;
        }
        let found = self
            .waiting
            .iter_mut()
            .find_map(|batch| Some((batch.payload.find(id)?, batch)));
        let Some((at, batch)) = found else { return false };
        batch.shares.push(Share { at, claim });
        true
    }

    fn order(&self) -> Order<P> {
        let stamped = self
            .stamped
            .iter()
            .map(|(stamping, payload)| (Some(*stamping), payload.clone()));
        let waiting = self.waiting.iter().map(|batch| (None, batch.payload.clone()));
        Order::Append {
            append: self.number,
            batches: stamped.chain(waiting).collect(),
        }
    }
}

impl<P: Payload> Partition<P> {
    /// Chooses between sending directly and parking.
    pub(super) fn choose_mode(&mut self, now: Now) {
        let callers_wait = !self.waiting.is_empty()
            || self
                .flight
                .iter()
                .any(|batch| batch.home == Home::Memory && !batch.shares.is_empty());
        if callers_wait {
            self.health.stalled_since.get_or_insert(now.elapsed);
        } else {
            self.health.stalled_since = None;
        }
        let is_over = self.out_at().is_some_and(|at| now.elapsed >= at);
        let is_out = callers_wait && (self.broker.leader == Leader::Gone || self.health.blocked || is_over);
        if self.mode != Mode::Out && (is_out || self.needs_store()) {
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

    /// Sending works, and what the store holds will soon be sent.
    fn is_nearly_empty(&self) -> bool {
        let nothing_left = self.flight.is_empty() && self.lane.is_empty();
        self.append.is_none()
            && self.lane.unread() <= self.settings.closing_records_max
            && self.has_leader()
            && !self.needs_store()
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
        if self.append.is_some() {
            self.repeat_append(now, orders);
            self.fail_what_waits_too_long(now, orders);
            return;
        }
        let has_callers = self
            .flight
            .iter()
            .any(|batch| batch.home == Home::Memory && !batch.shares.is_empty());
        let is_needed = has_callers
            || !self.waiting.is_empty()
            || (self.needs_store() && now.elapsed >= self.health.retry_at);
        if self.mode != Mode::Out || !is_needed {
            return;
        }
        let mut stamped = Vec::new();
        for batch in &mut self.flight {
            if batch.home == Home::Memory && !batch.is_done() {
                batch.home = Home::Appending;
                stamped.push((batch.stamping, batch.payload.clone()));
            }
        }
        self.waiting_bytes = 0;
        let append = Append {
            number: Numbers::next(&mut self.numbers.append),
            stamped,
            waiting: self.waiting.drain(..).collect(),
            unknown: None,
        };
        orders.push(append.order());
        self.append = Some(append);
    }

    fn repeat_append(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        let Some(append) = &mut self.append else { return };
        if let Some(unknown) = &mut append.unknown
            && !unknown.is_ordered
            && now.elapsed >= unknown.retry_at
        {
            unknown.is_ordered = true;
            orders.push(append.order());
        }
    }

    /// While the store does not say whether it has an append, nothing can be parked behind it.
    fn fail_what_waits_too_long(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        if !self.append.as_ref().is_some_and(Append::is_told_failed) {
            return;
        }
        while let Some(batch) = self.waiting.front()
            && now.elapsed >= batch.since + self.settings.out_after
        {
            let Some(mut batch) = self.pop_waiting() else {
                return;
            };
            fail(&mut batch.shares, false, Reason::StandbyUnknown, orders);
        }
    }

    pub(super) fn append_wake(&self) -> Option<Duration> {
        let unknown = self.append.as_ref()?.unknown?;
        let oldest = self
            .waiting
            .front()
            .map(|batch| batch.since + self.settings.out_after);
        let retry = (!unknown.is_ordered).then_some(unknown.retry_at);
        [retry, oldest].into_iter().flatten().min()
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
            StoreResult::Unknown => self.park_unknown(now, append, orders),
        }
    }

    fn parked_at(&mut self, position: u64, append: Append<P>, orders: &mut Vec<Order<P>>) {
        if self.lane.is_empty() {
            self.lane.start_at(position);
        }
        let mut at = position;
        for batch in self
            .flight
            .iter_mut()
            .filter(|batch| batch.home == Home::Appending)
        {
            batch.home = Home::Stored(at);
            park_shares(&mut batch.shares, at, orders);
            at += records(batch.payload.count());
            self.lane.read_to = at;
        }
        for mut batch in append.waiting {
            park_shares(&mut batch.shares, at, orders);
            let end = at + records(batch.payload.count());
            if append.unknown.is_some() {
                self.settle(batch.payload, Outcome::Parked { position: at });
            }
            at = end;
        }
        self.lane.tail = self.lane.tail.max(at);
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
                fail(&mut batch.shares, true, Reason::StandbyRefused, orders);
            }
        }
        for mut batch in append.waiting {
            fail(&mut batch.shares, false, Reason::StandbyRefused, orders);
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
                fail(&mut batch.shares, true, Reason::StandbyUnknown, orders);
            }
        }
        for batch in &mut append.waiting {
            fail(&mut batch.shares, true, Reason::StandbyUnknown, orders);
        }
        let failures = append
            .unknown
            .map_or(1, |unknown| unknown.failures.saturating_add(1));
        append.unknown = Some(Unknown {
            retry_at: now.elapsed + self.settings.backoff.wait(failures, u8::MAX),
            failures,
            is_ordered: false,
        });
        self.append = Some(append);
    }
}

fn park_shares<P>(shares: &mut Vec<Share>, position: u64, orders: &mut Vec<Order<P>>) {
    for Share { at, claim } in shares.drain(..) {
        let position = position + records(at);
        let outcome = Outcome::Parked { position };
        orders.push(Order::Acknowledge { claim, outcome });
    }
}

fn fail<P>(shares: &mut Vec<Share>, may_have_landed: bool, reason: Reason, orders: &mut Vec<Order<P>>) {
    for Share { claim, .. } in shares.drain(..) {
        let outcome = Outcome::Failed {
            may_have_landed,
            reason,
        };
        orders.push(Order::Acknowledge { claim, outcome });
    }
}
