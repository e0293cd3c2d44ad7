//! A topic of one partition as a log of keyed records: read from the beginning and followed, appended to durably.

mod kafka;
mod memory;
mod replica;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

pub use kafka::{KafkaJournal, Topic};
pub use memory::{Fault, MemoryJournal};
pub use replica::{Machine, Replica};

/// A future that a [`Journal`] answers with.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A log of keyed records, in production a compacted topic with one partition.
///
/// An implementation keeps the order of its own appends: while one may still land (its answer was [`Error::Unknown`]), no later
/// one is written before it.
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// The topic's name, for messages.
    fn topic(&self) -> &str;

    /// Writes a record durably, once, and answers its offset. Must not be dropped half-way: callers run it in a task of their own.
    fn append(&self, entry: Entry) -> Answer<'_, i64>;

    /// Waits until nothing that this journal was asked to append can still land unanswered.
    fn settle(&self) -> Answer<'_, ()>;

    /// The log's end (high watermark): the offset that the next record will have.
    fn end(&self) -> Answer<'_, i64>;

    /// Reads from an offset on; from 0, from the first record there is. At the end of the log it waits a while for more and may
    /// then answer nothing.
    fn read(&self, from: i64) -> Answer<'_, Chunk>;
}

/// What is appended: a key, and a value or the tombstone that removes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The record's key.
    pub key: Bytes,
    /// The record's value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// A record as it is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset, from 0.
    pub offset: i64,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// Records read in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Records in the order of the log. Offsets that compaction removed are missing.
    pub records: Vec<Record>,
    /// Where to read on.
    pub next: i64,
}

/// Why a journal did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not written, and it will not be.
    #[error("topic {topic}: not written: {reason}")]
    NotWritten {
        /// The topic.
        topic: String,
        /// Why.
        reason: String,
    },
    /// It may be in the log, or come to be.
    #[error("topic {topic}: the answer to a write was lost: {reason}")]
    Unknown {
        /// The topic.
        topic: String,
        /// Why.
        reason: String,
    },
    /// The topic cannot be read now.
    #[error("topic {topic}: cannot be read at offset {offset}: {reason}")]
    NotRead {
        /// The topic.
        topic: String,
        /// Where reading was to begin.
        offset: i64,
        /// Why.
        reason: String,
    },
    /// The log no longer is the one that was read before: it ends before that offset, or begins after it.
    #[error("topic {topic}: offset {offset} is not in the log; the topic was truncated or made anew")]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The offset that was asked for.
        offset: i64,
    },
}
