//! Made-up values of a schema, to try a Rust type on before the first event.

use super::model::TypeId;
use super::program::{Program, Scalar, Step};
use super::scalar::put_bytes;
use super::varint;

/// Most samples of a schema. Each takes the next branch of every union and the next symbol of every enum.
pub(super) const SAMPLES_MAX: usize = 32;

/// Beyond this depth arrays and maps are empty and unions null where they can be, so that recursive types end.
const DEPTH_FULL: usize = 6;
const DEPTH_MAX: usize = 48;

/// How many samples show each branch and each symbol once.
pub(super) fn count(program: &Program) -> usize {
    let widths = program.steps.iter().map(|step| match step {
        Step::Union(union) => union.branches.len(),
        Step::Enum(symbols) => symbols.symbols.len(),
        _ => 1,
    });
    widths.max().unwrap_or(1).clamp(1, SAMPLES_MAX)
}

/// The encoded sample of this number; none when the schema has no finite value.
pub(super) fn sample(program: &Program, number: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    put(program, program.root, number, &mut out, 0)?;
    Some(out)
}

fn put(program: &Program, ty: TypeId, number: usize, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    match program.step(ty) {
        Step::Scalar(scalar) => put_scalar(*scalar, out),
        Step::Enum(symbols) => varint::put(out, nth(number, symbols.symbols.len())?),
        Step::Array(items) => {
            if depth < DEPTH_FULL {
                out.push(2);
                put(program, *items, number, out, depth + 1)?;
            }
            out.push(0);
        }
        Step::Map(values) => {
            if depth < DEPTH_FULL {
                out.push(2);
                put_bytes(out, b"a");
                put(program, *values, number, out, depth + 1)?;
            }
            out.push(0);
        }
        Step::Union(union) => {
            let is_null = |id: &TypeId| matches!(program.step(*id), Step::Scalar(Scalar::Null));
            let null = union
                .branches
                .iter()
                .position(is_null)
                .filter(|_| depth >= DEPTH_FULL);
            // The last branch comes first: it is seldom null, and the first sample should say the most.
            let last = union.branches.len().checked_sub(1)?;
            let branch = null.unwrap_or(last - number % union.branches.len());
            varint::put(out, i64::try_from(branch).ok()?);
            put(program, *union.branches.get(branch)?, number, out, depth + 1)?;
        }
        Step::Record(fields) => {
            for field in &fields.fields {
                put(program, field.ty, number, out, depth + 1)?;
            }
        }
    }
    Some(())
}

fn nth(number: usize, count: usize) -> Option<i64> {
    i64::try_from(number.checked_rem(count)?).ok()
}

fn put_scalar(scalar: Scalar, out: &mut Vec<u8>) {
    match scalar {
        Scalar::Null => {}
        Scalar::Boolean => out.push(1),
        Scalar::Float => out.extend_from_slice(&1.0_f32.to_le_bytes()),
        Scalar::Double => out.extend_from_slice(&1.0_f64.to_le_bytes()),
        Scalar::Bytes | Scalar::Text => put_bytes(out, b"a"),
        Scalar::Uuid => put_bytes(out, b"00000000-0000-7000-8000-000000000000"),
        Scalar::Decimal(decimal) => match decimal.size {
            Some(size) => out.resize(out.len() + size, 0),
            None => put_bytes(out, &[0]),
        },
        Scalar::Fixed(size) => out.resize(out.len() + size, 0),
        Scalar::UuidFixed => out.resize(out.len() + 16, 0),
        Scalar::Duration => out.resize(out.len() + 12, 0),
        _ => varint::put(out, 1),
    }
}
