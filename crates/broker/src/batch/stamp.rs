//! The stamp in a finished batch's header.

use evenkeel_event::clock::Timestamp;
use evenkeel_flow::Stamp;

use super::{
    COUNT_AT, CRC_AT, EPOCH_AT, Error, FIRST_TIMESTAMP_AT, HEADER_BYTES, MAX_TIMESTAMP_AT, PRODUCER_ID_AT,
    SEQUENCE_AT, array, checksum, i16_at, i32_at, i64_at, put,
};

/// Writes `stamp` into a finished batch, in place; its records stay as they are.
///
/// # Errors
/// When `batch` is no batch, or the stamp counts other records than it has.
pub fn write_stamp(batch: &mut [u8], stamp: &Stamp) -> Result<(), Error> {
    if batch.len() < HEADER_BYTES {
        return Err(Error::NotABatch);
    }
    let records = i32_at(batch, COUNT_AT).ok_or(Error::NotABatch)?;
    if records != stamp.count {
        return Err(Error::Count {
            stamped: stamp.count,
            records,
        });
    }
    put(batch, PRODUCER_ID_AT, &stamp.producer_id.to_be_bytes())?;
    put(batch, EPOCH_AT, &stamp.epoch.to_be_bytes())?;
    put(batch, SEQUENCE_AT, &stamp.base_sequence.to_be_bytes())?;
    seal(batch)
}

/// Writes the checksum into a finished batch, in place.
///
/// # Errors
/// When `batch` is no batch.
pub fn seal(batch: &mut [u8]) -> Result<(), Error> {
    let crc = checksum(batch)?;
    put(batch, CRC_AT, &crc.to_be_bytes())
}

/// As [`write_stamp`], and gives every record the timestamp `at`. For a batch whose records were all given one timestamp.
///
/// # Errors
/// When `batch` is no batch, or the stamp counts other records than it has.
pub fn write_stamp_at(batch: &mut [u8], stamp: &Stamp, at: Timestamp) -> Result<(), Error> {
    for position in [FIRST_TIMESTAMP_AT, MAX_TIMESTAMP_AT] {
        put(batch, position, &at.millis().to_be_bytes())?;
    }
    write_stamp(batch, stamp)
}

/// The header of `batch` with `stamp` in it, every record having the timestamp `at`: with it before the batch's records,
/// the batch is as [`write_stamp_at`] would make it. Its own checksum need not be right.
///
/// # Errors
/// When `batch` is no batch, or the stamp counts other records than it has.
pub fn stamped_header(batch: &[u8], stamp: &Stamp, at: Timestamp) -> Result<[u8; HEADER_BYTES], Error> {
    let (own, records) = batch.split_first_chunk().ok_or(Error::NotABatch)?;
    let mut header: [u8; HEADER_BYTES] = *own;
    for position in [FIRST_TIMESTAMP_AT, MAX_TIMESTAMP_AT] {
        put(&mut header, position, &at.millis().to_be_bytes())?;
    }
    write_stamp(&mut header, stamp)?;
    let of_header = array(&header, CRC_AT)
        .map(u32::from_be_bytes)
        .ok_or(Error::NotABatch)?;
    let crc = crc32c::crc32c_append(of_header, records);
    put(&mut header, CRC_AT, &crc.to_be_bytes())?;
    Ok(header)
}

/// The stamp of a finished batch; `None` when it has none.
#[must_use]
pub fn read_stamp(batch: &[u8]) -> Option<Stamp> {
    let stamp = Stamp {
        producer_id: i64_at(batch, PRODUCER_ID_AT)?,
        epoch: i16_at(batch, EPOCH_AT)?,
        base_sequence: i32_at(batch, SEQUENCE_AT)?,
        count: i32_at(batch, COUNT_AT)?,
    };
    (stamp.producer_id >= 0 && stamp.epoch >= 0 && stamp.base_sequence >= 0).then_some(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batches, Builder, Compression};

    #[test]
    fn a_stamp_is_written_in_place_and_the_records_stay() {
        let mut builder = Builder::new(1 << 20);
        for value in [b"a", b"b"] {
            builder
                .push(None, Some(value), &[], Timestamp::from_millis(5))
                .unwrap();
        }
        let encoded = builder.finish(Compression::None).unwrap();
        let stamp = Stamp {
            producer_id: 77,
            epoch: 3,
            base_sequence: 41,
            count: 2,
        };
        let bytes = encoded.stamp(&stamp).unwrap();
        assert_eq!(read_stamp(&bytes), Some(stamp));
        let batch = Batches::new(bytes.clone()).next().unwrap().unwrap();
        let records = batch.open(1 << 20).unwrap();
        let values: Vec<_> = records.iter().filter_map(|record| record.value).collect();
        assert_eq!(values, [b"a", b"b"]);
        let mut later = bytes.to_vec();
        write_stamp_at(&mut later, &stamp, Timestamp::from_millis(9)).unwrap();
        let mut swapped = bytes.to_vec();
        swapped[CRC_AT] ^= 1;
        let header = stamped_header(&swapped, &stamp, Timestamp::from_millis(9)).unwrap();
        swapped[..HEADER_BYTES].copy_from_slice(&header);
        assert_eq!(swapped, later);
        let batch = Batches::new(later.into()).next().unwrap().unwrap();
        let times: Vec<_> = batch
            .open(1 << 20)
            .unwrap()
            .iter()
            .map(|record| record.timestamp.millis())
            .collect();
        assert_eq!(times, [9, 9]);
        let wrong = Stamp { count: 3, ..stamp };
        assert!(write_stamp(&mut bytes.to_vec(), &wrong).is_err());
    }
}
