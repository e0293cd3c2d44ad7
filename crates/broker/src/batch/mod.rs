//! Record batches, version 2 (KIP-98): made in place, stamped in place, read as they lie.
//!
//! ```text
//! 0 base offset i64 | 8 length i32 | 12 leader epoch i32 | 16 magic i8 | 17 CRC-32C u32 | 21 attributes i16
//! 23 last offset delta i32 | 27 first timestamp i64 | 35 highest timestamp i64 | 43 producer id i64
//! 51 epoch i16 | 53 base sequence i32 | 57 record count i32 | 61 records
//! ```
//! The CRC covers everything from the attributes on.

mod body;
mod build;
mod compression;
mod read;
mod record;
mod split;
mod stamp;
mod transactions;

pub use body::{Body, put_header};
pub use build::{Builder, Encoded, Full};
pub use compression::Compression;
pub use read::{Batch, Batches, Records, Unreadable};
pub use record::RecordView;
pub use split::split;
pub use stamp::{read_stamp, seal, stamped_header, write_stamp, write_stamp_at};
pub use transactions::Transactions;

/// Bytes before a batch's first record.
pub const HEADER_BYTES: usize = 61;
/// Most bytes that a batch may have after decompression, where the caller gives no limit.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_DELTA_AT: usize = 23;
const FIRST_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const EPOCH_AT: usize = 51;
const SEQUENCE_AT: usize = 53;
const COUNT_AT: usize = 57;

/// Why a batch cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Fewer bytes than a batch has, or a length that is not theirs.
    #[error("the bytes are no whole record batch of version 2")]
    NotABatch,
    /// The checksum does not match.
    #[error("the checksum does not match: stored {stored:08x}, computed {computed:08x}")]
    Corrupt {
        /// As the batch says.
        stored: u32,
        /// As its bytes say.
        computed: u32,
    },
    /// The stamp counts other records than the batch has.
    #[error("a stamp for {stamped} records on a batch of {records}")]
    Count {
        /// Records that the stamp counts.
        stamped: i32,
        /// Records in the batch.
        records: i32,
    },
    /// The codec is not known.
    #[error("compression codec {0} is not known")]
    UnknownCodec(u8),
    /// The bytes cannot be decompressed.
    #[error("cannot be decompressed ({codec}): {reason}")]
    Decompress {
        /// The codec.
        codec: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// More bytes than allowed after decompression.
    #[error("more than {limit} bytes after decompression")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// A record is malformed.
    #[error("record {index} of the batch is malformed")]
    Record {
        /// Its position in the batch, from 0.
        index: i32,
    },
    /// A batch has 1 to 2^31-1 records.
    #[error("a batch needs at least one record")]
    Empty,
}

/// Reads `N` bytes at `at`.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    array(bytes, at).map(i64::from_be_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    array(bytes, at).map(i32::from_be_bytes)
}

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    array(bytes, at).map(i16::from_be_bytes)
}

/// Writes `value` at `at`; `bytes` must reach that far.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Result<(), Error> {
    bytes
        .get_mut(at..at + value.len())
        .ok_or(Error::NotABatch)?
        .copy_from_slice(value);
    Ok(())
}

/// The checksum that `batch` should carry.
fn checksum(batch: &[u8]) -> Result<u32, Error> {
    Ok(crc32c::crc32c(
        batch.get(ATTRIBUTES_AT..).ok_or(Error::NotABatch)?,
    ))
}
