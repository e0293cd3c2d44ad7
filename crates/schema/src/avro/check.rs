//! The checks on a schema that need every name to be known: nesting, unions, defaults.

use std::collections::HashSet;

use serde_json::Value;

use super::measure;
use super::model::{Kind, Schema, TypeId};
use super::parse::{NESTING_MAX, Place, WEIGHT_MAX};
use super::parse_error::ParseError;

/// Refuses a schema whose printed form nests too deep. Everything that walks a schema and stops at types it has
/// seen is bounded by this.
pub(super) fn nesting(schema: &Schema) -> Result<(), ParseError> {
    let mut seen = HashSet::new();
    descend(schema, schema.root_id(), 0, &mut seen)
}

/// Refuses a schema of records within records that multiply: a value of no bytes could take ages to go through.
pub(super) fn weight(schema: &Schema) -> Result<(), ParseError> {
    let measures = measure::measure(schema);
    match measures.get(schema.root_id().index()) {
        Some(root) if root.weight > WEIGHT_MAX => Err(ParseError::TooHeavy),
        _ => Ok(()),
    }
}

fn descend(schema: &Schema, id: TypeId, level: usize, seen: &mut HashSet<TypeId>) -> Result<(), ParseError> {
    if level > NESTING_MAX {
        return Err(ParseError::TooDeep);
    }
    if !seen.insert(id) {
        return Ok(());
    }
    match schema.get(id).kind() {
        Kind::Array(inner) | Kind::Map(inner) => descend(schema, *inner, level + 1, seen),
        Kind::Union(branches) => branches
            .iter()
            .try_for_each(|b| descend(schema, *b, level + 1, seen)),
        Kind::Record(record) => record
            .fields
            .iter()
            .try_for_each(|field| descend(schema, field.ty, level + 3, seen)),
        _ => Ok(()),
    }
}

/// A union holds no union, and no type twice: named types by their names, all else by kind.
pub(super) fn unions(schema: &Schema, places: &[Place<TypeId>]) -> Result<(), ParseError> {
    for Place { what, at } in places {
        let Kind::Union(branches) = schema.get(*what).kind() else {
            continue;
        };
        let refuse = |reason| {
            Err(ParseError::Invalid {
                at: at.clone(),
                reason,
            })
        };
        let mut seen = HashSet::new();
        for branch in branches.iter().map(|branch| schema.get(*branch)) {
            if matches!(branch.kind(), Kind::Union(_)) {
                return refuse(
                    "a union stands directly in a union; write its branches into the outer one".into(),
                );
            }
            if !seen.insert(branch.fullname()) {
                return refuse(format!(
                    "the union has {:?} twice; a value could not be told apart, keep one",
                    branch.fullname()
                ));
            }
        }
    }
    Ok(())
}

/// Every default fits its field's type. In a union it has to fit any branch (Avro 1.12; before, the first).
pub(super) fn defaults(schema: &Schema, places: &[Place<(TypeId, usize)>]) -> Result<(), ParseError> {
    for Place {
        what: (record, index),
        at,
    } in places
    {
        let Kind::Record(record) = schema.get(*record).kind() else {
            continue;
        };
        let Some(field) = record.fields.get(*index) else {
            continue;
        };
        let Some(default) = &field.default else { continue };
        if !fits(schema, field.ty, default) {
            let expected = schema.get(field.ty).fullname();
            let reason =
                format!("the default {default} is not a valid {expected}; change the default or the type");
            return Err(ParseError::Invalid {
                at: at.clone(),
                reason,
            });
        }
    }
    Ok(())
}

/// Whether a value in Avro's JSON form fits a type, as `Schema.isValidDefault` of the Java library decides it.
pub(super) fn fits(schema: &Schema, id: TypeId, value: &Value) -> bool {
    Fit { schema, steps: 0 }.fits(id, value, 0)
}

/// Most types looked at for one default. Recursive unions would otherwise take time exponential in their depth.
const STEPS_MAX: usize = 100_000;

struct Fit<'a> {
    schema: &'a Schema,
    steps: usize,
}

impl Fit<'_> {
    fn fits(&mut self, id: TypeId, value: &Value, depth: usize) -> bool {
        self.steps += 1;
        if depth > NESTING_MAX || self.steps > STEPS_MAX {
            return false;
        }
        let schema = self.schema;
        let mut deeper = |id: TypeId, value: &Value| self.fits(id, value, depth + 1);
        match (schema.get(id).kind(), value) {
            (Kind::Null, Value::Null) | (Kind::Boolean, Value::Bool(_)) => true,
            (Kind::Int, Value::Number(number)) => number.as_str().parse::<i32>().is_ok(),
            (Kind::Long, Value::Number(number)) => number.as_str().parse::<i64>().is_ok(),
            (Kind::Float | Kind::Double, Value::Number(_)) => true,
            (Kind::Float | Kind::Double, Value::String(text)) => {
                depth == 0 && matches!(text.trim(), "NaN" | "Infinity" | "+Infinity" | "-Infinity")
            }
            (Kind::String | Kind::Bytes | Kind::Enum(_) | Kind::Fixed(_), Value::String(_)) => true,
            (Kind::Array(items), Value::Array(values)) => values.iter().all(|value| deeper(*items, value)),
            (Kind::Map(inner), Value::Object(entries)) => entries.values().all(|value| deeper(*inner, value)),
            (Kind::Union(branches), value) => branches.iter().any(|branch| deeper(*branch, value)),
            (Kind::Record(record), Value::Object(entries)) => record.fields.iter().all(|field| {
                let value = entries.get(&field.name).or(field.default.as_ref());
                value.is_some_and(|value| deeper(field.ty, value))
            }),
            _ => false,
        }
    }
}
