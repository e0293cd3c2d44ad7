//! Encoded records on their way: what the machines in `flow` move and the store keeps.

use bytes::Bytes;
use evenkeel_broker::batch::{self, Builder, Compression, DECOMPRESSED_BYTES_MAX, RecordView, Records};
use evenkeel_event::clock::Timestamp;
use evenkeel_event::{Header, headers};
use evenkeel_flow::Stamping;
use evenkeel_flow::session::Payload;
use evenkeel_store::{Kind, StoredRow};

/// The timestamp that records have until they are stamped.
pub(super) const UNSTAMPED: Timestamp = Timestamp::from_millis(0);

/// A Kafka record batch without a stamp, of valid events or of letters. It is made from what [`super::front`] took in,
/// or from a checksummed row (invariant **valid**). Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    kind: Kind,
    bytes: Bytes,
    count: i32,
}

impl Batch {
    /// Closes a batch that is being gathered. `None` for an empty one.
    pub(super) fn close(kind: Kind, builder: Builder, compression: Compression) -> Option<Self> {
        let encoded = builder.finish(compression).ok()?;
        let count = encoded.count();
        let bytes = encoded.unstamped().ok()?;
        Some(Self { kind, bytes, count })
    }

    /// What was parked.
    pub(super) fn revive(row: &StoredRow) -> Option<Self> {
        Some(Self {
            kind: row.row.kind,
            bytes: row.row.records.clone(),
            count: i32::try_from(row.row.count).ok()?,
        })
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) const fn raw(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes to send under a stamp: always the same for the same stamp.
    pub(super) fn stamped(&self, stamping: &Stamping) -> Result<Bytes, batch::Error> {
        let mut bytes = if stamping.possible_double {
            self.marked()?.to_vec()
        } else {
            self.bytes.to_vec()
        };
        batch::write_stamp_at(&mut bytes, &stamping.stamp, stamping.at)?;
        Ok(bytes.into())
    }

    fn marked(&self) -> Result<Bytes, batch::Error> {
        let mark = [Header::new(headers::POSSIBLE_DOUBLE, "1")];
        let mut builder = Builder::new(usize::MAX);
        for record in self.open()?.iter() {
            copy(&mut builder, &record, &mark)?;
        }
        builder.finish(Compression::None)?.unstamped()
    }

    pub(super) fn open(&self) -> Result<Records, batch::Error> {
        batch::Batch::read(self.bytes.clone())?.open(DECOMPRESSED_BYTES_MAX)
    }

    /// The records `from` (counted from 0) to `until` as a batch of their own.
    pub(super) fn slice(&self, from: i32, until: i32) -> Result<Self, batch::Error> {
        if from == 0 && until == self.count {
            return Ok(self.clone());
        }
        let mut gathering = Gathering::new(self.kind);
        gathering.take(self, from, until)?;
        gathering.close()
    }

    /// The ids of its events, in order; empty for a record without one.
    pub(super) fn ids(&self) -> Result<Vec<String>, batch::Error> {
        let records = self.open()?;
        let id = |record: RecordView<'_>| {
            let id = record.header(headers::CE_ID).unwrap_or_default();
            String::from_utf8_lossy(id).into_owned()
        };
        Ok(records.iter().map(id).collect())
    }
}

/// Records of several batches that become one.
#[derive(Debug)]
pub(super) struct Gathering {
    kind: Kind,
    builder: Builder,
}

impl Gathering {
    pub(super) fn new(kind: Kind) -> Self {
        let builder = Builder::new(usize::MAX);
        Self { kind, builder }
    }

    pub(super) fn take(&mut self, batch: &Batch, from: i32, until: i32) -> Result<(), batch::Error> {
        for (index, record) in (0..).zip(batch.open()?.iter()) {
            if (from..until).contains(&index) {
                copy(&mut self.builder, &record, &[])?;
            }
        }
        Ok(())
    }

    pub(super) fn push(&mut self, record: &RecordView<'_>) -> Result<(), batch::Error> {
        copy(&mut self.builder, record, &[])
    }

    pub(super) fn close(self) -> Result<Batch, batch::Error> {
        let encoded = self.builder.finish(Compression::None)?;
        Ok(Batch {
            kind: self.kind,
            count: encoded.count(),
            bytes: encoded.unstamped()?,
        })
    }
}

fn copy(builder: &mut Builder, record: &RecordView<'_>, further: &[Header]) -> Result<(), batch::Error> {
    builder
        .push_copy(record, further, UNSTAMPED)
        .map_err(|full| batch::Error::TooLarge {
            limit: full.bytes_max,
        })
}

impl Payload for Batch {
    type Id = str;

    fn count(&self) -> i32 {
        self.count
    }

    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn split_at(self, records: i32) -> (Self, Self) {
        match (self.slice(0, records), self.slice(records, self.count)) {
            (Ok(first), Ok(rest)) => (first, rest),
            // Our own bytes in memory: they were readable when they were made. Kept whole, they stay refused together.
            _ => (self.clone(), self),
        }
    }

    fn find(&self, id: &str) -> Option<i32> {
        let records = self.open().ok()?;
        let found = records
            .iter()
            .position(|record| record.header(headers::CE_ID) == Some(id.as_bytes()))?;
        i32::try_from(found).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_flow::Stamp;

    fn batch(ids: &[&str]) -> Batch {
        let mut builder = Builder::new(1 << 20);
        for id in ids {
            let headers = [Header::new(headers::CE_ID, (*id).to_owned())];
            builder
                .push(Some(b"key"), Some(id.as_bytes()), &headers, UNSTAMPED)
                .unwrap();
        }
        Batch::close(Kind::Event, builder, Compression::Lz4).unwrap()
    }

    #[test]
    fn a_batch_parts_by_records_and_finds_ids() {
        let whole = batch(&["a", "b", "c"]);
        assert_eq!(whole.find("c"), Some(2));
        assert_eq!(whole.find("d"), None);
        let (first, rest) = whole.split_at(1);
        assert_eq!((first.count(), rest.count()), (1, 2));
        assert_eq!(first.ids().unwrap(), ["a"]);
        assert_eq!(rest.ids().unwrap(), ["b", "c"]);
    }

    #[test]
    fn stamped_bytes_are_the_same_each_time_and_carry_time_and_mark() {
        for possible_double in [false, true] {
            let stamping = Stamping {
                stamp: Stamp {
                    producer_id: 5,
                    epoch: 1,
                    base_sequence: 9,
                    count: 2,
                },
                at: Timestamp::from_millis(77),
                topic_id: evenkeel_event::TopicId::UNKNOWN,
                search_from: None,
                possible_double,
            };
            let whole = batch(&["a", "b"]);
            let bytes = whole.stamped(&stamping).unwrap();
            assert_eq!(bytes, whole.clone().stamped(&stamping).unwrap());
            assert_eq!(batch::read_stamp(&bytes), Some(stamping.stamp));
            let records = batch::Batch::read(bytes).unwrap().open(1 << 20).unwrap();
            for record in records.iter() {
                assert_eq!(record.timestamp, stamping.at);
                let mark = record.header(headers::POSSIBLE_DOUBLE);
                assert_eq!(mark.is_some(), possible_double);
            }
        }
    }
}
