//! Places and rows for tests.

use bytes::Bytes;
use evenkeel_event::clock::Timestamp;
use evenkeel_event::{EventId, TopicId, TopicName};
use evenkeel_flow::Stamp;
use evenkeel_store::{AppendId, Kind, Place, Row, Standby, StoredRow, StoredStamp};

pub(crate) fn place(topic: &str, partition: Option<i32>) -> Place {
    Place {
        topic: TopicName::new(topic).unwrap(),
        topic_id: TopicId([7; 16]),
        partition,
    }
}

pub(crate) fn row(text: &str) -> Row {
    Row {
        kind: Kind::Event,
        records: Bytes::from(text.to_owned()),
        events: 1,
        ids: vec![EventId::new(&format!("id-{text:.20}")).unwrap()],
        appended_at: Timestamp::from_millis(1_000),
        stamp: None,
        possible_double: false,
    }
}

pub(crate) fn rows(texts: &[&str]) -> Vec<Row> {
    texts.iter().map(|text| row(text)).collect()
}

pub(crate) fn append_id(number: u64) -> AppendId {
    AppendId { process: 1, number }
}

pub(crate) fn stamp(base_sequence: i32) -> StoredStamp {
    StoredStamp {
        stamp: Stamp {
            producer_id: 42,
            epoch: 1,
            base_sequence,
            count: 2,
        },
        first_sent_at: Timestamp::from_millis(5_000),
        search_from: 99,
    }
}

pub(crate) fn text(row: &StoredRow) -> String {
    String::from_utf8(row.row.records.to_vec()).unwrap()
}

/// Everything that a place holds, read in small pieces.
pub(crate) async fn read_all(store: &dyn Standby, place: &Place) -> Vec<StoredRow> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let piece = store.read(place, after, 100).await.unwrap();
        let Some(last) = piece.last() else {
            return all;
        };
        after = last.number;
        all.extend(piece);
    }
}

pub(crate) async fn texts(store: &dyn Standby, place: &Place) -> Vec<String> {
    read_all(store, place).await.iter().map(text).collect()
}
