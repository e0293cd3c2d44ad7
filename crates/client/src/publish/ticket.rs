//! Which callers wait for which published batch.

use std::collections::HashMap;
use std::sync::Arc;

use evenkeel_flow::session::{Claim, Reason, Ticket};

use super::fate::{Fate, Fates};

/// The batches whose callers are not all told yet.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    last: u64,
    open: HashMap<Ticket, Waiters>,
}

#[derive(Debug)]
struct Waiters {
    who: Who,
    /// Records of which nothing was told.
    untold: i32,
    /// What the batch counts for in the limit on memory.
    bytes: usize,
}

/// Who waits for a batch's records.
#[derive(Debug, Clone)]
pub(super) enum Who {
    /// The callers of one front's batch, in its order.
    Batch(Arc<Fates>),
    /// For each record a caller of some batch.
    Each(Vec<(Arc<Fates>, u32)>),
}

impl Tickets {
    /// Names a batch of `count` records.
    pub(super) fn open(&mut self, who: Who, count: i32, bytes: usize) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        let untold = count;
        self.open.insert(ticket, Waiters { who, untold, bytes });
        ticket
    }

    /// Ends a ticket without telling anybody, and returns who waits.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<(Who, usize)> {
        let waiters = self.open.remove(&ticket)?;
        Some((waiters.who, waiters.bytes))
    }

    /// Tells the callers of `claim`, and returns the bytes that left memory.
    pub(super) fn tell(&mut self, claim: Claim, fate: Fate) -> usize {
        let Some(waiters) = self.open.get_mut(&claim.ticket) else {
            return 0;
        };
        waiters.who.tell(claim, fate);
        waiters.untold -= claim.count;
        if waiters.untold > 0 {
            return 0;
        }
        self.open.remove(&claim.ticket).map_or(0, |waiters| waiters.bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Tells all who wait that nothing more will be known here. What was told before stays.
    pub(super) fn give_up(&mut self) {
        for (_, waiters) in self.open.drain() {
            waiters.who.give_up();
        }
    }
}

/// Nothing more will be known here.
const fn gone() -> Fate {
    Fate::Failed {
        reason: Reason::Closed,
        may_have_landed: true,
        refusal: None,
    }
}

impl Who {
    /// Tells all that nothing more will be known here.
    pub(super) fn give_up(&self) {
        match self {
            Self::Batch(fates) => fates.tell(0..u32::MAX, gone()),
            Self::Each(each) => {
                for (fates, index) in each {
                    fates.tell(*index..index + 1, gone());
                }
            }
        }
    }

    /// Those who wait for the records at `indexes`.
    pub(super) fn pick(&self, indexes: &[usize]) -> Self {
        let one = |index: &usize| match self {
            Self::Batch(fates) => Some((fates.clone(), u32::try_from(*index).ok()?)),
            Self::Each(each) => each.get(*index).cloned(),
        };
        Self::Each(indexes.iter().filter_map(one).collect())
    }

    fn tell(&self, claim: Claim, fate: Fate) {
        let first = u32::try_from(claim.first).unwrap_or(0);
        let count = u32::try_from(claim.count).unwrap_or(0);
        match self {
            Self::Batch(fates) => fates.tell(first..first + count, fate),
            Self::Each(each) => {
                let claimed = each.iter().skip(first as usize).take(count as usize);
                for (distance, (fates, index)) in (0..).zip(claimed) {
                    fates.tell(*index..index + 1, fate.behind(distance));
                }
            }
        }
    }
}
