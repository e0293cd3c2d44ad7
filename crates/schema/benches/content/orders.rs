//! What is measured: one order of 190 bytes, and the invoices of the order lines in `data/`.

use std::path::Path;
use std::sync::Arc;

use evenkeel_schema::avro::Schema;
use evenkeel_schema::{Contract, SchemaId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

pub(crate) const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"id","type":"string"},
    {"name":"customer","type":["null","string"],"default":null},
    {"name":"email","type":"string"},
    {"name":"placed","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"currency","type":{"type":"enum","name":"Currency","symbols":["GBP","EUR","USD"]}},
    {"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
    {"name":"items","type":"int"},
    {"name":"gift","type":"boolean"},
    {"name":"weight","type":"double"},
    {"name":"street","type":"string"},
    {"name":"city","type":"string"},
    {"name":"note","type":["null","string"],"default":null}]}"#;

pub(crate) const INVOICE: &str = r#"{"type":"record","name":"Invoice","namespace":"shop","fields":[
    {"name":"invoice_no","type":"string"},
    {"name":"customer_id","type":["null","string"],"default":null},
    {"name":"country","type":"string"},
    {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
        {"name":"stock_code","type":"string"},
        {"name":"description","type":"string"},
        {"name":"quantity","type":"int"},
        {"name":"unit_price","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":3}}]}}}]}"#;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    id: String,
    customer: Option<String>,
    email: String,
    placed: i64,
    currency: Currency,
    total: Decimal,
    items: i32,
    gift: bool,
    weight: f64,
    street: String,
    city: String,
    note: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Currency {
    #[serde(rename = "GBP")]
    Pound,
    #[serde(rename = "EUR")]
    Euro,
    #[serde(rename = "USD")]
    Dollar,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Invoice {
    invoice_no: String,
    customer_id: Option<String>,
    country: String,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    stock_code: String,
    description: String,
    quantity: i32,
    unit_price: Decimal,
}

pub(crate) fn contract(schema: &str) -> Contract {
    Contract::new(SchemaId(1), Arc::new(Schema::parse(schema).unwrap()))
}

pub(crate) fn order() -> Order {
    Order {
        id: "0198f0a0-7c3e-7000-8000-000000000001".to_owned(),
        customer: Some("customer-17850".to_owned()),
        email: "firstname.lastname@mail.example.com".to_owned(),
        placed: 1_291_191_960_000,
        currency: Currency::Pound,
        total: Decimal::new(13_912, 2),
        items: 40,
        gift: false,
        weight: 12.75,
        street: "221B Baker Street, Marylebone".to_owned(),
        city: "London NW1 6XE".to_owned(),
        note: Some("leave with the neighbours, at 219B".to_owned()),
    }
}

/// One invoice per invoice number of the real order lines, in their order.
pub(crate) fn invoices() -> Vec<Invoice> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/online-retail-orders.csv");
    let mut invoices: Vec<Invoice> = Vec::new();
    for row in csv::Reader::from_path(path).unwrap().records() {
        let row = row.unwrap();
        let line = Line {
            stock_code: row[1].to_owned(),
            description: row[2].to_owned(),
            quantity: row[3].parse().unwrap(),
            unit_price: row[5].parse().unwrap(),
        };
        match invoices.iter_mut().find(|invoice| invoice.invoice_no == row[0]) {
            Some(invoice) => invoice.lines.push(line),
            None => invoices.push(Invoice {
                invoice_no: row[0].to_owned(),
                customer_id: Some(row[6].to_owned()).filter(|id| !id.is_empty()),
                country: row[7].to_owned(),
                lines: vec![line],
            }),
        }
    }
    invoices
}
