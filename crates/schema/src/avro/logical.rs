//! Which `logicalType` attributes take effect.

use serde_json::Value;

use super::model::{Kind, Logical, Props};

/// The logical type that the attributes name, if it is valid on this kind. Anything else is ignored, as
/// `LogicalTypes.fromSchemaIgnoreInvalid` of the Java library does.
pub(super) fn logical(kind: &Kind, props: &Props) -> Option<Logical> {
    let logical = match props.get("logicalType")?.as_str()? {
        "decimal" => decimal(kind, props)?,
        "big-decimal" => Logical::BigDecimal,
        "uuid" => Logical::Uuid,
        "date" => Logical::Date,
        "time-millis" => Logical::TimeMillis,
        "time-micros" => Logical::TimeMicros,
        "timestamp-millis" => Logical::TimestampMillis,
        "timestamp-micros" => Logical::TimestampMicros,
        "timestamp-nanos" => Logical::TimestampNanos,
        "local-timestamp-millis" => Logical::LocalTimestampMillis,
        "local-timestamp-micros" => Logical::LocalTimestampMicros,
        "local-timestamp-nanos" => Logical::LocalTimestampNanos,
        "duration" => Logical::Duration,
        _ => return None,
    };
    stands_on(logical, kind).then_some(logical)
}

fn stands_on(logical: Logical, kind: &Kind) -> bool {
    match logical {
        Logical::Decimal { .. } => matches!(kind, Kind::Bytes | Kind::Fixed(_)),
        Logical::BigDecimal => matches!(kind, Kind::Bytes),
        Logical::Uuid => match kind {
            Kind::String => true,
            Kind::Fixed(fixed) => fixed.size == 16,
            _ => false,
        },
        Logical::Date | Logical::TimeMillis => matches!(kind, Kind::Int),
        Logical::Duration => matches!(kind, Kind::Fixed(fixed) if fixed.size == 12),
        _ => matches!(kind, Kind::Long),
    }
}

fn decimal(kind: &Kind, props: &Props) -> Option<Logical> {
    let precision = int(props.get("precision")?)?;
    let scale = props.get("scale").map_or(Some(0), int)?;
    if precision == 0 || scale > precision || u64::from(precision) > precision_max(kind) {
        return None;
    }
    Some(Logical::Decimal { precision, scale })
}

fn int(value: &Value) -> Option<u32> {
    let number: i32 = value.as_number()?.as_str().parse().ok()?;
    u32::try_from(number).ok()
}

/// Digits that surely fit: floor(log10(2^(8 size - 1))).
fn precision_max(kind: &Kind) -> u64 {
    match kind {
        Kind::Fixed(fixed) => {
            let bits = (fixed.size as f64).mul_add(8.0, -1.0);
            (bits * std::f64::consts::LOG10_2).floor() as u64
        }
        _ => u64::MAX,
    }
}
