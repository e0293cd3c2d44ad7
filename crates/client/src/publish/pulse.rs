//! Whether this process stood still: suspended, stopped, or starved of the processor. What was to be answered meanwhile has run
//! out of time, and that says nothing of whoever was asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The engine has something to do at least every second.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(3);

/// Beats as long as the engine does something.
#[derive(Debug)]
pub(super) struct Pulse {
    /// The last beat, and the end of the last time without one, milliseconds of [`boot_time`].
    beat: AtomicU64,
    went_on: AtomicU64,
}

impl Pulse {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            beat: AtomicU64::new(millis(now)),
            went_on: AtomicU64::new(0),
        }
    }

    pub(super) fn beat(&self, now: Duration) {
        if self.is_missing(now) {
            self.went_on.store(millis(now), Ordering::Relaxed);
        }
        self.beat.store(millis(now), Ordering::Relaxed);
    }

    fn is_missing(&self, now: Duration) -> bool {
        millis(now).saturating_sub(self.beat.load(Ordering::Relaxed)) > millis(STANDS_STILL_AFTER)
    }

    /// True when this process stood still at some time between `then` and `now`.
    pub(super) fn stood_still(&self, then: Duration, now: Duration) -> bool {
        self.went_on.load(Ordering::Relaxed) > millis(then) || self.is_missing(now)
    }
}

/// The monotonic clock that also runs while the machine sleeps.
pub(super) fn boot_time() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    // That of macOS does so.
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_of_a_pause_before_and_after_the_next_beat() {
        let at = Duration::from_secs;
        let pulse = Pulse::new(at(10));
        pulse.beat(at(12));
        assert!(!pulse.stood_still(at(10), at(13)));
        assert!(pulse.stood_still(at(13), at(20)), "nothing has beaten yet");
        pulse.beat(at(20));
        assert!(pulse.stood_still(at(13), at(20)));
        assert!(!pulse.stood_still(at(20), at(21)), "it went on before");
    }
}
