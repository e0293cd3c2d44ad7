//! Reads batches as a fetch brings them.

use bytes::Bytes;

use super::compression::unpack;
use super::record::{RecordView, take_record};
use super::{
    ATTRIBUTES_AT, COUNT_AT, CRC_AT, Error, FIRST_TIMESTAMP_AT, HEADER_BYTES, LAST_DELTA_AT, LENGTH_AT,
    MAGIC_AT, MAX_TIMESTAMP_AT, array, checksum, i16_at, i32_at, i64_at, read_stamp,
};

const CODEC: i16 = 0x07;
const APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The batches in what a fetch brought. A batch that is cut off at the end is left out: the next fetch brings it.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

/// A batch whose header and checksum are right.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Bytes,
    attributes: i16,
    /// Offset of the first record that it had when it was written.
    pub base_offset: i64,
    /// Offset of the last record that it had when it was written; the next batch begins behind it.
    pub last_offset: i64,
    /// The leader epoch under which it was appended.
    pub leader_epoch: i32,
    /// Who wrote it; -1 without idempotence.
    pub producer_id: i64,
    first_timestamp: i64,
    max_timestamp: i64,
    count: i32,
}

/// A batch that cannot be read. What lies behind it can.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record, as far as it can be told; at least `base_offset`.
    pub last_offset: i64,
    /// Why.
    pub reason: Error,
    /// Its bytes as they are.
    pub bytes: Bytes,
}

/// The records of a batch, decompressed.
#[derive(Debug, Clone)]
pub struct Records {
    data: Bytes,
    base_offset: i64,
    first_timestamp: i64,
    append_time: Option<i64>,
    count: i32,
}

impl Batches {
    /// The batches in `bytes`, which begin with one.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = i32_at(&self.rest, LENGTH_AT)?;
        let base_offset = i64_at(&self.rest, 0)?;
        // A length that no batch has leaves nothing to go by: all of the rest is one unreadable piece.
        let whole = usize::try_from(length)
            .ok()
            .filter(|length| *length > MAGIC_AT - LENGTH_AT - 4)
            .map_or(self.rest.len(), |length| length.saturating_add(LENGTH_AT + 4));
        if whole > self.rest.len() {
            self.rest.clear();
            return None;
        }
        let bytes = self.rest.split_to(whole);
        Some(Batch::read(bytes.clone()).map_err(|reason| Unreadable {
            base_offset,
            last_offset: last_offset(&bytes).unwrap_or(base_offset),
            reason,
            bytes,
        }))
    }
}

/// The last offset that the header of a batch of version 2 tells.
fn last_offset(bytes: &[u8]) -> Option<i64> {
    if bytes.get(MAGIC_AT) != Some(&2) {
        return None;
    }
    let delta = i32_at(bytes, LAST_DELTA_AT)?;
    let count = i32_at(bytes, COUNT_AT)?;
    // A delta that the record count does not bear out may be what is corrupt, and would skip records unseen.
    let plausible = delta >= 0 && delta >= count.saturating_sub(1);
    i64_at(bytes, 0)?.checked_add(i64::from(if plausible { delta } else { 0 }))
}

