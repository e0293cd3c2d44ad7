//! What the session knows of the partition's lane in the store.

use std::collections::VecDeque;

use super::in_flight::records;
use super::{Payload, Stored};

/// Batches that are read ahead; more is not asked for while as many are there.
pub(super) const AHEAD_MAX: usize = 5;

/// Positions, and batches read but not yet in flight.
#[derive(Debug)]
pub(super) struct Lane<P> {
    /// Position of the oldest record.
    pub(super) head: u64,
    /// Position after the newest record.
    pub(super) tail: u64,
    /// Everything below is in flight, read ahead, or removed.
    pub(super) read_to: u64,
    /// Everything below is removed or being removed.
    pub(super) removing: u64,
    pub(super) reading: bool,
    pub(super) ahead: VecDeque<Stored<P>>,
}

impl<P> Default for Lane<P> {
    fn default() -> Self {
        Self {
            head: 0,
            tail: 0,
            read_to: 0,
            removing: 0,
            reading: false,
            ahead: VecDeque::new(),
        }
    }
}

impl<P: Payload> Lane<P> {
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Records that are not in flight yet.
    pub(super) fn unread(&self) -> u64 {
        let from = self.ahead.front().map_or(self.read_to, |batch| batch.position);
        self.tail.saturating_sub(from)
    }

    /// All that is left was read, and is not there.
    pub(super) fn is_void(&self) -> bool {
        self.removing < self.tail && self.read_to == self.tail && self.ahead.is_empty()
    }

    pub(super) fn start_at(&mut self, position: u64) {
        self.head = position;
        self.tail = position;
        self.read_to = position;
        self.removing = position;
    }

    /// Takes what was read. An empty answer says that the lane ends where it was read to. There may be more than is
    /// known of: the records of an append whose fate was unknown. What the store left out it cannot read back.
    pub(super) fn take(&mut self, batches: Vec<Stored<P>>) {
        self.reading = false;
        if batches.is_empty() {
            self.tail = self.read_to;
        }
        for batch in batches {
            if batch.position >= self.read_to {
                self.read_to = batch.position + records(batch.payload.count());
                self.ahead.push_back(batch);
            }
        }
        self.tail = self.tail.max(self.read_to);
    }
}
