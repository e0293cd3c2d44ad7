//! How long to wait before trying again.

use std::time::Duration;

/// Exponential back-off: `first`, doubled after each failure up to `longest`, with jitter that the caller supplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Backoff {
    /// Reconnecting to a broker: 20 ms to 250 ms, because a longer wait is felt as an outage.
    pub const RECONNECT: Self = Self {
        first: Duration::from_millis(20),
        longest: Duration::from_millis(250),
    };

    /// The wait after `failures` failures in a row (1 = the first), between half and the whole of the
    /// exponential value by `jitter` (0 = half, 255 = whole).
    #[must_use]
    pub fn wait(&self, failures: u32, jitter: u8) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        whole / 2 + (whole / 2) * u32::from(jitter) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<u128> = (1..=6)
            .map(|failures| Backoff::RECONNECT.wait(failures, 255).as_millis())
            .collect();
        assert_eq!(waits, [20, 40, 80, 160, 250, 250]);
        assert_eq!(Backoff::RECONNECT.wait(u32::MAX, 0).as_millis(), 125);
    }
}
