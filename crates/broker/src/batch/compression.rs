//! Compression of batches: what is written and all that is read.

use std::io::{Read, Write};

use bytes::Bytes;

use super::Error;

/// The largest window that a zstd frame may ask for, as a power of two: 2^27 bytes is what Kafka's own writers use.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How a batch that we write is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// LZ4 frames: cheap.
    Lz4,
    /// Zstandard, level 1: smaller.
    Zstd,
}

impl Compression {
    /// The code in a batch's attributes.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    pub(super) fn pack(self, records: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::None => Ok(records.to_vec()),
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::with_capacity(records.len() / 2));
                encoder
                    .write_all(records)
                    .map_err(|error| failed("lz4", &error))?;
                encoder.finish().map_err(|error| failed("lz4", &error))
            }
            Self::Zstd => zstd::bulk::compress(records, 1).map_err(|error| failed("zstd", &error)),
        }
    }
}

/// Decompresses `packed` by the codec of a batch's attributes; no more than `limit` bytes come out.
pub(super) fn unpack(codec: u8, packed: &Bytes, limit: usize) -> Result<Bytes, Error> {
    match codec {
        0 => Ok(packed.clone()),
        1 => read_all("gzip", flate2::read::MultiGzDecoder::new(packed.as_ref()), limit),
        2 => snappy(packed, limit),
        3 => read_all("lz4", lz4_flex::frame::FrameDecoder::new(packed.as_ref()), limit),
        4 => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed.as_ref())
                .map_err(|error| failed("zstd", &error))?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(|error| failed("zstd", &error))?;
            read_all("zstd", decoder, limit)
        }
        other => Err(Error::UnknownCodec(other)),
    }
}

fn read_all(codec: &'static str, decoder: impl Read, limit: usize) -> Result<Bytes, Error> {
    let mut unpacked = Vec::new();
    decoder
        .take((limit as u64).saturating_add(1))
        .read_to_end(&mut unpacked)
        .map_err(|error| failed(codec, &error))?;
    if unpacked.len() > limit {
        return Err(Error::TooLarge { limit });
    }
    Ok(unpacked.into())
}

/// Raw snappy, as librdkafka may write it, or the framing of snappy-java, as the Java client writes it: a magic, two
/// version numbers, then blocks, each behind its length.
fn snappy(packed: &[u8], limit: usize) -> Result<Bytes, Error> {
    const MAGIC: &[u8] = b"\x82SNAPPY\0";
    const FRAME_HEADER_BYTES: usize = 16;
    let mut unpacked = Vec::new();
    if !packed.starts_with(MAGIC) {
        snappy_block(packed, limit, &mut unpacked)?;
        return Ok(unpacked.into());
    }
    let mut rest = packed.get(FRAME_HEADER_BYTES..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (block, behind) = behind
            .split_at_checked(length)
            .ok_or_else(|| failed("snappy", &"a block is cut off"))?;
        snappy_block(block, limit, &mut unpacked)?;
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(failed("snappy", &"a block is cut off"));
    }
    Ok(unpacked.into())
}

fn snappy_block(block: &[u8], limit: usize, unpacked: &mut Vec<u8>) -> Result<(), Error> {
    let length = snap::raw::decompress_len(block).map_err(|error| failed("snappy", &error))?;
    if unpacked.len().saturating_add(length) > limit {
        return Err(Error::TooLarge { limit });
    }
    let part = snap::raw::Decoder::new()
        .decompress_vec(block)
        .map_err(|error| failed("snappy", &error))?;
    unpacked.extend_from_slice(&part);
    Ok(())
}

fn failed(codec: &'static str, reason: &dyn std::fmt::Display) -> Error {
    Error::Decompress {
        codec,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> Vec<(u8, Vec<u8>)> {
        let data = vec![b'x'; 100_000];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&data).unwrap();
        let raw = snap::raw::Encoder::new().compress_vec(&data).unwrap();
        let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        for half in [&data[..50_000], &data[50_000..]] {
            let block = snap::raw::Encoder::new().compress_vec(half).unwrap();
            framed.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
            framed.extend_from_slice(&block);
        }
        vec![
            (1, gzip.finish().unwrap()),
            (2, raw),
            (2, framed),
            (3, Compression::Lz4.pack(&data).unwrap()),
            (4, Compression::Zstd.pack(&data).unwrap()),
        ]
    }

    #[test]
    fn every_codec_is_read_within_the_limit() {
        for (codec, packed) in packed() {
            let packed = Bytes::from(packed);
            let unpacked = unpack(codec, &packed, 100_000).unwrap();
            assert!(unpacked.len() == 100_000 && unpacked.iter().all(|byte| *byte == b'x'));
            assert_eq!(
                unpack(codec, &packed, 99_999),
                Err(Error::TooLarge { limit: 99_999 }),
                "codec {codec}"
            );
        }
        assert_eq!(unpack(5, &Bytes::new(), 1), Err(Error::UnknownCodec(5)));
    }

    #[test]
    fn cut_bytes_are_an_error() {
        for (codec, packed) in packed() {
            let cut = Bytes::from(packed.clone()).slice(..packed.len() / 2);
            assert!(unpack(codec, &cut, 1 << 20).is_err(), "codec {codec}");
        }
    }
}