impl Batch {
    /// Reads the header of the one batch in `bytes` and checks its checksum.
    ///
    /// # Errors
    /// When it is no whole batch of version 2, or its checksum does not match.
    pub fn read(bytes: Bytes) -> Result<Self, Error> {
        let length = i32_at(&bytes, LENGTH_AT).ok_or(Error::NotABatch)?;
        let whole = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(LENGTH_AT + 4));
        if bytes.len() < HEADER_BYTES || whole != Some(bytes.len()) || bytes.get(MAGIC_AT) != Some(&2) {
            return Err(Error::NotABatch);
        }
        let stored = array(&bytes, CRC_AT)
            .map(u32::from_be_bytes)
            .ok_or(Error::NotABatch)?;
        let computed = checksum(&bytes)?;
        if stored != computed {
            return Err(Error::Corrupt { stored, computed });
        }
        Self::header(bytes).ok_or(Error::NotABatch)
    }

    fn header(bytes: Bytes) -> Option<Self> {
        let base_offset = i64_at(&bytes, 0)?;
        let delta = i32_at(&bytes, LAST_DELTA_AT).filter(|delta| *delta >= 0)?;
        Some(Self {
            attributes: i16_at(&bytes, ATTRIBUTES_AT)?,
            base_offset,
            last_offset: base_offset.checked_add(i64::from(delta))?,
            leader_epoch: i32_at(&bytes, LENGTH_AT + 4)?,
            producer_id: i64_at(&bytes, super::PRODUCER_ID_AT)?,
            first_timestamp: i64_at(&bytes, FIRST_TIMESTAMP_AT)?,
            max_timestamp: i64_at(&bytes, MAX_TIMESTAMP_AT)?,
            count: i32_at(&bytes, COUNT_AT).filter(|count| *count >= 0)?,
            bytes,
        })
    }

    /// Its bytes, header included.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Records that are left in it.
    #[must_use]
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// Its stamp, when it was written with one.
    #[must_use]
    pub fn stamp(&self) -> Option<evenkeel_flow::Stamp> {
        read_stamp(&self.bytes)
    }

    /// True for a marker of a transaction's end, which holds no event.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// True when it belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// The records, decompressed to at most `limit` bytes; each is checked to be well formed.
    ///
    /// # Errors
    /// When the codec is not known, the bytes cannot be decompressed, are too many, or a record is malformed.
    pub fn open(&self, limit: usize) -> Result<Records, Error> {
        let codec = u8::try_from(self.attributes & CODEC).unwrap_or(0);
        let packed = self.bytes.slice(HEADER_BYTES..);
        let records = Records {
            data: unpack(codec, &packed, limit)?,
            base_offset: self.base_offset,
            first_timestamp: self.first_timestamp,
            append_time: (self.attributes & APPEND_TIME != 0).then_some(self.max_timestamp),
            count: self.count,
        };
        records.check()?;
        Ok(records)
    }

    /// The batch as one that cannot be read because of `reason`.
    #[must_use]
    pub fn into_unreadable(self, reason: Error) -> Unreadable {
        Unreadable {
            base_offset: self.base_offset,
            last_offset: self.last_offset,
            reason,
            bytes: self.bytes,
        }
    }

    /// For a control batch: true when it ends its transaction by an abort (type 0 of the control record's key).
    pub(super) fn is_abort_marker(&self) -> bool {
        let Ok(records) = self.open(1 << 16) else {
            return false;
        };
        let kind = records.iter().next().and_then(|record| i16_at(record.key?, 2));
        kind == Some(0)
    }
}

