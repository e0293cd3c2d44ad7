//! The items of the table, by their keys:
//!
//! | `pk` | `sk` | holds |
//! | --- | --- | --- |
//! | `place/TOPIC/PARTITION` | `record` | the record of a place: `rev`, `data`, `listed` |
//! | the same | `block/END` | the blocks of one append: `blocks` (which), and `data` or where its parts are |
//! | `listed/SHARD` | `TOPIC/PARTITION` | that the place is listed: nothing else |
//! | `part/STAGE/NUMBER` | `part` | a part of what is too large for one item: `data` |
//! | `stages` | `STAGE` or `STAGE/FIRST` | that parts are there which no block shows: `first`, `count`, `at`, `swept` |
//! | `leases` | `PROCESS` | a lease: `rev`, `data`, `by` |
//! | `format` | `format` | the version of all this: `rev` |
//!
//! A block's key holds the position after its last row, so that the one that holds a position is the first behind it.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use evenkeel_event::TopicName;

use crate::Place;

pub(super) type Item = HashMap<String, AttributeValue>;

/// Attributes, by the names that the table has for them.
pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";
pub(super) const REV: &str = "rev";
pub(super) const DATA: &str = "data";
pub(super) const LISTED: &str = "listed";
pub(super) const BLOCKS: &str = "blocks";
pub(super) const STAGE: &str = "stage";
pub(super) const FIRST: &str = "first";
pub(super) const COUNT: &str = "count";
pub(super) const AT: &str = "at";
pub(super) const SWEPT: &str = "swept";

pub(super) const RECORD: &str = "record";
pub(super) const LEASES: &str = "leases";
pub(super) const STAGES: &str = "stages";
pub(super) const FORMAT: &str = "format";
pub(super) const PART: &str = "part";

/// What is listed is spread over so many keys: each is asked for every listing, and takes 500 changes a second.
pub(super) const SHARDS: u32 = 4;

/// An item's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    pub(super) fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self {
            pk: pk.into(),
            sk: sk.into(),
        }
    }

    pub(super) fn record(place: &Place) -> Self {
        Self::new(place_pk(place), RECORD)
    }

    pub(super) fn block(place: &Place, end: u64) -> Self {
        Self::new(place_pk(place), block_sk(end))
    }

    pub(super) fn listed(place: &Place) -> Self {
        let name = place_name(place);
        let shard = crc32c::crc32c(name.as_bytes()) % SHARDS;
        Self::new(listed_pk(shard), name)
    }

    pub(super) fn part(stage: &str, number: u64) -> Self {
        Self::new(format!("part/{stage}/{number}"), PART)
    }

    pub(super) fn stage(name: &str) -> Self {
        Self::new(STAGES, name)
    }

    pub(super) fn item(self) -> Item {
        HashMap::from([
            (PK.to_owned(), AttributeValue::S(self.pk)),
            (SK.to_owned(), AttributeValue::S(self.sk)),
        ])
    }

    /// The key of an item that was read.
    pub(super) fn of(item: &Item) -> Option<Self> {
        Some(Self::new(text(item, PK)?, text(item, SK)?))
    }
}

pub(super) fn place_pk(place: &Place) -> String {
    format!("place/{}", place_name(place))
}

/// `block/` and a position as text that sorts as the number does.
pub(super) fn block_sk(end: u64) -> String {
    format!("block/{end:020}")
}

pub(super) fn listed_pk(shard: u32) -> String {
    format!("listed/{shard}")
}

/// `TOPIC/PARTITION`, or `TOPIC/-` where no partition is known. No topic's name holds a slash.
pub(super) fn place_name(place: &Place) -> String {
    match place.partition {
        Some(partition) => format!("{}/{partition}", place.topic),
        None => format!("{}/-", place.topic),
    }
}

pub(super) fn place_of(name: &str) -> Option<Place> {
    let (topic, partition) = name.rsplit_once('/')?;
    Some(Place {
        topic: TopicName::new(topic).ok()?,
        partition: match partition {
            "-" => None,
            number => Some(number.parse().ok()?),
        },
    })
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn binary(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub(super) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn text<'item>(item: &'item Item, name: &str) -> Option<&'item str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(super) fn count(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(super) fn flag(item: &Item, name: &str) -> bool {
    matches!(item.get(name), Some(AttributeValue::Bool(true)))
}

/// Takes the bytes out of an item, so that they are not copied.
pub(super) fn take_bytes(item: &mut Item, name: &str) -> Option<Bytes> {
    match item.remove(name)? {
        AttributeValue::B(blob) => Some(Bytes::from(blob.into_inner())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(topic: &str, partition: Option<i32>) -> Place {
        Place {
            topic: TopicName::new(topic).unwrap(),
            partition,
        }
    }

    #[test]
    fn a_place_is_found_by_its_name() {
        let topic = TopicName::new("orders.v1-x_y").unwrap();
        let places = [
            place("orders", None),
            place("orders", Some(0)),
            place("orders", Some(i32::MAX)),
            Place::aside(topic),
        ];
        for place in places {
            assert_eq!(place_of(&place_name(&place)), Some(place));
        }
        for nothing in ["", "orders", "orders/", "orders/x", "/1", "or ders/1"] {
            assert_eq!(place_of(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn blocks_sort_by_their_ends() {
        let ends = [0, 9, 10, 99, 1 << 40, u64::MAX];
        assert!(ends.map(block_sk).is_sorted());
        assert!(!RECORD.starts_with("block/"));
    }
}
