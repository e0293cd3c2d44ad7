//! One value without parts into bytes: the same rules for JSON and for serde.

use crate::violation::{Violation, ViolationKind, excerpt};

use super::decimal;
use super::default::code_points;
use super::program::{Scalar, Shape};
use super::time::{self, Unit};
use super::varint;

/// A value without parts, as JSON or a Rust type gives it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given<'a> {
    Null,
    Boolean(bool),
    /// A JSON number as it is written.
    Literal(&'a str),
    Integer(i128),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Given<'_> {
    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Null => Shape::Null,
            Self::Boolean(_) => Shape::Boolean,
            Self::Literal(_) | Self::Integer(_) | Self::Float(_) => Shape::Number,
            Self::Text(_) | Self::Bytes(_) => Shape::Text,
        }
    }

    /// As an error quotes it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => format!("boolean {value}"),
            Self::Literal(text) => format!("number {}", excerpt(text).replace('"', "")),
            Self::Integer(value) => format!("number {value}"),
            Self::Float(value) => format!("number {value:?}"),
            Self::Text(text) => format!("string {}", excerpt(text)),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
        }
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Self::Literal(text) => text.parse().ok(),
            Self::Integer(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    fn float(&self) -> Option<f64> {
        match self {
            Self::Literal(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
            Self::Integer(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text("NaN") => Some(f64::NAN),
            Self::Text("Infinity") => Some(f64::INFINITY),
            Self::Text("-Infinity") => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }

    /// Whether it is a number at all, so that the error says "out of range" and not "expected".
    fn is_number(&self) -> bool {
        self.shape() == Shape::Number
    }
}

/// Appends a value of type `ty`.
pub(super) fn put(ty: Scalar, given: Given<'_>, out: &mut Vec<u8>) -> Result<(), Violation> {
    match (ty, given) {
        (Scalar::Null, Given::Null) => {}
        (Scalar::Boolean, Given::Boolean(value)) => out.push(u8::from(value)),
        (Scalar::Text, Given::Text(text)) => put_bytes(out, text.as_bytes()),
        (Scalar::Int, _) => put_int(ty, given, i64::from(i32::MIN)..=i64::from(i32::MAX), out)?,
        (Scalar::Long, _) => put_int(ty, given, i64::MIN..=i64::MAX, out)?,
        (Scalar::Float | Scalar::Double, _) => put_float(ty, given, out)?,
        (Scalar::Date | Scalar::TimeMillis | Scalar::TimeMicros | Scalar::Timestamp { .. }, _) => {
            put_time(ty, given, out)?;
        }
        (Scalar::Decimal(decimal), _) => put_decimal(decimal, given, out)?,
        (Scalar::Bytes, Given::Bytes(bytes)) => put_bytes(out, bytes),
        (Scalar::Bytes, Given::Text(text)) => put_bytes(out, &bytes_of(ty, text)?),
        (Scalar::Uuid, Given::Text(text)) => {
            uuid(text).ok_or_else(|| malformed(ty, given, "8-4-4-4-12 hexadecimal digits"))?;
            put_bytes(out, text.as_bytes());
        }
        (Scalar::UuidFixed, Given::Text(text)) => {
            let bytes = uuid(text).ok_or_else(|| malformed(ty, given, "8-4-4-4-12 hexadecimal digits"))?;
            out.extend_from_slice(&bytes);
        }
        (Scalar::Duration, Given::Text(text)) => {
            let bytes = time::parse_duration(text).ok_or_else(|| malformed(ty, given, "P1M2DT3.004S"))?;
            out.extend_from_slice(&bytes);
        }
        (Scalar::Fixed(size), Given::Text(text)) => put_fixed(size, &bytes_of(ty, text)?, out)?,
        (Scalar::Fixed(size), Given::Bytes(bytes)) => put_fixed(size, bytes, out)?,
        (Scalar::UuidFixed, Given::Bytes(bytes)) => put_fixed(16, bytes, out)?,
        (Scalar::Duration, Given::Bytes(bytes)) => put_fixed(12, bytes, out)?,
        _ => return Err(mismatch(ty.name(), given)),
    }
    Ok(())
}

fn put_int(
    ty: Scalar,
    given: Given<'_>,
    range: std::ops::RangeInclusive<i64>,
    out: &mut Vec<u8>,
) -> Result<(), Violation> {
    if !given.is_number() {
        return Err(mismatch(ty.name(), given));
    }
    match given.integer() {
        Some(value) if range.contains(&value) => {
            varint::put(out, value);
            Ok(())
        }
        _ => {
            let message = format!(
                "{} is no {}, which is a whole number from {} to {}, written without point or exponent",
                given.describe(),
                ty.name(),
                range.start(),
                range.end()
            );
            Err(Violation::new(ViolationKind::Range, message))
        }
    }
}

fn put_float(ty: Scalar, given: Given<'_>, out: &mut Vec<u8>) -> Result<(), Violation> {
    let out_of_range = || {
        Violation::new(
            ViolationKind::Range,
            format!("{} is out of range for {}", given.describe(), ty.name()),
        )
    };
    let Some(value) = given.float() else {
        return Err(if given.is_number() {
            out_of_range()
        } else {
            mismatch(ty.name(), given)
        });
    };
    if ty == Scalar::Double {
        out.extend_from_slice(&value.to_le_bytes());
        return Ok(());
    }
    // Through f64 a literal would be rounded twice.
    let single = match given {
        Given::Literal(text) => text.parse().unwrap_or(f32::INFINITY),
        _ => value as f32,
    };
    if single.is_infinite() && value.is_finite() {
        return Err(out_of_range());
    }
    out.extend_from_slice(&single.to_le_bytes());
    Ok(())
}

fn put_time(ty: Scalar, given: Given<'_>, out: &mut Vec<u8>) -> Result<(), Violation> {
    let value = match given {
        Given::Text(text) => {
            let (parsed, form) = match ty {
                Scalar::Date => (time::parse_date(text), "2010-12-01"),
                Scalar::TimeMillis => (time::parse_time(text, Unit::Millis), "08:26:00.123"),
                Scalar::TimeMicros => (time::parse_time(text, Unit::Micros), "08:26:00.123456"),
                Scalar::Timestamp { unit, local: false } => {
                    (time::parse_timestamp(text, unit, false), "2010-12-01T08:26:00Z")
                }
                Scalar::Timestamp { unit, local: true } => {
                    (time::parse_timestamp(text, unit, true), "2010-12-01T08:26:00")
                }
                _ => (None, ""),
            };
            parsed.ok_or_else(|| malformed(ty, given, form))?
        }
        _ if given.is_number() => given.integer().ok_or_else(|| {
            Violation::new(
                ViolationKind::Range,
                format!("{} is out of range for {}", given.describe(), ty.name()),
            )
        })?,
        _ => return Err(mismatch(ty.name(), given)),
    };
    if !in_range(ty, value) {
        return Err(Violation::new(
            ViolationKind::Range,
            format!("{} is out of range for {}", given.describe(), ty.name()),
        ));
    }
    varint::put(out, value);
    Ok(())
}

/// Whether an integer is a value of a date or time type.
pub(super) fn in_range(ty: Scalar, value: i64) -> bool {
    match ty {
        Scalar::Int | Scalar::Date => i32::try_from(value).is_ok(),
        Scalar::TimeMillis => (0..Unit::Millis.per_day()).contains(&value),
        Scalar::TimeMicros => (0..Unit::Micros.per_day()).contains(&value),
        _ => true,
    }
}

fn put_decimal(decimal: decimal::Decimal, given: Given<'_>, out: &mut Vec<u8>) -> Result<(), Violation> {
    let integer;
    let text = match given {
        Given::Text(text) | Given::Literal(text) => text,
        Given::Integer(value) => {
            integer = value.to_string();
            &integer
        }
        Given::Float(_) => {
            let message = format!(
                "expected decimal, found {}: a float is not exact, give a decimal or a string",
                given.describe()
            );
            return Err(Violation::new(ViolationKind::Type, message));
        }
        _ => return Err(mismatch("decimal", given)),
    };
    let mut bytes = Vec::new();
    decimal.put(&mut bytes, text).map_err(|bad| match bad {
        decimal::Bad::Form => mismatch("decimal", given),
        decimal::Bad::Scale => {
            let message = format!(
                "{} has more than {} digits after the point",
                given.describe(),
                decimal.scale
            );
            Violation::new(ViolationKind::Range, message)
        }
        decimal::Bad::Precision => {
            let message = format!("{} has more than {} digits", given.describe(), decimal.precision);
            Violation::new(ViolationKind::Range, message)
        }
    })?;
    match decimal.size {
        Some(_) => out.extend_from_slice(&bytes),
        None => put_bytes(out, &bytes),
    }
    Ok(())
}

fn put_fixed(size: usize, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
    if bytes.len() != size {
        let message = format!("expected fixed of {size} bytes, found {} bytes", bytes.len());
        return Err(Violation::new(ViolationKind::Range, message));
    }
    out.extend_from_slice(bytes);
    Ok(())
}

fn bytes_of(ty: Scalar, text: &str) -> Result<Vec<u8>, Violation> {
    code_points(text).ok_or_else(|| {
        let message = format!(
            "expected {}, found string {}: bytes are written as the characters U+0000 to U+00FF",
            ty.name(),
            excerpt(text)
        );
        Violation::new(ViolationKind::Format, message)
    })
}

/// Appends a length and bytes: Avro's string, bytes and map keys.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(bytes);
}

/// The 16 bytes of an identifier in its one textual form (RFC 9562, section 4), either case.
pub(super) fn uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut out = [0_u8; 16];
    let mut nibbles = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let value = u8::try_from(char::from(byte).to_digit(16)?).ok()?;
        let slot = out.get_mut(nibbles / 2)?;
        *slot = (*slot << 4) | value;
        nibbles += 1;
    }
    Some(out)
}

/// The textual form of an identifier, lower case.
pub(super) fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

pub(super) fn mismatch(expected: &str, given: Given<'_>) -> Violation {
    Violation::new(
        ViolationKind::Type,
        format!("expected {expected}, found {}", given.describe()),
    )
}

fn malformed(ty: Scalar, given: Given<'_>, form: &str) -> Violation {
    let message = format!("expected {} like {form}, found {}", ty.name(), given.describe());
    Violation::new(ViolationKind::Format, message)
}
