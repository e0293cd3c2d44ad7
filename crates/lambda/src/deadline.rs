//! How the time of an invocation is parted.

use std::time::Duration;

use evenkeel_event::clock::{Clock as _, SystemClock, Timestamp};
use tokio::time::Instant;

/// Most of the time that is kept for the end.
const END_MAX: Duration = Duration::from_secs(10);

/// Until when what is done. Past the last one Lambda kills the process, from which everything recovers, but the next
/// invocation waits until the lease has run out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    /// Nothing more is begun.
    pub(crate) drain_until: Instant,
    /// Longest wait for what is on its way.
    pub(crate) close_within: Duration,
    /// The invocation is answered.
    pub(crate) answer_at: Instant,
}

impl Deadline {
    /// Of an invocation that is killed at this time, in milliseconds since 1970.
    pub(crate) fn of(killed_at_ms: u64) -> Self {
        let killed_at = Timestamp::from_millis(i64::try_from(killed_at_ms).unwrap_or(i64::MAX));
        Self::within(killed_at.since(SystemClock::default().now()))
    }

    fn within(left: Duration) -> Self {
        let end = (left / 4).min(END_MAX);
        let now = Instant::now();
        Self {
            drain_until: now + (left - end),
            // Giving the lease back and the last look take what is left.
            close_within: end / 5,
            answer_at: now + (left - end / 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_has_its_share_of_any_time() {
        for (left_ms, drains_ms, closes_ms, answers_ms) in [
            (0, 0, 0, 0),
            (4_000, 3_000, 200, 3_900),
            (60_000, 50_000, 2_000, 59_000),
            (900_000, 890_000, 2_000, 899_000),
        ] {
            let begun = Instant::now();
            let deadline = Deadline::within(Duration::from_millis(left_ms));
            let about = |at: Instant, expected_ms: u64| {
                let at = at.duration_since(begun).as_millis();
                assert!(at.abs_diff(u128::from(expected_ms)) < 50, "{left_ms}: {at}");
            };
            about(deadline.drain_until, drains_ms);
            about(deadline.answer_at, answers_ms);
            assert_eq!(deadline.close_within, Duration::from_millis(closes_ms));
        }
    }
}
