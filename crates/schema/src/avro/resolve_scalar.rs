//! Which types without parts can be read as which (Avro specification, "Schema Resolution", promotions).

use super::model::{Kind, Type};
use super::program::{Scalar, scalar};

/// How to read a value that was written as `from` where `to` is expected: its bytes and its meaning.
///
/// The reader's logical type gives the meaning. Only a decimal or timestamp read as one of another scale or unit keeps
/// the writer's, because the number would else be off by powers of ten.
pub(super) fn resolve(from: &Type, to: &Type) -> Option<(Scalar, Scalar)> {
    let (wire, form) = (scalar(from), scalar(to));
    match (from.kind(), to.kind()) {
        (Kind::Fixed(written), Kind::Fixed(wanted)) => {
            (written.size() == wanted.size()).then(|| (wire, meaning(wire, form)))
        }
        (Kind::Int, Kind::Long | Kind::Float | Kind::Double)
        | (Kind::Long, Kind::Float | Kind::Double)
        | (Kind::Float, Kind::Double)
        | (Kind::String, Kind::Bytes)
        | (Kind::Bytes, Kind::String) => Some((wire, form)),
        (Kind::Null, Kind::Null)
        | (Kind::Boolean, Kind::Boolean)
        | (Kind::Int, Kind::Int)
        | (Kind::Long, Kind::Long)
        | (Kind::Float, Kind::Float)
        | (Kind::Double, Kind::Double)
        | (Kind::Bytes, Kind::Bytes)
        | (Kind::String, Kind::String) => Some((wire, meaning(wire, form))),
        _ => None,
    }
}

fn meaning(wire: Scalar, form: Scalar) -> Scalar {
    match (wire, form) {
        (Scalar::Decimal(_), Scalar::Decimal(_)) => wire,
        (Scalar::Timestamp { local: written, .. }, Scalar::Timestamp { local: wanted, .. })
            if written == wanted =>
        {
            wire
        }
        _ => form,
    }
}
