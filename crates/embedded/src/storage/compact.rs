//! What compaction keeps: of each key the latest record, and tombstones until their time. Offsets never change.
//!
//! Segments that were never compacted are read once for the latest offset of each key; then all sealed segments are
//! written anew, oldest first, without what those offsets supersede. The batch of a tombstone that is met for the first
//! time is marked with the time at which it may go (KIP-534, as Kafka's log cleaner does), so that a reader who began
//! before has the time to meet it too.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    io,
};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    batch::{self, CHECKED_FROM, COMPRESSION, DELETE_HORIZON, HEADER_BYTES, Header, Record},
    codec,
    segment::Span,
};

/// Keys whose latest offset is remembered in one pass: some 200 MB.
const KEYS_MAX: usize = 4_000_000;

/// The latest offset of each key, for the offsets before `end`.
#[derive(Debug)]
pub(super) struct Latest {
    /// By a hash of 128 bits under two secrets of this process, so that no two keys are taken for one.
    offsets: HashMap<u128, i64>,
    secrets: [RandomState; 2],
    pub(super) end: i64,
}

/// What compaction makes of one batch.
#[derive(Debug)]
pub(super) enum Kept {
    /// Nothing of it.
    Nothing,
    Whole,
    /// This in its place.
    Part(Bytes),
}

/// The times that a pass goes by, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) now: i64,
    pub(super) delete_retention: i64,
}

impl Latest {
    /// Knows no key; everything from `start` on is later than what it knows.
    pub(super) fn new(start: i64) -> Self {
        Self {
            offsets: HashMap::new(),
            secrets: [RandomState::new(), RandomState::new()],
            end: start,
        }
    }

    fn hash(&self, key: &[u8]) -> u128 {
        let [high, low] = &self.secrets;
        (u128::from(high.hash_one(key)) << 64) | u128::from(low.hash_one(key))
    }

    /// Takes in a whole segment that ends before `end`. `false`, and it is not taken in, when it has too many keys.
    pub(super) fn take_in(&mut self, span: &mut Span, end: i64) -> io::Result<bool> {
        let mut found: HashMap<u128, i64> = HashMap::new();
        while let Some((header, batch)) = next(span)? {
            let unpacked = codec::records(&header, &batch)?;
            for record in Records::of(&header, &unpacked) {
                let record = record?;
                if let Some(key) = record.key {
                    found.insert(self.hash(key), offset_of(&header, &record));
                }
            }
            if self.offsets.len() + found.len() > KEYS_MAX {
                return Ok(false);
            }
        }
        self.offsets.extend(found);
        self.end = end;
        Ok(true)
    }

    fn supersedes(&self, key: &[u8], offset: i64) -> bool {
        self.offsets
            .get(&self.hash(key))
            .is_some_and(|latest| *latest > offset)
    }

    /// What stays of a batch.
    pub(super) fn keep(&self, header: &Header, batch: &Bytes, times: Times) -> io::Result<Kept> {
        if header.next_offset() > self.end {
            return Ok(Kept::Whole);
        }
        let horizon = header.delete_horizon_ms();
        let unpacked = codec::records(header, batch)?;
        let mut kept = Vec::new();
        let mut tombstones = false;
        for record in Records::of(header, &unpacked) {
            let record = record?;
            // As Kafka: a compacted topic has no place for what has no key.
            let Some(key) = record.key else { continue };
            let is_over = record.is_tombstone && horizon.is_some_and(|horizon| horizon < times.now);
            if is_over || self.supersedes(key, offset_of(header, &record)) {
                continue;
            }
            tombstones |= record.is_tombstone;
            kept.push(record);
        }
        let horizon = match horizon {
            None if tombstones => Some(times.now.saturating_add(times.delete_retention)),
            known => known,
        };
        let is_same =
            i32::try_from(kept.len()) == Ok(header.records) && horizon == header.delete_horizon_ms();
        if kept.is_empty() {
            Ok(Kept::Nothing)
        } else if is_same {
            Ok(Kept::Whole)
        } else {
            rewrite(header, &kept, horizon).map(Kept::Part)
        }
    }
}

/// The next batch, if there is one.
pub(super) fn next(span: &mut Span) -> io::Result<Option<(Header, Bytes)>> {
    let Some(header) = span.seek(|_| true)? else {
        return Ok(None);
    };
    let batch = span.batch(&header)?;
    span.skip(&header);
    Ok(Some((header, batch)))
}

/// The records of a batch, as many as it announces.
struct Records<'a> {
    left: i32,
    bytes: &'a [u8],
}

impl<'a> Records<'a> {
    fn of(header: &Header, unpacked: &'a [u8]) -> Self {
        Self {
            left: header.records,
            bytes: unpacked,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = io::Result<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let record = Record::take(&mut self.bytes);
        if record.is_none() {
            self.left = 0;
        }
        Some(record.ok_or_else(|| io::Error::other("a record does not fit its batch")))
    }
}

fn offset_of(header: &Header, record: &Record<'_>) -> i64 {
    header.base_offset.saturating_add(i64::from(record.offset_delta))
}

/// The batch with these records alone: the same offsets and sequences, uncompressed.
fn rewrite(header: &Header, kept: &[Record<'_>], horizon: Option<i64>) -> io::Result<Bytes> {
    let base_timestamp = horizon.unwrap_or(header.base_timestamp);
    let time_of = |record: &Record<'_>| header.base_timestamp.saturating_add(record.timestamp_delta);
    let newest = kept.iter().map(time_of).max().unwrap_or(header.max_timestamp);
    let mut attributes = header.attributes & !COMPRESSION;
    if horizon.is_some() {
        attributes |= DELETE_HORIZON;
    }
    let mut checked = BytesMut::new();
    checked.put_i16(attributes);
    // What was the last record stays the last, so that the producer's sequences can be told from the batch.
    checked.put_i32(header.last_offset_delta);
    checked.put_i64(base_timestamp);
    checked.put_i64(newest);
    checked.put_i64(header.producer_id);
    checked.put_i16(header.producer_epoch);
    checked.put_i32(header.base_sequence);
    checked.put_i32(i32::try_from(kept.len()).map_err(io::Error::other)?);
    for record in kept {
        let delta = time_of(record).wrapping_sub(base_timestamp);
        put_record(&mut checked, record, delta);
    }
    let after_length = checked.len() + CHECKED_FROM - batch::PREFIX_BYTES;
    let mut header = *header;
    header.batch_length = i32::try_from(after_length).map_err(io::Error::other)?;
    let mut batch = BytesMut::with_capacity(checked.len() + HEADER_BYTES);
    batch.extend(header.patched(header.base_offset));
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.extend(checked);
    Ok(batch.freeze())
}

fn put_record(bytes: &mut BytesMut, record: &Record<'_>, timestamp_delta: i64) {
    let mut body = BytesMut::with_capacity(record.rest.len() + 16);
    body.put_u8(record.attributes);
    put_varint(&mut body, timestamp_delta);
    put_varint(&mut body, i64::from(record.offset_delta));
    body.extend(record.rest);
    put_varint(bytes, i64::try_from(body.len()).unwrap_or(i64::MAX));
    bytes.extend(body);
}

/// A zigzag varint, as [`Record::take`] reads it.
fn put_varint(bytes: &mut BytesMut, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while value >= 0x80 {
        bytes.put_u8((value & 0x7f).to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.put_u8(value.to_le_bytes()[0]);
}
