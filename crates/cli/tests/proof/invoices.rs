//! The real orders, read once more and apart from the demo's own code.

use std::collections::BTreeMap;

use evenkeel_event::clock::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};

const CSV: &str = include_str!("../../../../data/online-retail-orders.csv");

/// One invoice.
#[derive(Debug, Clone)]
pub(crate) struct Invoice {
    pub(crate) number: String,
    /// Empty where the shop did not know.
    pub(crate) customer: String,
    pub(crate) country: String,
    pub(crate) total: Decimal,
    invoiced_at: String,
    lines: Vec<Value>,
}

#[derive(Deserialize)]
struct Row {
    invoice_no: String,
    stock_code: String,
    description: String,
    quantity: i32,
    invoice_date: String,
    #[serde(with = "rust_decimal::serde::str")]
    unit_price: Decimal,
    customer_id: String,
    country: String,
}

impl Invoice {
    /// The customer, or the invoice where there is none.
    pub(crate) fn key(&self) -> &str {
        if self.customer.is_empty() {
            &self.number
        } else {
            &self.customer
        }
    }

    /// The line that gives it to `evenkeel publish`.
    pub(crate) fn ndjson(&self) -> String {
        let mut value = json!({
            "invoice_no": self.number,
            "country": self.country,
            "invoiced_at": self.invoiced_at,
            "lines": self.lines,
        });
        if !self.customer.is_empty() {
            value["customer_id"] = self.customer.clone().into();
        }
        let event_type = if self.number.starts_with('C') {
            "order-cancelled"
        } else {
            "order-placed"
        };
        let line = json!({
            "id": self.number,
            "key": self.key(),
            "type": event_type,
            "time": self.invoiced_at,
            "value": value,
        });
        format!("{line}\n")
    }
}

/// All invoices in the order of the file.
pub(crate) fn invoices() -> Vec<Invoice> {
    let mut invoices: Vec<Invoice> = Vec::new();
    for row in csv::Reader::from_reader(CSV.as_bytes()).into_deserialize::<Row>() {
        let row = row.unwrap();
        if invoices.last().is_none_or(|last| last.number != row.invoice_no) {
            let invoiced_at = Timestamp::parse_rfc3339(&row.invoice_date).unwrap();
            invoices.push(Invoice {
                number: row.invoice_no,
                customer: row.customer_id,
                country: row.country,
                total: Decimal::ZERO,
                invoiced_at: invoiced_at.to_rfc3339(),
                lines: Vec::new(),
            });
        }
        let invoice = invoices.last_mut().unwrap();
        invoice.total += row.unit_price * Decimal::from(row.quantity);
        let description = (!row.description.is_empty()).then_some(row.description);
        invoice.lines.push(json!({
            "stock_code": row.stock_code,
            "description": description,
            "quantity": row.quantity,
            "unit_price": row.unit_price.to_string(),
        }));
    }
    invoices
}

/// What the demo must report for its first `count` events: how many have no customer, and revenue per country.
pub(crate) fn expected(count: usize) -> (usize, BTreeMap<String, String>) {
    let invoices = invoices();
    let mut without_customer = 0;
    let mut totals: BTreeMap<String, Decimal> = BTreeMap::new();
    for invoice in invoices.iter().cycle().take(count) {
        without_customer += usize::from(invoice.customer.is_empty());
        *totals.entry(invoice.country.clone()).or_default() += invoice.total;
    }
    let totals = totals
        .into_iter()
        .map(|(country, total)| (country, format!("{total:.2}")))
        .collect();
    (without_customer, totals)
}
