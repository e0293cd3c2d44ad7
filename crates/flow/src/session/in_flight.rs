//! A stamped batch from its stamping until it is on the log, gone to a dead letter, or durably removed.

use super::{Claim, Order, Outcome, Payload};
use crate::Stamping;
use crate::answer::Refusal;

/// A stamped batch.
#[derive(Debug)]
pub(super) struct InFlight<P> {
    pub(super) stamping: Stamping,
    pub(super) payload: P,
    /// Callers who are not answered yet.
    pub(super) shares: Vec<Share>,
    /// Callers were told that it may have landed; a retry with the same id joins it.
    pub(super) told_failed: bool,
    pub(super) home: Home,
    pub(super) state: State,
    /// An attempt under this stamp, or an earlier one, may have landed without an answer.
    pub(super) uncertain: bool,
    pub(super) attempt: Option<Attempt>,
}

/// An attempt that is not answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) number: u64,
    /// Every batch before it was done when it was sent.
    pub(super) alone: bool,
}

/// Where a batch is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// In memory alone.
    Memory,
    /// In memory, and in an append that is not answered.
    Appending,
    /// In the store, at this position.
    Stored(u64),
}

/// How far a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its stamp is being stored by this write.
    Storing(u64),
    /// It may be sent, or is being sent.
    Ready,
    /// Refused for its content, and no attempt of it can have landed.
    Refused(Refusal),
    /// Its stamp cannot decide.
    Undecided,
    /// It is being searched for.
    Searching(u64),
    /// It was not found.
    Missing,
    /// Its dead letter is being written.
    Lettering { letter: u64, refusal: Refusal },
    /// Its dead letter is written.
    Lettered,
    /// Gone to its dead letter.
    Left,
    /// On the log.
    Done,
}

/// Part of a batch that a claim covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Index of the first record within the batch.
    pub(crate) at: i32,
    pub(crate) claim: Claim,
}

impl<P: Payload> InFlight<P> {
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Left | State::Done)
    }

    /// It is becoming a dead letter: it is not Kafka that its callers wait for, and it is not parked.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.state, State::Lettering { .. } | State::Lettered)
    }

    /// It has gone to its dead letter, and a crash would send it nevertheless: the store still has it.
    pub(super) fn is_left_behind(&self) -> bool {
        self.state == State::Left && self.home != Home::Memory
    }

    /// It is in memory alone, and its callers wait for Kafka.
    pub(super) fn has_waiting_callers(&self) -> bool {
        self.home == Home::Memory && !self.is_leaving() && !self.shares.is_empty()
    }

    /// The position after its last record, when it is stored.
    pub(super) fn stored_end(&self) -> Option<u64> {
        match self.home {
            Home::Stored(position) => Some(position + records(self.payload.count())),
            Home::Memory | Home::Appending => None,
        }
    }

    /// Answers the callers: the records lie at `offset` and behind.
    pub(super) fn tell_published(&mut self, offset: Option<i64>, orders: &mut Vec<Order<P>>) {
        for Share { at, claim } in self.shares.drain(..) {
            let offset = offset.map(|first| first + i64::from(at));
            orders.push(Order::Acknowledge {
                claim,
                outcome: Outcome::Published { offset },
            });
        }
    }

    /// Parts it after `records` records. Both parts keep their sequences.
    pub(super) fn split_at(self, records_kept: i32) -> (Self, Self) {
        let (kept, rest) = self.payload.split_at(records_kept);
        let mut stamps = (self.stamping, self.stamping);
        stamps.0.stamp.count = records_kept;
        stamps.1.stamp.count -= records_kept;
        stamps.1.stamp.base_sequence = stamps.0.stamp.next_sequence();
        let home = match self.home {
            Home::Stored(position) => Home::Stored(position + records(records_kept)),
            other => other,
        };
        let (shares, rest_shares) = split_shares(self.shares, records_kept);
        let second = Self {
            stamping: stamps.1,
            payload: rest,
            shares: rest_shares,
            told_failed: self.told_failed,
            home,
            state: self.state,
            uncertain: self.uncertain,
            attempt: None,
        };
        let first = Self {
            stamping: stamps.0,
            payload: kept,
            shares,
            told_failed: self.told_failed,
            home: self.home,
            state: self.state,
            uncertain: self.uncertain,
            attempt: None,
        };
        (first, second)
    }
}

/// A number of records as a distance between positions.
pub(crate) fn records(count: i32) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn split_shares(shares: Vec<Share>, at: i32) -> (Vec<Share>, Vec<Share>) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for share in shares {
        let before = (at - share.at).clamp(0, share.claim.count);
        if before > 0 {
            first.push(Share {
                at: share.at,
                claim: Claim {
                    count: before,
                    ..share.claim
                },
            });
        }
        if before < share.claim.count {
            second.push(Share {
                at: share.at + before - at,
                claim: Claim {
                    ticket: share.claim.ticket,
                    first: share.claim.first + before,
                    count: share.claim.count - before,
                },
            });
        }
    }
    (first, second)
}
