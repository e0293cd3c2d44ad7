//! Random schemas with random values: out and back, and broken in any way.

use std::sync::Arc;

use evenkeel_schema::avro::{Kind, Logical, Schema, TypeId};
use evenkeel_schema::{Contract, SchemaId, ViolationKind};
use proptest::collection::vec;
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use crate::schema_pairs::{Dice, pair};
use crate::values::{ORDER, contract};

/// A value in the plain JSON form; none where the schema nests too deep for one.
fn value(schema: &Schema, id: TypeId, dice: &mut Dice, depth: usize) -> Option<Value> {
    let ty = schema.get(id);
    if depth > 12 {
        return None;
    }
    let inner = |id: TypeId, dice: &mut Dice| value(schema, id, dice, depth + 1);
    Some(match ty.kind() {
        Kind::Null => Value::Null,
        Kind::Boolean => json!(dice.chance(50)),
        Kind::Int => integer(ty.logical(), dice),
        Kind::Long => integer(ty.logical(), dice),
        Kind::Float => json!(f32::from_bits(u32::try_from(dice.below(0x7f00_0000)).unwrap())),
        Kind::Double if dice.chance(10) => json!("NaN"),
        Kind::Double => json!(f64::from(u32::try_from(dice.below(1 << 31)).unwrap()) / 7.0),
        Kind::String if ty.logical() == Some(&Logical::Uuid) => json!("0198f0a0-7c3e-7000-8000-000000000001"),
        Kind::String => json!(text(dice)),
        Kind::Bytes | Kind::Fixed(_) => bytes(ty.kind(), ty.logical(), dice),
        Kind::Enum(symbols) if symbols.symbols().is_empty() => return None,
        Kind::Enum(symbols) => json!(dice.pick(symbols.symbols())),
        Kind::Array(items) => {
            let count = if depth > 6 { 0 } else { dice.below(3) };
            Value::Array((0..count).map(|_| inner(*items, dice)).collect::<Option<_>>()?)
        }
        Kind::Map(values) => {
            let count = if depth > 6 { 0 } else { dice.below(3) };
            let entries = (0..count).map(|n| Some((format!("{}{n}", text(dice)), inner(*values, dice)?)));
            Value::Object(entries.collect::<Option<_>>()?)
        }
        Kind::Union(branches) => {
            // The first null is the way out of recursive types.
            let null = branches
                .iter()
                .find(|branch| matches!(schema.get(**branch).kind(), Kind::Null));
            let branch = match null {
                Some(null) if depth > 6 => *null,
                _ if branches.is_empty() => return None,
                _ => *dice.pick(branches),
            };
            let tag = schema.get(branch).fullname().to_owned();
            json!({ tag: inner(branch, dice)? })
        }
        Kind::Record(record) => {
            let mut members = Map::new();
            for field in record.fields() {
                if field.default().is_none() || dice.chance(70) {
                    members.insert(field.name().to_owned(), inner(field.ty(), dice)?);
                }
            }
            let mut members: Vec<(String, Value)> = members.into_iter().collect();
            if dice.chance(50) {
                members.reverse();
            }
            Value::Object(members.into_iter().collect())
        }
    })
}

fn integer(logical: Option<&Logical>, dice: &mut Dice) -> Value {
    match logical {
        Some(Logical::TimeMillis | Logical::TimeMicros) => json!(dice.below(86_400_000)),
        _ => json!(i64::try_from(dice.below(1 << 32)).unwrap() - (1 << 31)),
    }
}

fn text(dice: &mut Dice) -> String {
    (0..dice.below(5))
        .map(|_| *dice.pick(&['a', 'é', '\n', '"', '\\', '😀', '\u{1}']))
        .collect()
}

fn bytes(kind: &Kind, logical: Option<&Logical>, dice: &mut Dice) -> Value {
    match (logical, kind) {
        (Some(Logical::Decimal { precision, scale }), _) => {
            let digits: String = (0..(precision - scale).min(9))
                .map(|_| *dice.pick(&['1', '0', '9']))
                .collect();
            json!(format!("{}0{digits}", if dice.chance(50) { "-" } else { "" }))
        }
        (Some(Logical::Duration), _) => json!("P1M2DT3.004S"),
        (Some(Logical::Uuid), _) => json!("0198f0a0-7c3e-7000-8000-000000000001"),
        (_, Kind::Fixed(fixed)) => json!("\u{ff}".repeat(fixed.size())),
        _ => json!("\u{ff}\u{0}".repeat(dice.below(3))),
    }
}

/// Schemas that have values, with one value encoded.
pub(crate) fn cases() -> impl Iterator<Item = (u64, Dice, Contract, Vec<u8>)> {
    (0..3_000_u64).filter_map(|seed| {
        let (text, _) = pair(seed);
        let schema = Schema::parse(&text.to_string()).ok()?;
        let mut dice = Dice::new(seed ^ 0x5eed);
        let json = value(&schema, schema.root_id(), &mut dice, 0)?.to_string();
        let contract = Contract::new(SchemaId(1), Arc::new(schema));
        let valid = match contract.encode_json(json.as_bytes()) {
            Ok(valid) => valid,
            // Java lets a schema have a default that is no value of its type's logical type.
            Err(violation) if violation.message().contains("default cannot be used") => return None,
            Err(violation) => panic!(
                "seed {seed}
{text}
{json}
{violation}"
            ),
        };
        let content = valid.get().content().to_vec();
        Some((seed, dice, contract, content))
    })
}

