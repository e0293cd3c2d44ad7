//! How fast parked events are sent on: at most so many a second, and less while the cluster is not well.
//!
//! The rules it keeps:
//! - a grant is for a bounded number of events, so that partitions that wait in line get their turns;
//! - what was taken beyond a grant (a stamped batch is whole) is paid back before the next one;
//! - trouble at a broker puts the next grant off, longer each time, and makes it small until something is appended
//!   again; a throttle is waited for. Live events are not slowed by this: they are the shell's, and go first.

use std::num::NonZeroU32;
use std::time::Duration;

use evenkeel_event::backoff::Backoff;

/// Grants of one second are given in so many turns.
const TURNS_A_SECOND: u32 = 10;
/// Events of one grant where no rate is set.
const UNLIMITED_EVENTS: u32 = 1_000_000;
/// Events of one grant after trouble, until something is appended.
const PROBE_EVENTS: u32 = 100;
/// Wait after trouble.
const TROUBLED: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(5),
};

/// The pace of a drain.
#[derive(Debug, Clone)]
pub struct Pace {
    events_per_second: Option<NonZeroU32>,
    /// Before this nothing is granted, on the monotonic clock.
    next_at: Duration,
    /// Nor before this, unless something is appended meanwhile.
    troubled_until: Duration,
    failures: u32,
}

/// Whether the next events may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// So many, at least 1: [`Pace::took`] uses them, and [`Pace::settle`] is told how many it were.
    Events(u32),
    /// None before this instant of the monotonic clock.
    At(Duration),
}

impl Pace {
    /// A pace of at most so many events a second; `None` for as many as the cluster takes.
    #[must_use]
    pub const fn new(events_per_second: Option<NonZeroU32>) -> Self {
        Self {
            events_per_second,
            next_at: Duration::ZERO,
            troubled_until: Duration::ZERO,
            failures: 0,
        }
    }

    /// What may be read now.
    #[must_use]
    pub fn grant(&self, now: Duration) -> Grant {
        let next_at = self.next_at.max(self.troubled_until);
        if now < next_at {
            return Grant::At(next_at);
        }
        let most = match self.events_per_second {
            Some(rate) => (rate.get() / TURNS_A_SECOND).max(1),
            None => UNLIMITED_EVENTS,
        };
        Grant::Events(if self.failures > 0 {
            most.min(PROBE_EVENTS)
        } else {
            most
        })
    }

    /// A grant of so many events is used.
    pub fn took(&mut self, now: Duration, events: u32) {
        if let Some(rate) = self.events_per_second {
            self.next_at = self.next_at.max(now) + Duration::from_secs(1) * events / rate.get();
        }
    }

    /// Of a grant of `granted` events `read` were read: what is missing is given back, what is more is paid later.
    pub fn settle(&mut self, granted: u32, read: u32) {
        if let Some(rate) = self.events_per_second {
            let second = Duration::from_secs(1);
            let more = second * read.saturating_sub(granted) / rate.get();
            let less = second * granted.saturating_sub(read) / rate.get();
            self.next_at = (self.next_at + more).saturating_sub(less);
        }
    }

    /// A broker could not take a batch: it was late, its disk failed, or too few replicas were in sync.
    pub fn troubled(&mut self, now: Duration) {
        // What was under way together fails together, and counts once.
        if now >= self.troubled_until {
            self.failures = self.failures.saturating_add(1);
            self.troubled_until = now + TROUBLED.wait(self.failures, u8::MAX);
        }
    }

    /// A broker asks to send nothing until then.
    pub fn throttled(&mut self, until: Duration) {
        self.next_at = self.next_at.max(until);
    }

    /// A batch was appended: nothing is waited for any more but the rate.
    pub const fn went_well(&mut self) {
        self.failures = 0;
        self.troubled_until = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(rate: u32) -> Pace {
        Pace::new(NonZeroU32::new(rate))
    }

    #[test]
    fn a_second_grants_as_many_events_as_the_rate_says() {
        for rate in [1, 7, 100, 12_345] {
            let mut pace = at(rate);
            let (mut now, mut events) = (ms(5_000), 0);
            while now < ms(15_000) {
                match pace.grant(now) {
                    Grant::Events(granted) => {
                        pace.took(now, granted);
                        events += granted;
                    }
                    Grant::At(next) => now = next,
                }
            }
            assert!((rate * 10..=rate * 11).contains(&events), "{rate}: {events}");
        }
    }

    #[test]
    fn what_was_taken_beyond_a_grant_is_paid_back() {
        let mut pace = at(100);
        assert_eq!(pace.grant(ms(0)), Grant::Events(10));
        pace.took(ms(0), 10);
        pace.settle(10, 250);
        assert_eq!(pace.grant(ms(10)), Grant::At(ms(2_500)));
        pace.took(ms(2_500), 10);
        pace.settle(10, 0);
        assert_eq!(pace.grant(ms(2_500)), Grant::Events(10));
    }

    #[test]
    fn trouble_puts_the_next_grant_off_longer_each_time_and_makes_it_small() {
        let mut pace = Pace::new(None);
        assert_eq!(pace.grant(ms(0)), Grant::Events(UNLIMITED_EVENTS));
        pace.troubled(ms(0));
        pace.troubled(ms(1));
        let Grant::At(first) = pace.grant(ms(1)) else {
            panic!("granted in trouble")
        };
        assert_eq!(pace.grant(first), Grant::Events(PROBE_EVENTS));
        pace.troubled(first);
        let Grant::At(second) = pace.grant(first) else {
            panic!("granted in trouble")
        };
        assert!(second - first > first, "{first:?} {second:?}");
        pace.went_well();
        assert_eq!(pace.grant(first), Grant::Events(UNLIMITED_EVENTS));
    }

    #[test]
    fn a_throttle_is_waited_for() {
        let mut pace = at(10);
        pace.throttled(ms(700));
        assert_eq!(pace.grant(ms(0)), Grant::At(ms(700)));
        assert_eq!(pace.grant(ms(700)), Grant::Events(1));
    }
}
