//! Time as a trait, so that tests and the simulator can set it.

use std::fmt;
use std::time::{Duration, Instant};

use crate::calendar::{civil_from_days, days_from_civil};

/// A wall-clock time in milliseconds since 1970-01-01T00:00:00Z, as Kafka's timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// Tells the time. The wall clock may jump; the monotonic one never goes back.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock, for timestamps on records and in reports.
    fn now(&self) -> Timestamp;

    /// Time since some fixed instant of this process, for time-outs and back-off.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[allow(
            clippy::disallowed_methods,
            reason = "this is the one place that reads the wall clock"
        )]
        let now = std::time::SystemTime::now();
        let since_epoch = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Timestamp {
    /// A time from milliseconds since the epoch; negative before 1970.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The time passed since `earlier`; zero when the clock went back.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds: `2010-12-01T08:26:00.000Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let mut buffer = [0; 24];
        match self.write_rfc3339(&mut buffer) {
            Some(text) => text.to_owned(),
            None => {
                let (days, millis) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
                let (year, month, day) = civil_from_days(days);
                let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
                let (second, milli) = (millis / 1_000 % 60, millis % 1_000);
                format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
            }
        }
    }

    /// As [`to_rfc3339`](Self::to_rfc3339), without an allocation; `None` for years outside 0 to 9999.
    #[must_use]
    pub fn write_rfc3339(self, buffer: &mut [u8; 24]) -> Option<&str> {
        let (days, millis) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let (year, month, day) = civil_from_days(days);
        if !(0..=9_999).contains(&year) {
            return None;
        }
        *buffer = *b"0000-00-00T00:00:00.000Z";
        put_digits(buffer, 0..4, year);
        put_digits(buffer, 5..7, month);
        put_digits(buffer, 8..10, day);
        put_digits(buffer, 11..13, millis / 3_600_000);
        put_digits(buffer, 14..16, millis / 60_000 % 60);
        put_digits(buffer, 17..19, millis / 1_000 % 60);
        put_digits(buffer, 20..23, millis % 1_000);
        std::str::from_utf8(buffer).ok()
    }

    /// Reads RFC 3339 (with `Z` or an offset) and, as UTC, the form without an offset. Finer than a millisecond is cut.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let (date, rest) = (text.get(..10)?, text.get(10..)?);
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let (year, month, day) = (number(date, 0, 4)?, number(date, 5, 7)?, number(date, 8, 10)?);
        let separators = date.get(4..5)? == "-" && date.get(7..8)? == "-";
        let (clock, offset) = split_offset(rest)?;
        let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let (hour, minute, second) = (number(whole, 0, 2)?, number(whole, 3, 5)?, number(whole, 6, 8)?);
        let in_range = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 61;
        if !separators || whole.len() != 8 || !in_range || fraction.is_empty() {
            return None;
        }
        let millis = format!("{:0<3}", fraction.get(..fraction.len().min(3))?);
        let millis = number(&millis, 0, 3)?;
        let seconds =
            days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60;
        Some(Self(seconds * 1_000 + millis))
    }
}

/// Writes the last digits of `value`, which is not negative.
fn put_digits(buffer: &mut [u8; 24], at: std::ops::Range<usize>, value: i64) {
    let mut rest = value;
    for place in buffer.get_mut(at).into_iter().flatten().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
}

fn number(text: &str, from: usize, to: usize) -> Option<i64> {
    let digits = text.get(from..to)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

/// Splits `08:26:00+01:00` into the clock and the offset in minutes.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, 0));
    };
    let (clock, offset) = text.split_at(at);
    let minutes = number(offset, 1, 3)? * 60 + number(offset, 4, 6)?;
    (offset.len() == 6).then_some((
        clock,
        if offset.starts_with('-') {
            -minutes
        } else {
            minutes
        },
    ))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_and_parse() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_291_191_960_000, "2010-12-01T08:26:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_rfc3339(), text);
            assert_eq!(
                Timestamp::parse_rfc3339(text),
                Some(Timestamp::from_millis(millis))
            );
        }
    }

    #[test]
    fn offsets_and_missing_offsets_are_read() {
        let expected = Some(Timestamp::from_millis(1_291_191_960_000));
        for text in [
            "2010-12-01T08:26:00",
            "2010-12-01T09:26:00+01:00",
            "2010-12-01 02:56:00.0000-05:30",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2010",
            "2010-13-01T00:00:00Z",
            "2010-02-29T00:00:00Z",
            "2010-12-01T24:00:00Z",
            "2010-12-01Tä",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }
}