#[test]
fn random_values_come_back() {
    let mut count = 0;
    for (seed, _, contract, content) in cases() {
        let context = || format!("seed {seed}\n{}", contract.schema().to_json());
        contract
            .check_content(&content)
            .unwrap_or_else(|error| panic!("{}\n{error}", context()));
        let json = contract
            .own_reader()
            .to_json(&content)
            .unwrap_or_else(|error| panic!("{}\n{error}", context()));
        serde_json::from_str::<Value>(&json).unwrap_or_else(|error| panic!("{}\n{json}\n{error}", context()));
        let again = contract
            .encode_json(json.as_bytes())
            .unwrap_or_else(|error| panic!("{}\n{json}\n{error}", context()));
        assert_eq!(again.get().content(), content, "{}\n{json}", context());
        let tree: Value = contract
            .own_reader()
            .read(&content)
            .unwrap_or_else(|error| panic!("{}\n{error}", context()));
        let plain = |kind: &Kind| !matches!(kind, Kind::Union(_) | Kind::Float | Kind::Double);
        if contract.schema().types().all(|(_, ty)| plain(ty.kind())) {
            assert_eq!(
                tree,
                serde_json::from_str::<Value>(&json).unwrap(),
                "{}
{json}",
                context()
            );
        }
        count += 1;
    }
    assert!(count > 1_500, "only {count} of the schemas have values");
}

#[test]
fn broken_bytes_are_judged_alike_by_check_and_decode() {
    let (mut good, mut bad) = (0, 0);
    for (seed, mut dice, contract, content) in cases() {
        for _ in 0..20 {
            let broken = broken(&content, &mut dice);
            let checked = contract.check_content(&broken);
            let decoded = contract.own_reader().to_json(&broken);
            let skipped = contract.own_reader().read::<serde::de::IgnoredAny>(&broken);
            let context = || format!("seed {seed} {broken:?}\n{}", contract.schema().to_json());
            assert_eq!(checked.as_ref().err(), decoded.as_ref().err(), "{}", context());
            assert_eq!(checked.as_ref().err(), skipped.as_ref().err(), "{}", context());
            if checked.is_ok() { good += 1 } else { bad += 1 }
        }
    }
    assert!(good > 1_000 && bad > 10_000, "{good} good, {bad} bad");
}

fn broken(content: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = content.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        let byte = u8::try_from(dice.below(256)).unwrap();
        match dice.below(4) {
            0 if !bytes.is_empty() => bytes[at] = byte,
            1 if !bytes.is_empty() => drop(bytes.remove(at)),
            2 => bytes.insert(at, byte),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

proptest! {
    #[test]
    fn any_text_and_any_bytes_are_judged(text in ".{0,60}", bytes in vec(any::<u8>(), 0..60), which in 0..SCHEMAS.len()) {
        let contract = contract(SCHEMAS[which]);
        if let Ok(valid) = contract.encode_json(text.as_bytes()) {
            prop_assert!(contract.check_content(valid.get().content()).is_ok());
        }
        let json = contract.own_reader().to_json(&bytes);
        prop_assert_eq!(contract.check_content(&bytes).err(), json.as_ref().err().cloned());
        if let Ok(json) = json {
            // A float may be written as a NaN with a payload, a map may hold a key twice: JSON has neither.
            let again = contract.encode_json(json.as_bytes());
            prop_assert!(again.is_ok() || matches!(&again, Err(v) if v.kind() == ViolationKind::Repeated), "{:?}", again);
        }
    }

    #[test]
    fn decimals_come_back_as_rust_decimal_reads_them(unscaled in any::<i64>(), scale in 0_u32..12) {
        let contract = contract(r#"{"type":"bytes","logicalType":"decimal","precision":40,"scale":12}"#);
        let given = Decimal::new(unscaled, scale);
        let valid = contract.encode(&given).unwrap();
        let from_json = contract.encode_json(given.to_string().as_bytes());
        prop_assert_eq!(from_json.as_ref(), Ok(&valid));
        let json = contract.own_reader().to_json(valid.get().content()).unwrap();
        prop_assert_eq!(json.trim_matches('"').parse::<Decimal>().unwrap(), given);
    }
}

/// One of every kind of type.
const SCHEMAS: [&str; 6] = [
    ORDER,
    r#"{"type":"record","name":"L","fields":[{"name":"v","type":"long"},{"name":"next","type":["null","L"]}]}"#,
    r#"{"type":"map","values":["null","double",{"type":"array","items":"null"}]}"#,
    r#"["int","string",{"type":"bytes","logicalType":"decimal","precision":50,"scale":3}]"#,
    r#"{"type":"array","items":{"type":"int","logicalType":"time-millis"}}"#,
    r#"{"type":"fixed","name":"F","size":12,"logicalType":"duration"}"#,
];
