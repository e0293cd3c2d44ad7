//! Makes batches: records are encoded in place, once.

use bytes::{Bytes, BytesMut};
use evenkeel_event::Header;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::Stamp;

use super::record::RecordView;
use super::{
    ATTRIBUTES_AT, COUNT_AT, CRC_AT, Compression, EPOCH_AT, Error, FIRST_TIMESTAMP_AT, HEADER_BYTES,
    LAST_DELTA_AT, LENGTH_AT, MAGIC_AT, MAX_TIMESTAMP_AT, PRODUCER_ID_AT, SEQUENCE_AT, checksum, put,
    write_stamp,
};

/// Largest buffer that is taken before anything is written into it, bytes.
const INITIAL_BYTES_MAX: usize = 16 << 10;

/// Collects records into one batch of at most so many bytes.
#[derive(Debug)]
pub struct Builder {
    buffer: BytesMut,
    bytes_max: usize,
    count: i32,
    first_timestamp: i64,
    max_timestamp: i64,
}

/// A finished batch that has no stamp yet.
#[derive(Debug, Clone)]
pub struct Encoded {
    bytes: BytesMut,
    count: i32,
}

/// The record does not fit; the batch is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a record of {record_bytes} bytes does not fit into a batch that has {batch_bytes} of {bytes_max} bytes"
)]
pub struct Full {
    /// Bytes of the record as it would be encoded.
    pub record_bytes: usize,
    /// Bytes that the batch has.
    pub batch_bytes: usize,
    /// Bytes that it may have.
    pub bytes_max: usize,
}

impl Builder {
    /// A batch of at most `bytes_max` bytes before compression, header included.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self::with_capacity(bytes_max, INITIAL_BYTES_MAX)
    }

    /// As [`new`](Self::new), with room for `capacity` bytes taken at once.
    #[must_use]
    pub fn with_capacity(bytes_max: usize, capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(capacity.min(bytes_max).max(HEADER_BYTES));
        buffer.resize(HEADER_BYTES, 0);
        Self {
            buffer,
            bytes_max,
            count: 0,
            first_timestamp: 0,
            max_timestamp: 0,
        }
    }

    /// Adds a record behind the others.
    ///
    /// # Errors
    /// [`Full`] when it does not fit, also when it would be the only one.
    pub fn push(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
        timestamp: Timestamp,
    ) -> Result<(), Full> {
        self.put_record(key, value, headers.len(), timestamp, || {
            headers
                .iter()
                .map(|header| (header.name.as_bytes(), header.value.as_deref()))
        })
    }

    /// Adds a copy of a record that lies in another batch, with `further` headers behind its own.
    ///
    /// # Errors
    /// [`Full`] when it does not fit, also when it would be the only one.
    pub fn push_copy(
        &mut self,
        record: &RecordView<'_>,
        further: &[Header],
        timestamp: Timestamp,
    ) -> Result<(), Full> {
        let count = record.header_count() + further.len();
        self.put_record(record.key, record.value, count, timestamp, || {
            let further = further
                .iter()
                .map(|header| (header.name.as_bytes(), header.value.as_deref()));
            record.raw_headers().chain(further)
        })
    }

    /// Adds a record whose headers are told by `headers`, `header_count` of them, the same each time. Nothing is
    /// allocated for it.
    ///
    /// # Errors
    /// [`Full`] when it does not fit, also when it would be the only one.
    pub fn put_record<'header, Headers>(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        header_count: usize,
        timestamp: Timestamp,
        headers: impl Fn() -> Headers,
    ) -> Result<(), Full>
    where
        Headers: Iterator<Item = (&'header [u8], Option<&'header [u8]>)>,
    {
        let first = if self.count == 0 {
            timestamp.millis()
        } else {
            self.first_timestamp
        };
        let timestamp_delta = timestamp.millis().wrapping_sub(first);
        let body = 1
            + varint_bytes(timestamp_delta)
            + varint_bytes(i64::from(self.count))
            + field_bytes(key)
            + field_bytes(value)
            + varint_bytes(length(header_count))
            + headers()
                .map(|(name, value)| varint_bytes(length(name.len())) + name.len() + field_bytes(value))
                .sum::<usize>();
        let record_bytes = varint_bytes(length(body)) + body;
        if self.buffer.len().saturating_add(record_bytes) > self.bytes_max || self.count == i32::MAX {
            return Err(Full {
                record_bytes,
                batch_bytes: self.buffer.len(),
                bytes_max: self.bytes_max,
            });
        }
        self.buffer.reserve(record_bytes);
        put_varint(&mut self.buffer, length(body));
        self.buffer.extend_from_slice(&[0]);
        put_varint(&mut self.buffer, timestamp_delta);
        put_varint(&mut self.buffer, i64::from(self.count));
        put_field(&mut self.buffer, key);
        put_field(&mut self.buffer, value);
        put_varint(&mut self.buffer, length(header_count));
        for (name, value) in headers() {
            put_field(&mut self.buffer, Some(name));
            put_field(&mut self.buffer, value);
        }
        self.first_timestamp = first;
        self.max_timestamp = if self.count == 0 {
            first
        } else {
            self.max_timestamp.max(timestamp.millis())
        };
        self.count += 1;
        Ok(())
    }

    /// Records so far.
    #[must_use]
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// True when there is no record yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, before compression.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The batch, compressed, without a stamp.
    ///
    /// # Errors
    /// When there is no record, or the compressor fails.
    pub fn finish(self, compression: Compression) -> Result<Encoded, Error> {
        if self.count == 0 {
            return Err(Error::Empty);
        }
        let mut bytes = self.buffer;
        if compression != Compression::None {
            let packed = compression.pack(bytes.get(HEADER_BYTES..).unwrap_or_default())?;
            bytes.truncate(HEADER_BYTES);
            bytes.extend_from_slice(&packed);
        }
        // Kafka's limits keep a batch far below 2 GiB; one that is not is refused rather than cut.
        let length = i32::try_from(bytes.len() - LENGTH_AT - 4).map_err(|_| Error::NotABatch)?;
        put(&mut bytes, LENGTH_AT, &length.to_be_bytes())?;
        put(&mut bytes, LENGTH_AT + 4, &(-1_i32).to_be_bytes())?;
        put(&mut bytes, MAGIC_AT, &[2])?;
        put(
            &mut bytes,
            ATTRIBUTES_AT,
            &i16::from(compression.code()).to_be_bytes(),
        )?;
        put(&mut bytes, LAST_DELTA_AT, &(self.count - 1).to_be_bytes())?;
        put(
            &mut bytes,
            FIRST_TIMESTAMP_AT,
            &self.first_timestamp.to_be_bytes(),
        )?;
        put(&mut bytes, MAX_TIMESTAMP_AT, &self.max_timestamp.to_be_bytes())?;
        put(&mut bytes, PRODUCER_ID_AT, &(-1_i64).to_be_bytes())?;
        put(&mut bytes, EPOCH_AT, &(-1_i16).to_be_bytes())?;
        put(&mut bytes, SEQUENCE_AT, &(-1_i32).to_be_bytes())?;
        put(&mut bytes, COUNT_AT, &self.count.to_be_bytes())?;
        Ok(Encoded {
            bytes,
            count: self.count,
        })
    }
}

