//! What a consumer did.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one consumer since its start.
#[derive(Debug, Default)]
pub struct Counts {
    handled: AtomicU64,
    repeated: AtomicU64,
    dead_lettered: AtomicU64,
}

impl Counts {
    /// Events that were handled.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// Events that were dropped because they had been finished before.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Records that were dead-lettered.
    #[must_use]
    pub fn dead_lettered(&self) -> u64 {
        self.dead_lettered.load(Ordering::Relaxed)
    }

    pub(super) fn note_handled(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_repeated(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_dead_lettered(&self) {
        self.dead_lettered.fetch_add(1, Ordering::Relaxed);
    }
}
