//! A field's default, from Avro's JSON form to bytes (specification, "Complex Types", the table of default values).

use serde_json::Value;

use super::model::{Kind, Schema, TypeId};
use super::parse::NESTING_MAX;
use super::program::{Scalar, scalar};
use super::scalar::{in_range, uuid};
use super::{check, varint};

/// Most bytes of an encoded default; defaults within defaults could grow it beyond any text.
const BYTES_MAX: usize = 1 << 20;

/// Encodes a default that [`check::fits`]. A union takes the first branch that it fits.
pub(super) fn encode(schema: &Schema, ty: TypeId, value: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    put(schema, ty, value, &mut out, 0)?;
    Ok(out)
}

fn put(schema: &Schema, ty: TypeId, value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    if depth > NESTING_MAX || out.len() > BYTES_MAX {
        return Err("it is too large".to_owned());
    }
    put_within(schema, ty, value, out, depth)
}

fn put_within(
    schema: &Schema,
    ty: TypeId,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), String> {
    let unfit = || format!("{value} is not a valid {}", schema.get(ty).fullname());
    match (schema.get(ty).kind(), value) {
        (Kind::Null, Value::Null) => {}
        (Kind::Boolean, Value::Bool(value)) => out.push(u8::from(*value)),
        (Kind::Int | Kind::Long, Value::Number(number)) => {
            let value = number
                .as_str()
                .parse()
                .ok()
                .filter(|value| in_range(scalar(schema.get(ty)), *value));
            varint::put(out, value.ok_or_else(unfit)?);
        }
        (Kind::Float, value) => {
            out.extend_from_slice(&(float(value).ok_or_else(unfit)? as f32).to_le_bytes());
        }
        (Kind::Double, value) => out.extend_from_slice(&float(value).ok_or_else(unfit)?.to_le_bytes()),
        (Kind::String, Value::String(text)) => {
            let unfit_uuid = scalar(schema.get(ty)) == Scalar::Uuid && uuid(text).is_none();
            put_bytes(
                out,
                Some(text.as_bytes()).filter(|_| !unfit_uuid).ok_or_else(unfit)?,
            );
        }
        (Kind::Bytes, Value::String(text)) => {
            let bytes = code_points(text).filter(|bytes| holds(scalar(schema.get(ty)), bytes));
            put_bytes(out, &bytes.ok_or_else(unfit)?);
        }
        (Kind::Fixed(fixed), Value::String(text)) => {
            let fits = |bytes: &Vec<u8>| bytes.len() == fixed.size() && holds(scalar(schema.get(ty)), bytes);
            out.extend_from_slice(&code_points(text).filter(fits).ok_or_else(unfit)?);
        }
        (Kind::Enum(symbols), Value::String(text)) => {
            let index = symbols
                .symbols()
                .iter()
                .position(|symbol| symbol == text)
                .ok_or_else(unfit)?;
            varint::put(out, i64::try_from(index).map_err(|_| unfit())?);
        }
        (Kind::Array(items), Value::Array(values)) => {
            put_block(out, values, |value, out| {
                put(schema, *items, value, out, depth + 1)
            })?;
        }
        (Kind::Map(inner), Value::Object(entries)) => {
            put_block(out, entries, |(key, value), out| {
                put_bytes(out, key.as_bytes());
                put(schema, *inner, value, out, depth + 1)
            })?;
        }
        (Kind::Union(branches), value) => {
            let branch = branches
                .iter()
                .position(|branch| check::fits(schema, *branch, value))
                .ok_or_else(unfit)?;
            varint::put(out, i64::try_from(branch).map_err(|_| unfit())?);
            let branch = branches.get(branch).ok_or_else(unfit)?;
            put(schema, *branch, value, out, depth + 1)?;
        }
        (Kind::Record(record), Value::Object(entries)) => {
            for field in record.fields() {
                let value = entries.get(field.name()).or(field.default()).ok_or_else(unfit)?;
                put(schema, field.ty(), value, out, depth + 1)?;
            }
        }
        _ => return Err(unfit()),
    }
    Ok(())
}

/// Java takes any bytes as the default of a decimal; those with too many digits would not pass as content.
fn holds(ty: Scalar, bytes: &[u8]) -> bool {
    match ty {
        Scalar::Decimal(decimal) => decimal.holds(bytes),
        _ => true,
    }
}

fn float(value: &Value) -> Option<f64> {
    let Some(text) = value.as_str() else {
        return value.as_f64();
    };
    match text.trim() {
        "NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The bytes that Avro's JSON writes as code points 0 to 255.
pub(super) fn code_points(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(bytes);
}

fn put_block<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    mut each: impl FnMut(T, &mut Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    let items = items.into_iter();
    if items.len() > 0 {
        varint::put(out, i64::try_from(items.len()).unwrap_or(i64::MAX));
        for item in items {
            each(item, out)?;
        }
    }
    out.push(0);
    Ok(())
}
