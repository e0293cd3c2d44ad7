//! Rust types in and out, and the check of a type at start.

use std::collections::BTreeMap;

use evenkeel_schema::ViolationKind;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::values::{ORDER, contract};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    lines: Vec<Line>,
    customer: Option<String>,
    id: String,
    placed: i64,
    channel: Channel,
    notes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    stock_code: String,
    quantity: i32,
    unit_price: Decimal,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Channel {
    Web,
    Shop,
}

fn order() -> Order {
    Order {
        lines: vec![
            Line {
                stock_code: "85123A".to_owned(),
                quantity: 6,
                unit_price: Decimal::new(255, 2)
            };
            100
        ],
        customer: Some("17850".to_owned()),
        id: "0198f0a0-7c3e-7000-8000-000000000001".to_owned(),
        placed: 1_291_191_960_000,
        channel: Channel::Shop,
        notes: BTreeMap::from([("gift".to_owned(), "yes".to_owned())]),
    }
}

#[test]
fn a_struct_comes_back_and_encodes_as_its_json_does() {
    let contract = contract(ORDER);
    let valid = contract.encode(&order()).unwrap();
    let json = serde_json::to_vec(&order()).unwrap();
    assert_eq!(valid, contract.encode_json(&json).unwrap());
    let mut back: Order = contract.own_reader().read(valid.get().content()).unwrap();
    back.lines
        .iter_mut()
        .for_each(|line| line.unit_price = line.unit_price.normalize());
    assert_eq!(back, order());
    let date = serde_json::Value::from("2010-12-01T08:26:00Z");
    let tree: serde_json::Value = contract.own_reader().read(valid.get().content()).unwrap();
    assert_eq!(tree.get("placed"), Some(&date));
}

#[test]
fn struct_violations_name_their_place() {
    let contract = contract(ORDER);
    let mut wrong = order();
    wrong.lines[3].unit_price = Decimal::new(1, 4);
    let violation = contract.encode(&wrong).unwrap_err();
    assert_eq!(
        violation.to_string(),
        r#"lines[3].unit_price: string "0.0001" has more than 3 digits after the point"#
    );
    assert_eq!(
        contract.encode(&5).unwrap_err().to_string(),
        "expected record shop.OrderPlaced, found number 5"
    );
    let floats = BTreeMap::from([("unit_price", 2.55)]);
    let line = crate::values::contract(
        r#"{"type":"record","name":"L","fields":[{"name":"unit_price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}"#,
    );
    assert_eq!(
        line.encode(&floats).unwrap_err().to_string(),
        "unit_price: expected decimal, found number 2.55: a float is not exact, give a decimal or a string"
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Payment {
    Card { number: String },
    Cash(Cash),
    Int(i32),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cash {}

#[test]
fn enums_are_union_branches() {
    let payments = contract(
        r#"{"type":"array","items":["null",{"type":"record","name":"n.Card","fields":[{"name":"number","type":"string"}]},
            {"type":"record","name":"n.Cash","fields":[]},"int"]}"#,
    );
    let given = vec![
        Some(Payment::Cash(Cash {})),
        None,
        Some(Payment::Card {
            number: "1".to_owned(),
        }),
        Some(Payment::Int(4)),
    ];
    let valid = payments.encode(&given).unwrap();
    assert_eq!(
        payments.own_reader().to_json(valid.get().content()).as_deref(),
        Ok(r#"[{"n.Cash":{}},null,{"n.Card":{"number":"1"}},4]"#)
    );
    assert_eq!(
        payments
            .own_reader()
            .read::<Vec<Option<Payment>>>(valid.get().content()),
        Ok(given)
    );
}

#[test]
fn a_type_is_checked_against_the_schema_once() {
    let contract = contract(ORDER);
    contract.check_type::<Order>().unwrap();

    #[derive(Debug, Serialize, Deserialize)]
    struct NoLines {
        id: String,
        placed: i64,
    }
    let violation = contract.check_type::<NoLines>().unwrap_err();
    assert_eq!(
        (violation.kind(), violation.to_string()),
        (
            ViolationKind::Missing,
            r#"field "lines" is missing and has no default"#.to_owned()
        )
    );

    #[derive(Debug, Serialize, Deserialize)]
    struct TextQuantity {
        stock_code: String,
        quantity: String,
        unit_price: Decimal,
    }
    let line = crate::values::contract(
        r#"{"type":"record","name":"Line","fields":[{"name":"stock_code","type":"string"},{"name":"quantity","type":"int"},
            {"name":"unit_price","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":3}}]}"#,
    );
    line.check_type::<Line>().unwrap();
    let violation = line.check_type::<TextQuantity>().unwrap_err().to_string();
    assert!(violation.starts_with("quantity: "), "{violation}");

    #[derive(Debug, Serialize, Deserialize)]
    struct Extra {
        #[serde(flatten)]
        line: BTreeMap<String, serde_json::Value>,
        #[serde(default)]
        colour: String,
    }
    assert_eq!(
        line.check_type::<Extra>().map_err(|v| v.kind()),
        Err(ViolationKind::Unknown)
    );
}
