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
    /// Its checksum is right. One that was just gathered has none: it gets one with its stamp, or when it is parked.
    is_sealed: bool,
}

/// What is sent of a batch.
#[derive(Debug)]
pub(super) struct Stamped {
    pub(super) bytes: Bytes,
    /// Goes in the place of the batch's own header.
    pub(super) header: [u8; batch::HEADER_BYTES],
}

impl Batch {
    /// Closes a batch that is being gathered. `None` for an empty one.
    pub(super) fn close(kind: Kind, builder: Builder, compression: Compression) -> Option<Self> {
        let encoded = builder.finish(compression).ok()?;
        let count = encoded.count();
        Some(Self {
            kind,
            bytes: encoded.unsealed(),
            count,
            is_sealed: false,
        })
    }

    /// What was parked.
    pub(super) fn revive(row: &StoredRow) -> Option<Self> {
        Some(Self {
            kind: row.row.kind,
            bytes: row.row.records.clone(),
            count: i32::try_from(row.row.count).ok()?,
            is_sealed: true,
        })
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole batch with its checksum, as it is parked.
    pub(super) fn sealed(&self) -> Bytes {
        if self.is_sealed {
            return self.bytes.clone();
        }
        let mut bytes = self.bytes.to_vec();
        match batch::seal(&mut bytes) {
            Ok(()) => bytes.into(),
            // Our own bytes in memory, longer than a header since they were made.
            Err(_) => self.bytes.clone(),
        }
    }

    /// What to send under a stamp: always the same for the same stamp.
    pub(super) fn stamped(&self, stamping: &Stamping) -> Result<Stamped, batch::Error> {
        let bytes = if stamping.possible_double {
            self.marked()?
        } else {
            self.bytes.clone()
        };
        let header = batch::stamped_header(&bytes, &stamping.stamp, stamping.at)?;
        Ok(Stamped { bytes, header })
    }

    fn marked(&self) -> Result<Bytes, batch::Error> {
        let mark = [Header::new(headers::POSSIBLE_DOUBLE, "1")];
        let mut builder = Builder::new(usize::MAX);
        for record in self.open()?.iter() {
            copy(&mut builder, &record, &mark)?;
        }
        Ok(builder.finish(Compression::None)?.unsealed())
    }

    pub(super) fn open(&self) -> Result<Records, batch::Error> {
        batch::Batch::read(self.sealed())?.open(DECOMPRESSED_BYTES_MAX)
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
            bytes: encoded.unsealed(),
            is_sealed: false,
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

    fn sent(batch: &Batch, stamping: &Stamping) -> Bytes {
        let Stamped { bytes, header } = batch.stamped(stamping).unwrap();
        [&header, &bytes[header.len()..]].concat().into()
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
            let parked = Batch {
                bytes: whole.sealed(),
                is_sealed: true,
                ..whole.clone()
            };
            let bytes = sent(&whole, &stamping);
            assert_eq!(bytes, sent(&whole.clone(), &stamping));
            assert_eq!(bytes, sent(&parked, &stamping), "also from the standby store");
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
