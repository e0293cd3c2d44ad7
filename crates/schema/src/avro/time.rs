//! Dates, times, instants and durations as ISO 8601 text and as Avro's integers (proleptic Gregorian calendar).

use evenkeel_event::calendar::{civil_from_days, days_from_civil};

/// Ticks in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    pub(super) fn per_second(self) -> i64 {
        match self {
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Millis => 3,
            Self::Micros => 6,
            Self::Nanos => 9,
        }
    }

    pub(super) fn per_day(self) -> i64 {
        self.per_second() * DAY_SECONDS
    }
}

const DAY_SECONDS: i64 = 86_400;
/// 0000-01-01 and 9999-12-31 in days since 1970-01-01: the years that four digits write.
const DAYS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

/// Days since 1970-01-01 of `2010-12-01`.
pub(super) fn parse_date(text: &str) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.as_bytes() else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let (month, day) = (number(&[m1, m2])?, number(&[d1, d2])?);
    let days = days_from_civil(year, month, day);
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// Ticks after midnight of `08:26`, `08:26:00` or `08:26:00.123`. Digits finer than the unit must be zeros.
pub(super) fn parse_time(text: &str, unit: Unit) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (hours, minutes, seconds) = match *clock.as_bytes() {
        [h1, h2, b':', m1, m2] if fraction.is_empty() && !text.contains('.') => {
            (number(&[h1, h2])?, number(&[m1, m2])?, 0)
        }
        [h1, h2, b':', m1, m2, b':', s1, s2] => (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 || seconds > 59 || text.ends_with('.') || fraction.len() > 18 {
        return None;
    }
    let kept = fraction.get(..unit.digits()).unwrap_or(fraction);
    if fraction.bytes().skip(kept.len()).any(|digit| digit != b'0') {
        return None;
    }
    let padding = u32::try_from(unit.digits() - kept.len()).ok()?;
    let ticks = if kept.is_empty() {
        0
    } else {
        number(kept.as_bytes())? * 10_i64.pow(padding)
    };
    Some(((hours * 60 + minutes) * 60 + seconds) * unit.per_second() + ticks)
}

/// Ticks since 1970-01-01T00:00:00 of an ISO 8601 date and time. An instant needs `Z` or an offset, a local one must
/// not have it.
pub(super) fn parse_timestamp(text: &str, unit: Unit, local: bool) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let days = parse_date(date)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, offset_seconds) = if local { (rest, 0) } else { split_offset(rest)? };
    let ticks = parse_time(time, unit)? - offset_seconds * unit.per_second();
    days.checked_mul(unit.per_day())?.checked_add(ticks)
}

fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let (time, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let [sign, h1, h2, b':', m1, m2] = *offset.as_bytes() else {
        return None;
    };
    let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 60 + minutes) * 60;
    match sign {
        b'+' => Some((time, seconds)),
        b'-' => Some((time, -seconds)),
        _ => None,
    }
}

/// `2010-12-01`; `None` outside the years 0000 to 9999.
pub(super) fn date_text(days: i64) -> Option<String> {
    if !DAYS.contains(&days) {
        return None;
    }
    let (year, month, day) = civil_from_days(days);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// `08:26:00`, with a fraction when it is not zero; `None` for what is not within a day.
pub(super) fn time_text(ticks: i64, unit: Unit) -> Option<String> {
    if !(0..unit.per_day()).contains(&ticks) {
        return None;
    }
    let (seconds, fraction) = (ticks / unit.per_second(), ticks % unit.per_second());
    let mut text = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    if fraction != 0 {
        text.push_str(&format!(".{fraction:0width$}", width = unit.digits()));
    }
    Some(text)
}

/// `2010-12-01T08:26:00Z`, a local one without `Z`; `None` outside the years 0000 to 9999.
pub(super) fn timestamp_text(ticks: i64, unit: Unit, local: bool) -> Option<String> {
    let mut text = date_text(ticks.div_euclid(unit.per_day()))?;
    text.push('T');
    text.push_str(&time_text(ticks.rem_euclid(unit.per_day()), unit)?);
    if !local {
        text.push('Z');
    }
    Some(text)
}

/// Avro's duration of `P1M2DT3.004S`: months, days, milliseconds, each a little-endian u32. Years are 12 months, weeks
/// 7 days, hours and minutes their milliseconds.
pub(super) fn parse_duration(text: &str) -> Option<[u8; 12]> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) if !time.is_empty() => (date, time),
        Some(_) => return None,
        None if rest.is_empty() => return None,
        None => (rest, ""),
    };
    let (mut months, mut days, mut millis) = (0_u64, 0_u64, 0_u64);
    for (value, letter) in parts(date)? {
        match letter {
            'Y' => months = months.checked_add(whole(value)?.checked_mul(12)?)?,
            'M' => months = months.checked_add(whole(value)?)?,
            'W' => days = days.checked_add(whole(value)?.checked_mul(7)?)?,
            'D' => days = days.checked_add(whole(value)?)?,
            _ => return None,
        }
    }
    for (value, letter) in parts(time)? {
        let add = match letter {
            'H' => whole(value)?.checked_mul(3_600_000)?,
            'M' => whole(value)?.checked_mul(60_000)?,
            'S' => seconds_millis(value)?,
            _ => return None,
        };
        millis = millis.checked_add(add)?;
    }
    let mut out = [0; 12];
    for (slot, value) in out.chunks_exact_mut(4).zip([months, days, millis]) {
        slot.copy_from_slice(&u32::try_from(value).ok()?.to_le_bytes());
    }
    Some(out)
}

