//! The session's limits and times.

use std::time::Duration;

use evenkeel_event::backoff::Backoff;

/// Limits and times of a partition's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A partition without an answer for this long is out and parks.
    pub out_after: Duration,
    /// Batches that may wait unstamped.
    pub waiting_batches_max: usize,
    /// Bytes that may wait unstamped. A first batch is taken whatever its size.
    pub waiting_bytes_max: usize,
    /// Records left in the store with which the partition begins to close: new events wait in memory until these are sent.
    pub closing_records_max: u64,
    /// The broker's `producer.id.expiration.ms`. A stamp older than half of it does not decide.
    pub producer_expiry: Duration,
    /// Wait before a batch is sent again, and before a failed append or search is repeated.
    pub backoff: Backoff,
    /// Batches whose callers were told that they may have landed, and what became of them, that are remembered so that
    /// a retry with the same id learns it. The oldest is forgotten first.
    pub settled_batches_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            out_after: Duration::from_millis(500),
            waiting_batches_max: 16,
            waiting_bytes_max: 16 << 20,
            closing_records_max: 4_096,
            producer_expiry: Duration::from_secs(24 * 60 * 60),
            backoff: Backoff::RECONNECT,
            settled_batches_max: 64,
        }
    }
}