impl Encoded {
    /// Records in it.
    #[must_use]
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// Its bytes as they will be sent.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The batch with `stamp`, ready to be kept and sent any number of times.
    ///
    /// # Errors
    /// When the stamp counts other records than the batch has.
    pub fn stamp(mut self, stamp: &Stamp) -> Result<Bytes, Error> {
        write_stamp(&mut self.bytes, stamp)?;
        Ok(self.bytes.freeze())
    }

    /// The batch without a stamp: Kafka appends it as often as it is sent.
    ///
    /// # Errors
    /// Never for a batch that was finished.
    pub fn unstamped(mut self) -> Result<Bytes, Error> {
        let crc = checksum(&self.bytes)?;
        put(&mut self.bytes, CRC_AT, &crc.to_be_bytes())?;
        Ok(self.bytes.freeze())
    }
}

/// A length as a varint holds it. Fields are slices in memory, which are shorter than 2^63.
fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn varint_bytes(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn field_bytes(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| varint_bytes(length(bytes.len())) + bytes.len())
}

fn put_varint(buffer: &mut BytesMut, value: i64) {
    let mut rest = zigzag(value);
    let mut bytes = [0_u8; 10];
    let mut used = 0;
    for place in &mut bytes {
        used += 1;
        // The lowest seven bits, and whether more follow.
        *place = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            break;
        }
        *place |= 0x80;
    }
    buffer.extend_from_slice(bytes.get(..used).unwrap_or_default());
}

fn put_field(buffer: &mut BytesMut, field: Option<&[u8]>) {
    match field {
        Some(bytes) => {
            put_varint(buffer, length(bytes.len()));
            buffer.extend_from_slice(bytes);
        }
        None => put_varint(buffer, -1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_the_size_that_is_reckoned() {
        for value in [0, -1, 1, 63, 64, -64, -65, 8191, 8192, i64::MAX, i64::MIN] {
            let mut buffer = BytesMut::new();
            put_varint(&mut buffer, value);
            assert_eq!(buffer.len(), varint_bytes(value), "{value}");
        }
    }

    #[test]
    fn a_full_batch_stays_as_it_is() {
        let mut builder = Builder::new(HEADER_BYTES + 20);
        let now = Timestamp::from_millis(1);
        builder.push(Some(b"k"), Some(b"v"), &[], now).unwrap();
        let before = builder.bytes();
        assert!(builder.push(None, Some(&[0; 20]), &[], now).is_err());
        assert_eq!((builder.bytes(), builder.count()), (before, 1));
        assert!(
            Builder::new(100).finish(Compression::None).is_err(),
            "an empty batch"
        );
    }
}