impl Records {
    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordView<'_>> {
        let mut rest = self.data.as_ref();
        (0..self.count).map_while(move |_| self.take(&mut rest))
    }

    /// A part of a record as bytes of its own that share the batch's memory.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.data.slice_ref(part)
    }

    fn take<'batch>(&self, rest: &mut &'batch [u8]) -> Option<RecordView<'batch>> {
        take_record(rest, self.base_offset, |delta| {
            self.append_time
                .unwrap_or_else(|| self.first_timestamp.saturating_add(delta))
        })
    }

    fn check(&self) -> Result<(), Error> {
        let mut rest = self.data.as_ref();
        for index in 0..self.count {
            self.take(&mut rest).ok_or(Error::Record { index })?;
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(Error::Record { index: self.count })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Builder, Compression};
    use evenkeel_event::Header;
    use evenkeel_event::clock::Timestamp;
    use proptest::prelude::*;

    type Fields = (
        Option<Vec<u8>>,
        Option<Vec<u8>>,
        Vec<(String, Option<Vec<u8>>)>,
        i64,
    );

    fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))
    }

    fn fields() -> impl Strategy<Value = Fields> {
        let headers = proptest::collection::vec((".{0,8}", field()), 0..4);
        (field(), field(), headers, 0..4_000_000_000_000_i64)
    }

    fn compression() -> impl Strategy<Value = Compression> {
        prop_oneof![
            Just(Compression::None),
            Just(Compression::Lz4),
            Just(Compression::Zstd)
        ]
    }

    fn encode(list: &[Fields], compression: Compression) -> Bytes {
        let mut builder = Builder::new(1 << 20);
        for (key, value, headers, timestamp) in list {
            let headers: Vec<Header> = headers
                .iter()
                .map(|(name, value)| Header {
                    name: name.clone(),
                    value: value.clone().map(Bytes::from),
                })
                .collect();
            let timestamp = Timestamp::from_millis(*timestamp);
            builder
                .push(key.as_deref(), value.as_deref(), &headers, timestamp)
                .unwrap();
        }
        builder.finish(compression).unwrap().unstamped().unwrap()
    }

    fn decode(bytes: Bytes) -> Vec<Fields> {
        let mut list = Vec::new();
        for batch in Batches::new(bytes) {
            let records = batch.unwrap().open(1 << 20).unwrap();
            for record in records.iter() {
                let headers = record
                    .headers()
                    .map(|(name, value)| (name.into_owned(), value.map(<[u8]>::to_vec)))
                    .collect();
                list.push((
                    record.key.map(<[u8]>::to_vec),
                    record.value.map(<[u8]>::to_vec),
                    headers,
                    record.timestamp.millis(),
                ));
            }
        }
        list
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            list in proptest::collection::vec(fields(), 1..20),
            compression in compression(),
        ) {
            prop_assert_eq!(decode(encode(&list, compression)), list);
        }

        #[test]
        fn mutated_bytes_never_panic(
            list in proptest::collection::vec(fields(), 1..5),
            compression in compression(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            mended: bool,
        ) {
            let mut bytes = encode(&list, compression).to_vec();
            for (index, byte) in changes {
                let position = index.index(bytes.len());
                bytes[position] = byte;
            }
            if mended {
                // With a right checksum the records themselves are put to the test.
                let crc = checksum(&bytes).unwrap();
                bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
            }
            for batch in Batches::new(bytes.into()).flatten() {
                if let Ok(records) = batch.open(1 << 20) {
                    prop_assert!(records.iter().count() <= usize::try_from(batch.count()).unwrap());
                }
            }
        }

        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for batch in Batches::new(bytes.into()).take(1000) {
                drop(batch);
            }
        }
    }

    #[test]
    fn a_corrupt_batch_is_skipped_by_its_bounds() {
        let one = [(None, Some(b"one".to_vec()), Vec::new(), 1)];
        let two = [(None, Some(b"two".to_vec()), Vec::new(), 2)];
        let mut bytes = encode(&one, Compression::None).to_vec();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        bytes[7] = 40;
        bytes.extend_from_slice(&encode(&two, Compression::None));
        let mut batches = Batches::new(bytes.into());
        let unreadable = batches.next().unwrap().unwrap_err();
        assert_eq!((unreadable.base_offset, unreadable.last_offset), (40, 40));
        assert!(matches!(unreadable.reason, Error::Corrupt { .. }));
        let next = batches.next().unwrap().unwrap().open(100).unwrap();
        assert_eq!(next.iter().next().unwrap().value, Some(b"two".as_slice()));
        assert!(batches.next().is_none());
    }

    #[test]
    fn a_batch_that_is_cut_off_is_left_for_the_next_fetch() {
        let bytes = encode(&[(None, Some(vec![1; 50]), Vec::new(), 1)], Compression::None);
        for cut in [1, 20, bytes.len() - 1] {
            assert!(Batches::new(bytes.slice(..cut)).next().is_none(), "cut at {cut}");
        }
    }
}
