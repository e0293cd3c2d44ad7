//! Looks for the events of letters that an earlier run claimed and did not finish.
//!
//! The rule it keeps: the standby store is asked before the log, because what has left the store meanwhile is on the log.

use std::collections::HashSet;

use evenkeel::{EventId, Publisher, TopicName};
use evenkeel_broker::batch::{Batch, DECOMPRESSED_BYTES_MAX};
use evenkeel_broker::fetch::At;
use evenkeel_event::{Event, TopicPartition, headers, partitioner};
use evenkeel_flow::redrive::Seen;
use evenkeel_store::PlaceStats;

use super::Error;
use super::ledger::Behind;

/// Bytes of parked rows that are looked through at a time.
const READ_BYTES_MAX: usize = 4 << 20;

/// The partition that an event goes to; the first one for an event without a key, which may go to any.
pub(super) async fn partition(publisher: &Publisher, event: &Event) -> Result<TopicPartition, Error> {
    let topic = publisher.cluster().topic(&event.topic).await?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let index = event
        .key
        .as_deref()
        .map_or(0, |key| partitioner::partition_for(key, count));
    Ok(TopicPartition::new(event.topic.clone(), index))
}

/// The ids among `wanted` that the standby store holds for `topics`.
pub(super) async fn parked(
    publisher: &Publisher,
    topics: &HashSet<TopicName>,
    wanted: &HashSet<EventId>,
) -> Result<HashSet<EventId>, Error> {
    let mut found = HashSet::new();
    for open in publisher.standby().open_places().await? {
        if topics.contains(&open.place.topic) {
            parked_at(publisher, &open, wanted, &mut found).await?;
        }
    }
    Ok(found)
}

async fn parked_at(
    publisher: &Publisher,
    open: &PlaceStats,
    wanted: &HashSet<EventId>,
    found: &mut HashSet<EventId>,
) -> Result<(), Error> {
    let mut from = open.span.head;
    loop {
        let piece = publisher
            .standby()
            .read(&open.place, from, READ_BYTES_MAX)
            .await?;
        for stored in &piece.rows {
            let records = Batch::read(stored.row.records.clone())?.open(DECOMPRESSED_BYTES_MAX)?;
            let ids = records.iter().filter_map(|record| {
                let id = std::str::from_utf8(record.header(headers::CE_ID)?).ok()?;
                EventId::new(id).ok()
            });
            found.extend(ids.filter(|id| wanted.contains(id)));
        }
        match piece.rows.last() {
            Some(last) => from = last.position + u64::from(last.row.count),
            None => return Ok(()),
        }
    }
}

/// Whether an event that is not in the standby store is on its topic, behind the place that its claim noted.
pub(super) async fn on_the_log(
    publisher: &Publisher,
    event: &Event,
    behind: Option<Behind>,
) -> Result<Seen, Error> {
    match publisher.cluster().is_compacted(&event.topic).await {
        Ok(false) => {}
        Ok(true) => return Ok(Seen::Unknowable),
        Err(error) if error.is_outage() => return Err(error.into()),
        Err(_) => return Ok(Seen::Unknowable),
    }
    for (place, from) in candidates(publisher, event, behind).await? {
        let wanted = Some(event.id.as_str().as_bytes());
        let found = publisher
            .cluster()
            .search(&place, from, 1, |record| record.header(headers::CE_ID) == wanted)
            .await;
        match found {
            Ok(found) if found.is_empty() => {}
            Ok(_) => return Ok(Seen::There),
            Err(evenkeel_broker::Error::OutOfRange { .. } | evenkeel_broker::Error::Batch(_)) => {
                return Ok(Seen::Unknowable);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Seen::Missing)
}

/// Where an event can be: behind its claim on the partition of its key; from the beginning of every partition when it
/// has no key, or when the topic has other partitions by now.
async fn candidates(
    publisher: &Publisher,
    event: &Event,
    behind: Option<Behind>,
) -> Result<Vec<(TopicPartition, i64)>, Error> {
    let of_key = partition(publisher, event).await?;
    let known = behind.filter(|behind| event.key.is_some() && behind.partition == of_key.partition);
    if let Some(behind) = known {
        return Ok(vec![(of_key, behind.from)]);
    }
    let topic = publisher.cluster().topic(&event.topic).await?;
    let mut places = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        let place = TopicPartition::new(event.topic.clone(), partition.index);
        let first = publisher.cluster().offset(&place, At::Earliest).await?;
        places.push((place, first.offset.unwrap_or(0)));
    }
    Ok(places)
}
