//! The contract of every standby store.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::pin::Pin;

use evenkeel_event::clock::Timestamp;
use evenkeel_event::{TopicId, TopicName};

use crate::{Error, Row, StoredRow, StoredStamp};

/// A future that a trait object can return.
pub type BoxFuture<'store, T> = Pin<Box<dyn Future<Output = T> + Send + 'store>>;

/// A durable place for events that Kafka cannot take now.
///
/// Whatever returns `Ok` is durable. A method whose future is dropped may still take effect. Rows leave through
/// [`Standby::remove`] and [`Standby::place`] alone.
pub trait Standby: Send + Sync + fmt::Debug {
    /// Appends `rows` (at least one) behind all others of `place`, all or none.
    ///
    /// An append that was made before under the same `id` is not made again: its numbers are returned.
    ///
    /// # Errors
    /// [`Error::Full`] at the size limit; what the storage says otherwise. After [`Error::Storage`] the rows may be
    /// there: append them again under the same `id`.
    fn append(&self, place: &Place, id: AppendId, rows: Vec<Row>) -> BoxFuture<'_, Result<Parked, Error>>;

    /// Keeps the stamp under which the rows `rows` of `place` are about to be sent, before they are sent. Replaces
    /// the stamps of these rows. `possible_double` marks their events.
    ///
    /// # Errors
    /// [`Error::NoRows`] when the range holds no row; what the storage says otherwise.
    fn stamp(
        &self,
        place: &Place,
        rows: RangeInclusive<u64>,
        stamp: StoredStamp,
        possible_double: bool,
    ) -> BoxFuture<'_, Result<(), Error>>;

    /// The rows of `place` with numbers above `after`, in order: at least one where there is one, then as many as fit
    /// into `bytes_max`. A row that fails its checksum is left out and reported by [`Standby::damaged`].
    ///
    /// # Errors
    /// What the storage says.
    fn read(
        &self,
        place: &Place,
        after: u64,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRow>, Error>>;

    /// Removes the rows of `place` up to and including `up_to`. Removing what is gone is no error.
    ///
    /// # Errors
    /// What the storage says.
    fn remove(&self, place: &Place, up_to: u64) -> BoxFuture<'_, Result<(), Error>>;

    /// Puts `row` in the place of the rows `rows` of `place`, in one step: it takes the number of the last and keeps
    /// their place in the order. For a batch of which a part turned out to be on the log already.
    ///
    /// # Errors
    /// [`Error::NoRows`] when the range holds no row; what the storage says otherwise.
    fn replace(&self, place: &Place, rows: RangeInclusive<u64>, row: Row)
    -> BoxFuture<'_, Result<(), Error>>;

    /// Moves the rows of `from` up to and including `up_to` on, in one step: they are removed there, and `rows` are
    /// appended to their places. For events that were parked before their partitions were known.
    ///
    /// # Errors
    /// What the storage says. Nothing has moved then, or everything has.
    fn place(&self, from: &Place, up_to: u64, rows: Vec<(Place, Row)>) -> BoxFuture<'_, Result<(), Error>>;

    /// The places that hold rows, the one with the oldest row first.
    ///
    /// # Errors
    /// What the storage says.
    fn open_places(&self) -> BoxFuture<'_, Result<Vec<PlaceStats>, Error>>;

    /// What is parked in all.
    ///
    /// # Errors
    /// What the storage says.
    fn stats(&self) -> BoxFuture<'_, Result<Stats, Error>>;

    /// What could not be read back since the store was opened.
    ///
    /// # Errors
    /// What the storage says.
    fn damaged(&self) -> BoxFuture<'_, Result<Vec<Damage>, Error>>;
}

/// Where rows belong to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The topic.
    pub topic: TopicName,
    /// Its identity when the rows were parked; [`TopicId::UNKNOWN`] before it was known.
    pub topic_id: TopicId,
    /// The partition; `None` for rows parked before it was known.
    pub partition: Option<i32>,
}

/// The identity of one append: a retried one is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppendId {
    /// The process, a random number made at its start.
    pub process: u128,
    /// Its append, counted from 0. A store remembers at least the last 1,024 of all processes.
    pub number: u64,
}

/// What an append came to: the numbers of the first and the last row; those between have the numbers between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parked {
    /// Number of the first row.
    pub first: u64,
    /// Number of the last row.
    pub last: u64,
}

/// What one place holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceStats {
    /// The place.
    pub place: Place,
    /// Its events.
    pub events: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// When its oldest row was parked.
    pub oldest: Timestamp,
    /// Number of its first row.
    pub first: u64,
    /// Number of its last row.
    pub last: u64,
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Parked events.
    pub events: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// When the oldest row was parked.
    pub oldest: Option<Timestamp>,
    /// Places that hold rows.
    pub places: u64,
    /// Bytes that the store uses, those not yet reclaimed included.
    pub used_bytes: u64,
    /// Most bytes that it may use.
    pub limit_bytes: u64,
}

/// Bytes that could not be read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The place they belong to, where that is known.
    pub place: Option<Place>,
    /// The rows that are lost with them, where that is known.
    pub rows: Option<RangeInclusive<u64>>,
    /// The file and the position in it.
    pub file: PathBuf,
    /// Offset of the first damaged byte in `file`.
    pub offset: u64,
    /// Where a copy of the bytes is kept.
    pub kept_at: PathBuf,
}
