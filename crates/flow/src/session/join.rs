//! A retry with the id of an event of which the caller was told that it may have landed.
//!
//! The rules it keeps: such an event is not published twice. While its fate is open the retry shares it; once it is
//! known, and remembered, the retry is told. What was never told `may_have_landed` is not looked for.

use std::collections::VecDeque;

use super::append::whole;
use super::in_flight::{Home, Share, records};
use super::{Claim, Now, Order, Outcome, Partition, Payload, Ticket};

/// What became of batches after their callers were told that they may have landed. The oldest is forgotten first.
#[derive(Debug)]
pub(crate) struct Settled<P> {
    list: VecDeque<(P, Outcome)>,
    batches_max: usize,
}

impl<P: Payload> Settled<P> {
    pub(crate) fn new(batches_max: usize) -> Self {
        Self {
            list: VecDeque::new(),
            batches_max,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn remember(&mut self, payload: P, outcome: Outcome) {
        if self.list.len() >= self.batches_max {
            self.list.pop_front();
        }
        self.list.push_back((payload, outcome));
    }

    /// What became of the event `id`.
    pub(crate) fn find(&self, id: &P::Id) -> Option<Outcome> {
        let (at, outcome) = self
            .list
            .iter()
            .rev()
            .find_map(|(payload, outcome)| Some((payload.find(id)?, *outcome)))?;
        Some(match outcome {
            Outcome::Published { offset } => Outcome::Published {
                offset: offset.map(|first| first + i64::from(at)),
            },
            Outcome::Parked { position } => Outcome::Parked {
                position: position + records(at),
            },
            other => other,
        })
    }
}

impl<P: Payload> Partition<P> {
    /// True while there is anything that a retry could join. False saves looking for each event.
    #[must_use]
    pub fn has_joinable(&self) -> bool {
        !self.settled.is_empty()
            || self
                .append
                .as_ref()
                .is_some_and(super::append::Append::is_unknown)
            || self.flight.iter().any(|batch| batch.told_failed)
    }

    /// Lets `ticket`, of one record, share what becomes of the event `id`, when an earlier caller was told that it may
    /// have landed. False when no such event is known: then it is published as any other.
    pub fn join(&mut self, now: Now, ticket: Ticket, id: &P::Id, orders: &mut Vec<Order<P>>) -> bool {
        let claim = whole(ticket, 1);
        let joined = self.join_flight(claim, id, orders)
            || self.append.as_mut().is_some_and(|append| append.join(claim, id))
            || self.join_settled(claim, id, orders);
        if joined {
            self.go_on(now, orders);
        }
        joined
    }

    fn join_flight(&mut self, claim: Claim, id: &P::Id, orders: &mut Vec<Order<P>>) -> bool {
        let found = self
            .flight
            .iter_mut()
            .filter(|batch| batch.told_failed)
            .find_map(|batch| {
                let at = batch.payload.find(id)?;
                (!batch.is_done()).then_some((batch, at))
            });
        let Some((batch, at)) = found else { return false };
        match batch.home {
            Home::Stored(position) => {
                let position = position + records(at);
                let outcome = Outcome::Parked { position };
                orders.push(Order::Acknowledge { claim, outcome });
            }
            Home::Memory | Home::Appending => batch.shares.push(Share { at, claim }),
        }
        true
    }

    fn join_settled(&self, claim: Claim, id: &P::Id, orders: &mut Vec<Order<P>>) -> bool {
        let outcome = self.settled.find(id);
        orders.extend(outcome.map(|outcome| Order::Acknowledge { claim, outcome }));
        outcome.is_some()
    }

    /// Remembers what became of a batch in flight, for retries.
    pub(super) fn remember(&mut self, index: usize, outcome: Outcome) {
        if let Some(batch) = self.flight.get_mut(index).filter(|batch| batch.told_failed) {
            batch.told_failed = false;
            let payload = batch.payload.clone();
            self.settled.remember(payload, outcome);
        }
    }

    pub(super) fn remember_landed(&mut self, index: usize, offset: Option<i64>) {
        self.remember(index, Outcome::Published { offset });
    }
}
