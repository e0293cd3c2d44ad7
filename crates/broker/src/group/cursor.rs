//! Where the reading of a partition stands.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_event::TopicPartition;
use evenkeel_event::backoff::Backoff;
use evenkeel_flow::membership::{Claim, Mark};
use tokio::time::Instant;

use super::stream::Item;
use crate::batch::{Batches, Transactions};
use crate::fetch::Fetched;

/// The reading of one claim.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) state: CursorState,
    /// The next offset to fetch.
    pub(super) next: i64,
    /// The leader epoch of what lies before it; -1 when unknown.
    pub(super) last_epoch: i32,
    /// Raised when the reading goes on elsewhere: what was fetched for an older one is dropped.
    pub(super) version: u64,
    /// No request before this time.
    pub(super) not_before: Instant,
    failures: u32,
    pub(super) alarmed: bool,
}

/// What a cursor waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorState {
    /// Its first position is to be learned.
    Placeless,
    /// Somebody asks for a position.
    Asking,
    /// It can be fetched.
    Ready,
    /// It is being fetched.
    Fetching,
}

impl Cursor {
    pub(super) fn new() -> Self {
        Self {
            state: CursorState::Placeless,
            next: 0,
            last_epoch: -1,
            version: 0,
            not_before: Instant::now(),
            failures: 0,
            alarmed: false,
        }
    }

    /// Goes on at `mark`; what is under way for the old place is dropped when it comes.
    pub(super) const fn place(&mut self, mark: Mark) {
        self.next = mark.offset;
        self.last_epoch = mark.leader_epoch;
        self.version += 1;
        self.state = CursorState::Ready;
        self.failures = 0;
    }

    /// Waits a little longer than the last time.
    pub(super) fn back_off(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now() + Backoff::RECONNECT.wait(self.failures, rand::random());
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.not_before = Instant::now() + time;
    }

    /// Takes in what a fetch brought, in order, and moves behind it.
    pub(super) fn read(&mut self, fetched: Fetched, committed: bool) -> Vec<Item> {
        self.failures = 0;
        self.not_before = Instant::now();
        let mut transactions = Transactions::new(&fetched.aborted);
        let mut items = Vec::new();
        for batch in Batches::new(fetched.records) {
            let last = match &batch {
                Ok(batch) => batch.last_offset,
                Err(unreadable) => unreadable.last_offset,
            };
            let visible = batch.as_ref().map_or(true, |batch| {
                let visible = transactions.is_visible(batch);
                !batch.is_control() && (visible || !committed)
            });
            if last < self.next {
                continue;
            }
            let from = self.next;
            self.next = last.saturating_add(1);
            match batch {
                Ok(batch) => {
                    self.last_epoch = batch.leader_epoch;
                    if visible {
                        items.push(Item::Batch { batch, from });
                    }
                }
                Err(unreadable) => items.push(Item::Unreadable(unreadable)),
            }
        }
        items
    }
}

/// The cursors of all claims.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    by_claim: BTreeMap<Claim, Cursor>,
}

impl Cursors {
    pub(super) fn open(&mut self, claim: Claim) {
        self.by_claim.insert(claim, Cursor::new());
    }

    pub(super) fn shut(&mut self, claim: &Claim) {
        self.by_claim.remove(claim);
    }

    pub(super) fn get_mut(&mut self, claim: &Claim) -> Option<&mut Cursor> {
        self.by_claim.get_mut(claim)
    }

    /// The claims in `state` whose time has come.
    pub(super) fn due(&self, state: CursorState) -> Vec<Claim> {
        let now = Instant::now();
        let due = self
            .by_claim
            .iter()
            .filter(|(_, cursor)| cursor.state == state && cursor.not_before <= now);
        due.map(|(claim, _)| claim.clone()).collect()
    }

    /// When the next claim that waits for its time may go on.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let now = Instant::now();
        let waiting = self.by_claim.values().filter(|cursor| {
            matches!(cursor.state, CursorState::Placeless | CursorState::Ready) && cursor.not_before > now
        });
        waiting.map(|cursor| cursor.not_before).min()
    }

    /// The claim on `partition`, if its reading is still the one of `version`.
    pub(super) fn current(&mut self, claim: &Claim, version: u64) -> Option<&mut Cursor> {
        self.by_claim
            .get_mut(claim)
            .filter(|cursor| cursor.version == version)
    }
}

/// A fetch that is under way: who was asked for, at which version.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) claims: Vec<(Claim, u64)>,
}

impl Asked {
    pub(super) fn on(&self, partition: &TopicPartition) -> Option<&(Claim, u64)> {
        self.claims
            .iter()
            .find(|(claim, _)| claim.partition == *partition)
    }
}
