//! Makes batches: records are encoded in place, once.

use bytes::Bytes;
use evenkeel_event::Header;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::Stamp;

use super::body::Body;
use super::record::RecordView;
use super::{
    ATTRIBUTES_AT, COUNT_AT, Compression, EPOCH_AT, Error, FIRST_TIMESTAMP_AT, HEADER_BYTES, LAST_DELTA_AT,
    LENGTH_AT, MAGIC_AT, MAX_TIMESTAMP_AT, PRODUCER_ID_AT, SEQUENCE_AT, put, seal, write_stamp,
};

/// Largest buffer that is taken before anything is written into it, bytes.
const INITIAL_BYTES_MAX: usize = 16 << 10;

/// Collects records into one batch of at most so many bytes.
#[derive(Debug)]
pub struct Builder {
    buffer: Vec<u8>,
    /// The record that is being made.
    body: Body,
    bytes_max: usize,
    count: i32,
    first_timestamp: i64,
    max_timestamp: i64,
}

/// A finished batch that has no stamp yet.
#[derive(Debug, Clone)]
pub struct Encoded {
    bytes: Vec<u8>,
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
        let mut buffer = Vec::with_capacity(capacity.min(bytes_max).max(HEADER_BYTES));
        buffer.resize(HEADER_BYTES, 0);
        Self {
            buffer,
            body: Body::default(),
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
        let pairs = headers
            .iter()
            .map(|header| (header.name.as_bytes(), header.value.as_deref()));
        self.put_record(key, value, headers.len(), timestamp, pairs)
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
        let further = further
            .iter()
            .map(|header| (header.name.as_bytes(), header.value.as_deref()));
        let headers = record.raw_headers().chain(further);
        self.put_record(record.key, record.value, count, timestamp, headers)
    }

    /// Adds a record with these headers, `header_count` of them.
    ///
    /// # Errors
    /// [`Full`] when it does not fit, also when it would be the only one.
    pub(super) fn put_record<'header>(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        header_count: usize,
        timestamp: Timestamp,
        headers: impl Iterator<Item = (&'header [u8], Option<&'header [u8]>)>,
    ) -> Result<(), Full> {
        let mut body = std::mem::take(&mut self.body);
        body.begin(key, value, header_count);
        for (name, value) in headers {
            body.header(name, value);
        }
        let put = self.put_body(&body, timestamp);
        self.body = body;
        put
    }

    /// Adds a record that was made in memory of the caller's. Nothing is allocated for it but the batch's own room.
    ///
    /// # Errors
    /// [`Full`] when it does not fit, also when it would be the only one.
    pub fn put_body(&mut self, body: &Body, timestamp: Timestamp) -> Result<(), Full> {
        let first = if self.count == 0 {
            timestamp.millis()
        } else {
            self.first_timestamp
        };
        let timestamp_delta = timestamp.millis().wrapping_sub(first);
        let rest = body.bytes();
        let bytes = 1 + varint_bytes(timestamp_delta) + varint_bytes(i64::from(self.count)) + rest.len();
        let record_bytes = varint_bytes(length(bytes)) + bytes;
        if self.buffer.len().saturating_add(record_bytes) > self.bytes_max || self.count == i32::MAX {
            return Err(Full {
                record_bytes,
                batch_bytes: self.buffer.len(),
                bytes_max: self.bytes_max,
            });
        }
        self.buffer.reserve(record_bytes);
        put_varint(&mut self.buffer, length(bytes));
        self.buffer.push(0);
        put_varint(&mut self.buffer, timestamp_delta);
        put_varint(&mut self.buffer, i64::from(self.count));
        self.buffer.extend_from_slice(rest);
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
        Ok(self.bytes.into())
    }

    /// The batch without a stamp: Kafka appends it as often as it is sent.
    ///
    /// # Errors
    /// Never for a batch that was finished.
    pub fn unstamped(mut self) -> Result<Bytes, Error> {
        seal(&mut self.bytes)?;
        Ok(self.bytes.into())
    }

    /// The batch without stamp and checksum, for whoever gives it a [`stamped_header`](super::stamped_header) when it is
    /// sent, or [`seal`]s it before it is read.
    #[must_use]
    pub fn unsealed(self) -> Bytes {
        self.bytes.into()
    }
}

/// A length as a varint holds it. Fields are slices in memory, which are shorter than 2^63.
pub(super) fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn varint_bytes(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

pub(super) fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        // The lowest seven bits, and that more follow.
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_the_size_that_is_reckoned() {
        for value in [0, -1, 1, 63, 64, -64, -65, 8191, 8192, i64::MAX, i64::MIN] {
            let mut buffer = Vec::new();
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
