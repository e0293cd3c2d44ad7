//! Takes a batch apart that was refused as a whole.

use super::{Batch, Builder, Compression, Encoded, Error};

/// The first `first` records of `batch` and the rest, as two batches without stamps. A caller that keeps every record
/// keeps their sequences: the second begins `first` after the first.
///
/// # Errors
/// When the batch cannot be read, or one of the two would be empty.
pub fn split(batch: &Batch, first: i32, compression: Compression) -> Result<(Encoded, Encoded), Error> {
    if first < 1 || first >= batch.count() {
        return Err(Error::Empty);
    }
    let records = batch.open(super::DECOMPRESSED_BYTES_MAX)?;
    let mut parts = (Builder::new(usize::MAX), Builder::new(usize::MAX));
    for record in records.iter() {
        let part = if parts.0.count() < first {
            &mut parts.0
        } else {
            &mut parts.1
        };
        part.put_record(
            record.key,
            record.value,
            record.header_count(),
            record.timestamp,
            record.raw_headers(),
        )
        .map_err(|_full| Error::TooLarge { limit: usize::MAX })?;
    }
    Ok((parts.0.finish(compression)?, parts.1.finish(compression)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_event::Header;
    use evenkeel_event::clock::Timestamp;

    #[test]
    fn every_record_is_in_one_part() {
        let mut builder = Builder::new(1 << 20);
        for value in 0..5_u8 {
            let headers = [Header::new("h", vec![value])];
            builder
                .push(
                    Some(b"k"),
                    Some(&[value]),
                    &headers,
                    Timestamp::from_millis(value.into()),
                )
                .unwrap();
        }
        let whole = builder.finish(Compression::Zstd).unwrap().unstamped().unwrap();
        let whole = Batch::read(whole).unwrap();
        let (first, second) = split(&whole, 2, Compression::Lz4).unwrap();
        assert_eq!((first.count(), second.count()), (2, 3));
        let mut values = Vec::new();
        for part in [first, second] {
            let part = Batch::read(part.unstamped().unwrap()).unwrap();
            for record in part.open(1 << 20).unwrap().iter() {
                assert_eq!(record.header("h"), record.value);
                assert_eq!(record.timestamp.millis(), i64::from(record.value.unwrap()[0]));
                values.push(record.value.unwrap()[0]);
            }
        }
        assert_eq!(values, [0, 1, 2, 3, 4]);
        assert!(split(&whole, 0, Compression::None).is_err());
        assert!(split(&whole, 5, Compression::None).is_err());
    }
}