/// `P1M2DT3.004S`; all three parts are always there.
pub(super) fn duration_text(bytes: &[u8]) -> String {
    let mut parts = bytes.chunks(4).map(|part| {
        part.iter()
            .rev()
            .fold(0_u32, |n, byte| (n << 8) | u32::from(*byte))
    });
    let (months, days, millis) = (
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
    );
    let (seconds, fraction) = (millis / 1000, millis % 1000);
    if fraction == 0 {
        return format!("P{months}M{days}DT{seconds}S");
    }
    format!("P{months}M{days}DT{seconds}.{fraction:03}S")
}

fn parts(text: &str) -> Option<Vec<(&str, char)>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_uppercase())?;
        let (value, tail) = rest.split_at_checked(end)?;
        parts.push((value, tail.chars().next()?));
        rest = tail.get(1..)?;
    }
    Some(parts)
}

fn whole(text: &str) -> Option<u64> {
    (text.bytes().all(|b| b.is_ascii_digit()) && text.len() < 15).then(|| text.parse().ok())?
}

fn seconds_millis(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let millis = match fraction.len() {
        1..=3 => whole(fraction)? * 10_u64.pow(3 - u32::try_from(fraction.len()).ok()?),
        _ => return None,
    };
    whole(seconds)?.checked_mul(1000)?.checked_add(millis)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_back() {
        let check = |text: &str, days: i64| {
            assert_eq!(parse_date(text), Some(days), "{text}");
            assert_eq!(date_text(days).as_deref(), Some(text));
        };
        check("1970-01-01", 0);
        check("1969-12-31", -1);
        check("2010-12-01", 14_944);
        check("2000-02-29", 11_016);
        check("0000-01-01", *DAYS.start());
        check("9999-12-31", *DAYS.end());
        for text in [
            "2010-13-01",
            "2010-02-30",
            "1900-02-29",
            "2010-1-1",
            "10-12-01",
            "2010-12-01 ",
            "2010-00-10",
            "2010-01-00",
            "２010-12-1",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(date_text(*DAYS.end() + 1), None);
    }

    #[test]
    fn timestamps_come_back() {
        let check = |text: &str, unit, local, ticks: i64, back: &str| {
            assert_eq!(parse_timestamp(text, unit, local), Some(ticks), "{text}");
            assert_eq!(timestamp_text(ticks, unit, local).as_deref(), Some(back));
        };
        check(
            "2010-12-01T08:26:00Z",
            Unit::Millis,
            false,
            1_291_191_960_000,
            "2010-12-01T08:26:00Z",
        );
        check(
            "2010-12-01T10:26:00.5+02:00",
            Unit::Micros,
            false,
            1_291_191_960_500_000,
            "2010-12-01T08:26:00.500000Z",
        );
        check(
            "1969-12-31T23:59:59.999999999Z",
            Unit::Nanos,
            false,
            -1,
            "1969-12-31T23:59:59.999999999Z",
        );
        check(
            "2010-12-01T08:26",
            Unit::Millis,
            true,
            1_291_191_960_000,
            "2010-12-01T08:26:00",
        );
        check(
            "2010-12-01T08:26:00.120000Z",
            Unit::Millis,
            false,
            1_291_191_960_120,
            "2010-12-01T08:26:00.120Z",
        );
        for text in [
            "2010-12-01T08:26:00",
            "2010-12-01",
            "2010-12-01T08:26:00.0001Z",
            "2010-12-01T24:00:00Z",
            "2010-12-01T08:26:00.Z",
            "2010-12-01T08:26:00+2:00",
            "2010-12-01T08.5Z",
            "Z",
        ] {
            assert_eq!(parse_timestamp(text, Unit::Millis, false), None, "{text}");
        }
        assert_eq!(parse_timestamp("2010-12-01T08:26:00Z", Unit::Millis, true), None);
        assert_eq!(parse_timestamp("9999-12-31T08:26:00Z", Unit::Nanos, false), None);
        assert_eq!(timestamp_text(i64::MAX, Unit::Millis, false), None);
    }

    #[test]
    fn durations_come_back() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                parse_duration(text).map(|bytes| duration_text(&bytes)).as_deref(),
                expected,
                "{text}"
            );
        };
        check("P1M2DT3.004S", Some("P1M2DT3.004S"));
        check("P1Y1W", Some("P12M7DT0S"));
        check("PT1H1M1S", Some("P0M0DT3661S"));
        check("P4294967295M", Some("P4294967295M0DT0S"));
        for text in [
            "",
            "P",
            "PT",
            "P1",
            "1D",
            "P1H",
            "PT1D",
            "P4294967296M",
            "P1.5D",
            "PT1.0000S",
            "P-1D",
        ] {
            check(text, None);
        }
    }
}
