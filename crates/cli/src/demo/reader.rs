//! Reads the topics as a stranger would: fetch and decode, no SDK, no group, no counters.

use std::collections::HashSet;

use anyhow::{Context as _, Result, anyhow};
use evenkeel_broker::Cluster;
use evenkeel_broker::batch::RecordView;
use evenkeel_event::{TopicName, headers};

use super::orders::Invoice;
use super::reconcile::Seen;
use crate::decode::Decoder;
use crate::registry::Registry;
use crate::topic_reader::read_all;

/// Every event on `topic`, partition after partition, in the order of each.
pub(super) async fn events(cluster: &Cluster, topic: &TopicName, registry: Registry) -> Result<Vec<Seen>> {
    let mut decoder = Decoder::new(registry.into());
    let mut found = Vec::new();
    read_all(cluster, topic, |record| {
        // Decoding waits for the registry when it meets a new schema.
        found.push(tokio::task::block_in_place(|| seen(&mut decoder, record))?);
        Ok(())
    })
    .await?;
    Ok(found)
}

fn seen(decoder: &mut Decoder, record: &RecordView<'_>) -> Result<Seen> {
    let decoded = decoder
        .decode(record)
        .with_context(|| format!("the record at offset {}", record.offset))?;
    let invoice: Invoice = serde_json::from_str(&decoded.json)
        .with_context(|| format!("the record at offset {} is no invoice", record.offset))?;
    Ok(Seen {
        id: id(record)?,
        key: String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned(),
        country: invoice.country.clone(),
        total: invoice.total(),
    })
}

/// The ids of all events in the dead-letter topic `letters`.
pub(super) async fn letters(cluster: &Cluster, letters: &TopicName) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    read_all(cluster, letters, |record| {
        found.insert(id(record)?);
        Ok(())
    })
    .await?;
    Ok(found)
}

fn id(record: &RecordView<'_>) -> Result<String> {
    let id = record
        .header(headers::CE_ID)
        .ok_or_else(|| anyhow!("a record at offset {} has no event id", record.offset))?;
    Ok(String::from_utf8_lossy(id).into_owned())
}
