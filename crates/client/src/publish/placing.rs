//! Moves what is parked under a topic to its partitions.

use std::collections::BTreeMap;

use evenkeel_event::clock::Timestamp;
use evenkeel_store::{Place, Span, Standby, StoredRow};

use super::batch::{Batch, Gathering};
use super::store_step::{Failure, end_of, row, unreadable};
use super::topic::Topic;

/// Most bytes of parked records that are placed in one step.
const PLACE_BYTES_MAX: usize = 1 << 20;

/// What one step moves.
#[derive(Debug)]
struct Moved {
    /// The records from here on stay.
    below: u64,
    /// By partition: its records, and since when the oldest of them is parked.
    parts: BTreeMap<i32, (Gathering, Timestamp)>,
}

/// What became of one step.
#[derive(Debug)]
pub(super) struct Placed {
    /// Position of the oldest that is left.
    pub(super) below: u64,
    /// The partitions that hold something, and what.
    pub(super) grown: Vec<(i32, Span)>,
}

/// Moves a bounded number of the oldest records under a topic to their partitions, in one durable step.
pub(super) async fn place_some(
    store: &dyn Standby,
    topic: &Topic,
    place: &Place,
    partitions: usize,
    from: u64,
) -> Result<Placed, Failure> {
    let partition_of = |key: Option<&[u8]>| i32::try_from(topic.partition(key, partitions)).unwrap_or(0);
    let at = |partition| Place {
        topic: place.topic.clone(),
        partition: Some(partition),
    };
    let span = store.span(place).await?;
    let mut moved = Moved {
        below: span.head.max(from),
        parts: BTreeMap::new(),
    };
    if span.head <= from {
        let piece = store.read(place, from, PLACE_BYTES_MAX).await?;
        let partitions_max = store.places_max();
        moved = gather(&piece.rows, from, partition_of, partitions_max)?;
        if moved.below == from && span.tail > from {
            return Err(unreadable(from));
        }
    }
    let mut rows = Vec::with_capacity(moved.parts.len());
    for (partition, (gathering, since)) in moved.parts {
        let batch = gathering.close().map_err(|_| unreadable(from))?;
        rows.push((at(partition), row(&batch, None, since)));
    }
    store.place(place, moved.below, rows).await?;
    let mut grown = Vec::with_capacity(partitions);
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        let span = store.span(&at(partition)).await?;
        if !span.is_empty() {
            grown.push((partition, span));
        }
    }
    Ok(Placed {
        below: moved.below,
        grown,
    })
}

/// Parts the records of `rows` from the position `from` on, up to the first that is missing, or that would go to one
/// partition too many.
fn gather(
    rows: &[StoredRow],
    from: u64,
    partition_of: impl Fn(Option<&[u8]>) -> i32,
    partitions_max: usize,
) -> Result<Moved, Failure> {
    let mut moved = Moved {
        below: from,
        parts: BTreeMap::new(),
    };
    for stored in rows.iter().filter(|stored| end_of(stored) > from) {
        if stored.position > moved.below {
            break;
        }
        let damaged = |_| unreadable(stored.position);
        let batch = Batch::revive(stored).ok_or_else(|| unreadable(stored.position))?;
        let skipped = usize::try_from(from.saturating_sub(stored.position)).unwrap_or(0);
        let records = batch.open().map_err(damaged)?;
        for record in records.iter().skip(skipped) {
            let partition = partition_of(record.key);
            if moved.parts.len() == partitions_max && !moved.parts.contains_key(&partition) {
                return Ok(moved);
            }
            let (gathering, _) = moved
                .parts
                .entry(partition)
                .or_insert_with(|| (Gathering::new(batch.kind()), stored.row.appended_at));
            gathering.push(&record).map_err(damaged)?;
            moved.below += 1;
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use evenkeel_broker::batch::{Builder, Compression};
    use evenkeel_store::Kind;

    use super::*;

    /// Keys are the numbers of their partitions.
    fn stored(position: u64, keys: &[&str]) -> StoredRow {
        let mut builder = Builder::new(1 << 20);
        for key in keys {
            builder
                .push(Some(key.as_bytes()), None, &[], Timestamp::from_millis(0))
                .unwrap();
        }
        let batch = Batch::close(Kind::Event, builder, Compression::None).unwrap();
        let since = Timestamp::from_millis(i64::try_from(position).unwrap());
        StoredRow {
            position,
            row: row(&batch, None, since),
        }
    }

    /// The position of the first that stays, and by partition how many go there and since when the oldest is parked.
    fn moved(from: u64, partitions_max: usize) -> (u64, Vec<(i32, i32, i64)>) {
        let rows = [stored(4, &["1", "2", "1"]), stored(7, &["2", "3", "1"])];
        moved_of(&rows, from, partitions_max)
    }

    fn moved_of(rows: &[StoredRow], from: u64, partitions_max: usize) -> (u64, Vec<(i32, i32, i64)>) {
        let partition_of = |key: Option<&[u8]>| std::str::from_utf8(key.unwrap()).unwrap().parse().unwrap();
        let moved = gather(rows, from, partition_of, partitions_max).unwrap();
        let parts = moved.parts.into_iter().map(|(partition, (gathering, since))| {
            let count = evenkeel_flow::session::Payload::count(&gathering.close().unwrap());
            (partition, count, since.millis())
        });
        (moved.below, parts.collect())
    }

    #[test]
    fn records_go_to_their_partitions() {
        assert_eq!(moved(4, 9), (10, vec![(1, 3, 4), (2, 2, 4), (3, 1, 7)]));
        assert_eq!(moved(6, 9), (10, vec![(1, 2, 4), (2, 1, 7), (3, 1, 7)]));
    }

    #[test]
    fn nothing_behind_a_missing_record_is_moved() {
        let rows = [stored(4, &["1"]), stored(6, &["2"])];
        assert_eq!(moved_of(&rows, 4, 9), (5, vec![(1, 1, 4)]));
        assert_eq!(moved_of(&rows, 5, 9), (5, Vec::new()));
        assert_eq!(moved_of(&rows, 6, 9), (7, vec![(2, 1, 6)]));
    }

    #[test]
    fn no_step_goes_to_more_places_than_the_store_takes_at_once() {
        assert_eq!(moved(4, 3).0, 10);
        assert_eq!(moved(4, 2), (8, vec![(1, 2, 4), (2, 2, 4)]));
        assert_eq!(moved(4, 1), (5, vec![(1, 1, 4)]));
        assert_eq!(moved(8, 1), (9, vec![(3, 1, 7)]), "it goes on inside a row");
    }
}
