//! What waits for the store, and an append whose fate is not known yet.
//!
//! The rules it keeps: what waits is bounded; an append whose fate is unknown is ordered again under its number and with
//! the same batches, after a growing wait.

use std::collections::VecDeque;
use std::time::Duration;

use super::in_flight::{Share, records};
use super::{Claim, Order, Outcome, Payload, Reason, Settings, Ticket};
use crate::Stamping;

/// A batch that waits unstamped.
#[derive(Debug, Clone)]
pub(crate) struct Waiting<P> {
    pub(crate) payload: P,
    pub(crate) shares: Vec<Share>,
    /// When it was published, on the monotonic clock.
    pub(crate) since: Duration,
}

/// Batches that wait, oldest first.
#[derive(Debug)]
pub(crate) struct Queue<P> {
    batches: VecDeque<Waiting<P>>,
    bytes: usize,
}

impl<P> Default for Queue<P> {
    fn default() -> Self {
        Self {
            batches: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<P: Payload> Queue<P> {
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }

    pub(crate) fn has_room(&self, settings: &Settings) -> bool {
        self.batches.len() < settings.waiting_batches_max && self.bytes < settings.waiting_bytes_max
    }

    pub(crate) fn push(&mut self, now: Duration, claim: Claim, payload: P) {
        self.bytes += payload.bytes();
        self.batches.push_back(Waiting {
            payload,
            shares: vec![Share { at: 0, claim }],
            since: now,
        });
    }

    /// Puts back, before all others, what was taken out.
    pub(crate) fn put_back(&mut self, batches: Vec<Waiting<P>>) {
        for batch in batches.into_iter().rev() {
            self.bytes += batch.payload.bytes();
            self.batches.push_front(batch);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Waiting<P>> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.payload.bytes().min(self.bytes);
        Some(batch)
    }

    /// The oldest, when it has waited for `longest`.
    pub(crate) fn pop_older(&mut self, now: Duration, longest: Duration) -> Option<Waiting<P>> {
        (now >= self.oldest()? + longest).then(|| self.pop())?
    }

    pub(crate) fn oldest(&self) -> Option<Duration> {
        self.batches.front().map(|batch| batch.since)
    }

    pub(crate) fn take_all(&mut self) -> Vec<Waiting<P>> {
        self.bytes = 0;
        self.batches.drain(..).collect()
    }
}

/// An append that is not decided.
#[derive(Debug)]
pub(crate) struct Append<P> {
    pub(crate) number: u64,
    /// What was in flight when it was ordered, as it was then.
    stamped: Vec<(Stamping, P)>,
    pub(crate) waiting: Vec<Waiting<P>>,
    /// Set while its fate is unknown.
    unknown: Option<Unknown>,
}

#[derive(Debug, Clone, Copy)]
struct Unknown {
    retry_at: Duration,
    failures: u32,
    is_ordered: bool,
}

impl<P: Payload> Append<P> {
    pub(crate) fn new(number: u64, stamped: Vec<(Stamping, P)>, waiting: Vec<Waiting<P>>) -> Self {
        Self {
            number,
            stamped,
            waiting,
            unknown: None,
        }
    }

    /// Its callers were told that it may be stored.
    pub(crate) fn is_unknown(&self) -> bool {
        self.unknown.is_some()
    }

    pub(crate) fn join(&mut self, claim: Claim, id: &P::Id) -> bool {
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

    pub(crate) fn batches(&self) -> Vec<(Option<Stamping>, P)> {
        let stamped = self
            .stamped
            .iter()
            .map(|(stamping, payload)| (Some(*stamping), payload.clone()));
        let waiting = self.waiting.iter().map(|batch| (None, batch.payload.clone()));
        stamped.chain(waiting).collect()
    }

    /// True once each time it is due to be ordered again.
    pub(crate) fn is_due(&mut self, now: Duration) -> bool {
        match &mut self.unknown {
            Some(unknown) if !unknown.is_ordered && now >= unknown.retry_at => {
                unknown.is_ordered = true;
                true
            }
            _ => false,
        }
    }

    /// When it is to be ordered again.
    pub(crate) fn retry_at(&self) -> Option<Duration> {
        self.unknown
            .filter(|unknown| !unknown.is_ordered)
            .map(|unknown| unknown.retry_at)
    }

    /// The store does not say whether it has it.
    pub(crate) fn become_unknown(&mut self, now: Duration, settings: &Settings) {
        let failures = self
            .unknown
            .map_or(1, |unknown| unknown.failures.saturating_add(1));
        self.unknown = Some(Unknown {
            retry_at: now + settings.backoff.wait(failures, u8::MAX),
            failures,
            is_ordered: false,
        });
    }
}

/// A claim on the whole of a batch.
pub(crate) fn whole(ticket: Ticket, count: i32) -> Claim {
    Claim {
        ticket,
        first: 0,
        count,
    }
}

/// What a caller is told whose batch was not taken, because nothing more is, or for want of room.
pub(crate) const fn not_taken(is_closed: bool) -> Outcome {
    Outcome::Failed {
        may_have_landed: false,
        reason: if is_closed {
            Reason::Closed
        } else {
            Reason::QueueFull
        },
    }
}

/// Tells the callers that their records are stored from `position` on. Returns what is to be acknowledged.
pub(crate) fn park_shares(shares: &mut Vec<Share>, position: u64) -> impl Iterator<Item = (Claim, Outcome)> {
    shares.drain(..).map(move |Share { at, claim }| {
        let position = position + records(at);
        (claim, Outcome::Parked { position })
    })
}

/// Tells the callers that their records are in no durable place that is known.
pub(crate) fn fail_shares(
    shares: &mut Vec<Share>,
    may_have_landed: bool,
    reason: Reason,
) -> impl Iterator<Item = (Claim, Outcome)> {
    shares.drain(..).map(move |Share { claim, .. }| {
        let outcome = Outcome::Failed {
            may_have_landed,
            reason,
        };
        (claim, outcome)
    })
}

/// The order that acknowledges.
pub(crate) fn acknowledge<P>((claim, outcome): (Claim, Outcome)) -> Order<P> {
    Order::Acknowledge { claim, outcome }
}
