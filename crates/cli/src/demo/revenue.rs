//! The consumer of the demo: revenue per country, built while events arrive.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use evenkeel::consume::Options;
use evenkeel::{Consumer, EventId, Failure, Publisher, Received, TopicName};
use evenkeel_schema::avro::Schema;
use rust_decimal::Decimal;

use super::orders::Invoice;

/// Revenue per country so far. Cheap to clone; all clones are one.
///
/// An event may be delivered again after an outage or a restart, because a crash redelivers rather than skips. The
/// application therefore remembers what it has added up, beside its sums, as a real one would in its database.
#[derive(Debug, Clone, Default)]
pub(super) struct Revenue {
    books: Arc<Mutex<Books>>,
}

#[derive(Debug, Default)]
struct Books {
    totals: BTreeMap<String, Decimal>,
    added: HashSet<EventId>,
    redelivered: usize,
}

impl Revenue {
    /// Consumes `topic` as a member of `group`, reading with the schemas `readers`.
    pub(super) fn consume(
        &self,
        publisher: &Publisher,
        group: &str,
        topic: &TopicName,
        readers: &[&str],
    ) -> Result<Consumer> {
        let readers = readers
            .iter()
            .map(|text| {
                Schema::parse(text)
                    .map(Arc::new)
                    .map_err(|error| anyhow!("a reader's schema: {error}"))
            })
            .collect::<Result<Vec<_>>>()?;
        let options = Options {
            readers,
            ..Options::default()
        };
        let revenue = self.clone();
        let handler = move |event: Received| {
            let revenue = revenue.clone();
            async move { revenue.add(&event) }
        };
        Consumer::start(publisher, group, vec![topic.clone()], options, handler)
            .context("the consumer did not start")
    }

    fn add(&self, event: &Received) -> Result<(), Failure> {
        let invoice: Invoice = event.read()?;
        let mut books = self.lock();
        if event
            .id
            .as_ref()
            .is_some_and(|id| !books.added.insert(id.clone()))
        {
            books.redelivered += 1;
            return Ok(());
        }
        *books.totals.entry(invoice.country.clone()).or_default() += invoice.total();
        Ok(())
    }

    /// Revenue per country so far.
    pub(super) fn totals(&self) -> BTreeMap<String, Decimal> {
        self.lock().totals.clone()
    }

    /// Deliveries of events that had been added up before.
    pub(super) fn redelivered(&self) -> usize {
        self.lock().redelivered
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
