//! How often a handler is called again for one event.

use std::time::Duration;

use evenkeel_event::backoff::Backoff;

/// When to try again and when to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Calls of the handler in all, at least 1.
    pub attempts_max: u32,
    /// The waits between them.
    pub backoff: Backoff,
}

/// What to do after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Call again after this wait.
    Retry(Duration),
    /// Dead-letter the event.
    GiveUp,
}

impl Default for Policy {
    /// Four calls, 100 ms to 2 s apart.
    fn default() -> Self {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(2),
        };
        Self {
            attempts_max: 4,
            backoff,
        }
    }
}

impl Policy {
    /// What follows after `attempts` failed calls (1 = the first). `jitter` spreads the waits, see [`Backoff::wait`].
    #[must_use]
    pub fn after(&self, attempts: u32, jitter: u8) -> Decision {
        if attempts >= self.attempts_max {
            Decision::GiveUp
        } else {
            Decision::Retry(self.backoff.wait(attempts, jitter))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_gives_up() {
        let decisions: Vec<Decision> = (1..=4)
            .map(|attempts| Policy::default().after(attempts, 255))
            .collect();
        let retry = |millis| Decision::Retry(Duration::from_millis(millis));
        assert_eq!(decisions, [retry(100), retry(200), retry(400), Decision::GiveUp]);
    }
}
