//! Places and rows for tests.

use bytes::Bytes;
use evenkeel_event::clock::Timestamp;
use evenkeel_event::{TopicId, TopicName};
use evenkeel_flow::session::StampedRange;
use evenkeel_flow::{Stamp, Stamping};
use evenkeel_store::{AppendId, Kind, Place, Row, Standby, StoredRow};

pub(crate) fn place(topic: &str, partition: Option<i32>) -> Place {
    Place {
        topic: TopicName::new(topic).unwrap(),
        partition,
    }
}

pub(crate) fn row(text: &str) -> Row {
    Row {
        kind: Kind::Event,
        records: Bytes::from(text.to_owned()),
        count: 1,
        appended_at: Timestamp::from_millis(1_000),
        stamping: None,
    }
}

pub(crate) fn rows(texts: &[&str]) -> Vec<Row> {
    texts.iter().map(|text| row(text)).collect()
}

/// A row of `count` records.
pub(crate) fn batch(text: &str, count: u32) -> Row {
    Row { count, ..row(text) }
}

pub(crate) fn append_id(number: u64) -> AppendId {
    AppendId { process: 1, number }
}

pub(crate) fn stamping(base_sequence: i32, count: i32) -> Stamping {
    Stamping {
        stamp: Stamp {
            producer_id: 42,
            epoch: 1,
            base_sequence,
            count,
        },
        at: Timestamp::from_millis(5_000),
        topic_id: TopicId([7; 16]),
        search_from: Some(99),
        possible_double: false,
    }
}

pub(crate) fn stamped(position: u64, base_sequence: i32, count: i32) -> StampedRange {
    StampedRange {
        position,
        stamping: stamping(base_sequence, count),
    }
}

pub(crate) fn text(row: &StoredRow) -> String {
    String::from_utf8(row.row.records.to_vec()).unwrap()
}

/// Everything that a place holds, read in small pieces.
pub(crate) async fn read_all(store: &dyn Standby, place: &Place) -> Vec<StoredRow> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let piece = store.read(place, from, 100).await.unwrap();
        let Some(last) = piece.rows.last() else {
            return all;
        };
        from = last.position + u64::from(last.row.count);
        all.extend(piece.rows);
    }
}

pub(crate) async fn texts(store: &dyn Standby, place: &Place) -> Vec<String> {
    read_all(store, place).await.iter().map(text).collect()
}
