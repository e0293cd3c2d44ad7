//! A record batch of Kafka's message format, version 2: its header, and whether its bytes are what they say.
//!
//! Layout: Kafka documentation, "Message Format" (KIP-98).

use bytes::Buf;
use kafka_protocol::ResponseError;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes that the `batch_length` field does not count: the base offset and itself.
pub(crate) const PREFIX_BYTES: usize = 12;
/// Where the bytes begin that the checksum covers.
pub(crate) const CHECKED_FROM: usize = 21;
/// The first bytes, which the broker writes anew: base offset, length, leader epoch. The checksum leaves them out.
pub(crate) const PATCHED_BYTES: usize = 16;
/// The bytes of a batch are at most this many, however large a topic's `max.message.bytes`.
pub(crate) const BATCH_BYTES_MAX: usize = 1 << 30;

pub(crate) const COMPRESSION: i16 = 0b0000_0111;
const TRANSACTIONAL: i16 = 0b0001_0000;
const CONTROL: i16 = 0b0010_0000;
/// Compaction has put the time at which the tombstones may go in the place of the base timestamp (KIP-534).
pub(crate) const DELETE_HORIZON: i16 = 0b0100_0000;

/// The fields of a batch before its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    pub(crate) batch_length: i32,
    pub(crate) magic: i8,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: i32,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` when there are too few.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut bytes = bytes.get(..HEADER_BYTES)?;
        let base_offset = bytes.get_i64();
        let batch_length = bytes.get_i32();
        let _leader_epoch = bytes.get_i32();
        Some(Self {
            base_offset,
            batch_length,
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            records: bytes.get_i32(),
        })
    }

    /// Bytes of the whole batch; `None` when the length field cannot be one.
    pub(crate) fn size(&self) -> Option<usize> {
        let size = usize::try_from(self.batch_length)
            .ok()?
            .checked_add(PREFIX_BYTES)?;
        (HEADER_BYTES..=BATCH_BYTES_MAX).contains(&size).then_some(size)
    }

    /// The offset after the batch's last record.
    pub(crate) fn next_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
            .saturating_add(1)
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.codec() != 0
    }

    /// How its records are compressed, by Kafka's number.
    pub(crate) fn codec(&self) -> i16 {
        self.attributes & COMPRESSION
    }

    /// When its tombstones may go, in milliseconds since 1970, if compaction has said so (KIP-534).
    pub(crate) fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Whether the batch carries a producer's sequence.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }

    /// The sequence of the last record; sequences go from 0 again after the largest.
    pub(crate) fn last_sequence(&self) -> i32 {
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Base offset, length and leader epoch as the log keeps them.
    pub(crate) fn patched(&self, base_offset: i64) -> [u8; PATCHED_BYTES] {
        let mut bytes = [0; PATCHED_BYTES];
        let whole = (u128::from(base_offset.cast_unsigned()) << 64)
            | (u128::from(self.batch_length.cast_unsigned()) << 32)
            | u128::from(LEADER_EPOCH.cast_unsigned());
        bytes.copy_from_slice(&whole.to_be_bytes());
        bytes
    }
}

/// One node leads for ever, so there is one epoch.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// `sequence + delta`, where 0 follows the largest sequence.
pub(crate) fn add_sequence(sequence: i32, delta: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(delta);
    let wrapped = sum % (i64::from(i32::MAX) + 1);
    i32::try_from(wrapped).unwrap_or(0)
}

/// Whether the checksum of one whole batch is right.
pub(crate) fn checksum_holds(batch: &[u8], header: &Header) -> bool {
    batch
        .get(CHECKED_FROM..)
        .is_some_and(|checked| crc32c::crc32c(checked) == header.crc)
}

/// Reads the whole batch at the start of `bytes` as recovery must: `None` unless it is complete and sound.
pub(crate) fn intact(bytes: &[u8]) -> Option<(Header, usize)> {
    let header = Header::parse(bytes)?;
    let size = header.size()?;
    let sound = header.magic == 2 && header.last_offset_delta >= 0 && header.base_offset >= 0;
    (sound && checksum_holds(bytes.get(..size)?, &header)).then_some((header, size))
}

/// What a topic demands of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) message_bytes_max: usize,
    pub(crate) keys_required: bool,
    pub(crate) timestamp_before_ms: i64,
    pub(crate) timestamp_after_ms: i64,
    pub(crate) now_ms: i64,
}

/// Why a batch is refused for what it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) error: ResponseError,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(error: ResponseError, reason: impl Into<String>) -> Self {
        Self {
            error,
            reason: reason.into(),
        }
    }

    fn invalid(reason: impl Into<String>) -> Self {
        Self::new(ResponseError::InvalidRecord, reason)
    }
}

/// Checks the records of one partition in a produce request: exactly one sound batch.
pub(crate) fn check(records: &[u8], rules: &Rules) -> Result<Header, Refusal> {
    let Some(header) = Header::parse(records) else {
        return Err(Refusal::invalid(format!(
            "{} bytes are too few for a record batch",
            records.len()
        )));
    };
    if header.magic != 2 {
        return Err(Refusal::invalid(format!(
            "message format {} is not taken, only 2",
            header.magic
        )));
    }
    let Some(size) = header.size() else {
        return Err(Refusal::invalid(format!(
            "a batch length of {} cannot be",
            header.batch_length
        )));
    };
    if size > records.len() {
        return Err(Refusal::invalid(format!(
            "the batch says {size} bytes, {} are there",
            records.len()
        )));
    }
    if size > rules.message_bytes_max {
        let reason = format!(
            "{size} bytes, the topic's max.message.bytes is {}",
            rules.message_bytes_max
        );
        return Err(Refusal::new(ResponseError::MessageTooLarge, reason));
    }
    if size < records.len() {
        return Err(Refusal::invalid(
            "a produce request has one batch for each partition",
        ));
    }
    if !checksum_holds(records, &header) {
        return Err(Refusal::new(
            ResponseError::CorruptMessage,
            "the checksum does not match the bytes",
        ));
    }
    check_fields(&header)?;
    check_time(&header, rules)?;
    if !header.is_compressed() {
        check_records(records.get(HEADER_BYTES..).unwrap_or_default(), &header, rules)?;
    }
    Ok(header)
}

fn check_fields(header: &Header) -> Result<(), Refusal> {
    if header.records < 1 || header.last_offset_delta != header.records - 1 {
        let reason = format!(
            "{} records cannot end at offset delta {}",
            header.records, header.last_offset_delta
        );
        return Err(Refusal::invalid(reason));
    }
    if header.attributes & COMPRESSION > 4 {
        let reason = format!("compression {} is unknown", header.attributes & COMPRESSION);
        return Err(Refusal::new(ResponseError::UnsupportedCompressionType, reason));
    }
    if header.attributes & CONTROL != 0 {
        return Err(Refusal::invalid("clients do not write control batches"));
    }
    if header.attributes & DELETE_HORIZON != 0 {
        return Err(Refusal::invalid("clients do not say when tombstones may go"));
    }
    if header.attributes & TRANSACTIONAL != 0 {
        let reason = "transactions are not supported by the embedded broker";
        return Err(Refusal::new(ResponseError::InvalidTxnState, reason));
    }
    if header.is_idempotent() && (header.producer_epoch < 0 || header.base_sequence < 0) {
        let reason = format!(
            "epoch {} and sequence {} cannot be",
            header.producer_epoch, header.base_sequence
        );
        return Err(Refusal::invalid(reason));
    }
    Ok(())
}

fn check_time(header: &Header, rules: &Rules) -> Result<(), Refusal> {
    let ahead = header.max_timestamp.saturating_sub(rules.now_ms);
    let behind = rules.now_ms.saturating_sub(header.max_timestamp);
    if ahead > rules.timestamp_after_ms || (header.max_timestamp >= 0 && behind > rules.timestamp_before_ms) {
        let reason = format!(
            "timestamp {} is too far from the broker's {}",
            header.max_timestamp, rules.now_ms
        );
        return Err(Refusal::new(ResponseError::InvalidTimestamp, reason));
    }
    Ok(())
}

/// Walks uncompressed records: each must end where it says, and their offsets must count from 0.
fn check_records(mut bytes: &[u8], header: &Header, rules: &Rules) -> Result<(), Refusal> {
    for position in 0..header.records {
        let Some(record) = Record::take(&mut bytes) else {
            return Err(Refusal::invalid(format!(
                "record {position} does not fit the batch"
            )));
        };
        if record.offset_delta != position {
            let reason = format!("record {position} has offset delta {}", record.offset_delta);
            return Err(Refusal::invalid(reason));
        }
        if rules.keys_required && record.key.is_none() {
            return Err(Refusal::invalid(format!(
                "record {position} has no key and the topic is compacted"
            )));
        }
    }
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid("bytes are left after the last record"))
    }
}

/// What is read of one record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    /// Whether it says that its key is gone.
    pub(crate) is_tombstone: bool,
    pub(crate) attributes: u8,
    /// Key, value and headers as they lie in the batch.
    pub(crate) rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes one record off the front; `None` when it is malformed.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let length = usize::try_from(varint(bytes)?).ok()?;
        let (body, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        let (attributes, mut body) = body.split_first()?;
        let timestamp_delta = varint(&mut body)?;
        let offset_delta = i32::try_from(varint(&mut body)?).ok()?;
        let rest = body;
        let key = take_nullable(&mut body)?;
        let value = take_nullable(&mut body)?;
        let headers = usize::try_from(varint(&mut body)?).ok()?;
        for _ in 0..headers {
            take_nullable(&mut body)??;
            take_nullable(&mut body)?;
        }
        body.is_empty().then_some(Self {
            timestamp_delta,
            offset_delta,
            key,
            is_tombstone: value.is_none(),
            attributes: *attributes,
            rest,
        })
    }
}

/// Takes a length and that many bytes; the inner `None` is null.
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(taken))
}

/// A zigzag varint of at most 64 bits.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}
