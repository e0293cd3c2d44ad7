//! The real orders that the demo plays: read from the data file, repeated to any number of events.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use evenkeel_event::clock::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// 10,000 order lines of a UK online shop (see `data/README.md`), part of the binary so that the demo needs no file.
const CSV: &str = include_str!("../../../../data/online-retail-orders.csv");

/// One invoice: an event of the demo. Also the shape that publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Invoice {
    /// The shop's number; with a leading `C` it is a cancellation.
    pub(crate) invoice_no: String,
    /// Absent for 68 of the 512 invoices.
    pub(crate) customer_id: Option<String>,
    pub(crate) country: String,
    /// Time of its first line, RFC 3339.
    pub(crate) invoiced_at: String,
    pub(crate) lines: Vec<Line>,
}

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) stock_code: String,
    pub(crate) description: Option<String>,
    pub(crate) quantity: i32,
    /// Price of one piece in pounds, two decimals at most.
    #[serde(with = "rust_decimal::serde::str")]
    pub(crate) unit_price: Decimal,
}

impl Invoice {
    pub(crate) fn is_cancellation(&self) -> bool {
        self.invoice_no.starts_with('C')
    }

    /// Customer, or the invoice where there is none.
    pub(crate) fn key(&self) -> &str {
        self.customer_id.as_deref().unwrap_or(&self.invoice_no)
    }

    /// Quantity times unit price over all lines; cancellations are negative by their quantities.
    pub(crate) fn total(&self) -> Decimal {
        self.lines
            .iter()
            .map(|line| line.unit_price * Decimal::from(line.quantity))
            .sum()
    }

    /// The same invoice in a later pass over the file: other number, other customer.
    fn in_pass(&self, pass: usize) -> Self {
        let mut invoice = self.clone();
        if pass > 0 {
            invoice.invoice_no = format!("{}-{pass}", self.invoice_no);
            invoice.customer_id = self
                .customer_id
                .as_ref()
                .map(|customer| format!("{customer}-{pass}"));
        }
        invoice
    }
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

/// Invoices of the file in its order.
#[derive(Debug)]
pub(crate) struct Orders {
    invoices: Vec<Invoice>,
}

impl Orders {
    /// Reads the file.
    pub(crate) fn read() -> Result<Self> {
        let mut invoices: Vec<Invoice> = Vec::new();
        for (number, row) in csv::Reader::from_reader(CSV.as_bytes())
            .into_deserialize::<Row>()
            .enumerate()
        {
            let row = row.with_context(|| format!("line {} of the order data cannot be read", number + 2))?;
            let line = Line {
                stock_code: row.stock_code,
                description: filled(row.description),
                quantity: row.quantity,
                unit_price: row.unit_price,
            };
            match invoices
                .last_mut()
                .filter(|invoice| invoice.invoice_no == row.invoice_no)
            {
                Some(invoice) => invoice.lines.push(line),
                None => invoices.push(Invoice {
                    customer_id: filled(row.customer_id),
                    country: row.country,
                    invoiced_at: time(&row.invoice_date)?,
                    invoice_no: row.invoice_no,
                    lines: vec![line],
                }),
            }
        }
        Ok(Self { invoices })
    }

    /// Invoices in the file.
    pub(crate) fn len(&self) -> usize {
        self.invoices.len()
    }

    /// The first `count` events: the file again and again, numbers and customers suffixed by pass.
    pub(crate) fn events(&self, count: usize) -> impl Iterator<Item = Invoice> + '_ {
        (0..)
            .flat_map(|pass| self.invoices.iter().map(move |invoice| invoice.in_pass(pass)))
            .take(count)
    }

    /// What must be on the topic in the end when `count` events were published.
    pub(crate) fn expected(&self, count: usize) -> Expected {
        let mut expected = Expected::default();
        for invoice in self.events(count) {
            expected.events += 1;
            expected.without_customer += usize::from(invoice.customer_id.is_none());
            *expected.totals.entry(invoice.country.clone()).or_default() += invoice.total();
        }
        expected
    }
}

/// Figures computed straight from the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) events: usize,
    pub(crate) without_customer: usize,
    /// Revenue per country.
    pub(crate) totals: BTreeMap<String, Decimal>,
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn time(text: &str) -> Result<String> {
    match Timestamp::parse_rfc3339(text) {
        Some(time) => Ok(time.to_rfc3339()),
        None => bail!("\"{text}\" in the order data is no time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_its_readme_says() {
        let orders = Orders::read().unwrap();
        let expected = orders.expected(orders.len());
        assert_eq!((expected.events, expected.without_customer), (512, 68));
        assert_eq!(
            orders
                .events(512)
                .map(|invoice| invoice.lines.len())
                .sum::<usize>(),
            10_000
        );
        assert_eq!(orders.events(512).filter(Invoice::is_cancellation).count(), 43);
    }

    #[test]
    fn passes_differ_in_numbers_and_customers_only() {
        let orders = Orders::read().unwrap();
        let second = orders.events(513).last().unwrap();
        assert_eq!(second.invoice_no, "536365-1");
        assert_eq!(second.key(), "17850-1");
        let (once, twice) = (orders.expected(512), orders.expected(1024));
        assert!(
            once.totals
                .iter()
                .all(|(country, total)| twice.totals[country] == *total + *total)
        );
    }
}
