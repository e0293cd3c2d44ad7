//! Times of a member, and what it does without the store.

use std::time::Duration;

/// Times of a member, and what it does while it cannot reach the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long a lease counts. The first park of a partition waits this long, and a little more, for a process that has
    /// died.
    pub lease: Duration,
    /// How often the store is asked what is diverted. The first park of a partition waits about this long for processes
    /// that live. Below a third of the lease.
    pub poll_every: Duration,
    /// By how much a lease is overstayed before it is taken from its holder, in parts of a thousand of its duration:
    /// what the clocks of two machines may differ in speed.
    pub drift_per_mille: u32,
    /// What it does without a lease.
    pub mode: Mode,
    /// Whether it drains what is diverted.
    pub drains: bool,
}

/// What a process does while it cannot reach the store, so that it has no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// It publishes to Kafka directly and raises an alarm: the order of a key that other processes publish too is not
    /// promised meanwhile.
    #[default]
    Available,
    /// It publishes nothing: every call is an error.
    Strict,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(5),
            poll_every: Duration::from_millis(250),
            drift_per_mille: 100,
            mode: Mode::default(),
            drains: true,
        }
    }
}

impl Settings {
    /// Without any input for so long a process stood still: the store is asked at every poll, and its answer is waited for half a
    /// lease.
    pub(super) fn stands_still_after(&self) -> Duration {
        self.lease * 3 / 4
    }

    /// How long a renewal of a lease of this duration is to be seen unchanged before it has run out.
    pub(super) fn outlasts(&self, lease: Duration) -> Duration {
        lease + lease * self.drift_per_mille / 1_000
    }
}
