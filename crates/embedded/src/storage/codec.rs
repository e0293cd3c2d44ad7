//! Opens compressed batches, for lookups by time and for compaction. Nothing is ever compressed here.

use std::io::{self, Read};

use bytes::Bytes;

use super::batch::{HEADER_BYTES, Header};

/// Bytes that the records of one batch may have: a batch that unpacks to more is left alone.
const UNPACKED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The largest window that a zstd frame may ask for, as a power of two.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The records of a whole batch, unpacked.
pub(super) fn records(header: &Header, batch: &Bytes) -> io::Result<Bytes> {
    if batch.len() < HEADER_BYTES {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let packed = batch.slice(HEADER_BYTES..);
    match header.codec() {
        0 => Ok(packed),
        1 => read_all(flate2::read::MultiGzDecoder::new(packed.as_ref())),
        2 => snappy(&packed),
        3 => read_all(lz4_flex::frame::FrameDecoder::new(packed.as_ref())),
        4 => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed.as_ref())?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            read_all(decoder)
        }
        other => Err(io::Error::other(format!("compression {other} is unknown"))),
    }
}

fn too_large() -> io::Error {
    io::Error::other(format!("a batch unpacks to more than {UNPACKED_BYTES_MAX} bytes"))
}

fn read_all(decoder: impl Read) -> io::Result<Bytes> {
    let mut unpacked = Vec::new();
    let limit = UNPACKED_BYTES_MAX as u64;
    decoder.take(limit + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() > UNPACKED_BYTES_MAX {
        return Err(too_large());
    }
    Ok(unpacked.into())
}

/// Raw snappy as librdkafka writes it, or the blocks of snappy-java behind their magic as the Java client does.
fn snappy(packed: &[u8]) -> io::Result<Bytes> {
    const MAGIC: &[u8] = b"\x82SNAPPY\0";
    const FRAME_HEADER_BYTES: usize = 16;
    let mut unpacked = Vec::new();
    if !packed.starts_with(MAGIC) {
        snappy_block(packed, &mut unpacked)?;
        return Ok(unpacked.into());
    }
    let mut rest = packed.get(FRAME_HEADER_BYTES..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (block, behind) = behind
            .split_at_checked(length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        snappy_block(block, &mut unpacked)?;
        rest = behind;
    }
    if rest.is_empty() {
        Ok(unpacked.into())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn snappy_block(block: &[u8], unpacked: &mut Vec<u8>) -> io::Result<()> {
    let length = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    if unpacked.len().saturating_add(length) > UNPACKED_BYTES_MAX {
        return Err(too_large());
    }
    let part = snap::raw::Decoder::new()
        .decompress_vec(block)
        .map_err(io::Error::other)?;
    unpacked.extend_from_slice(&part);
    Ok(())
}
