//! The contract of every standby store.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;

use evenkeel_event::TopicName;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::session::{ProducerEpoch, StampedRange};

use crate::{Error, Piece, Row};

/// A future that a trait object can return.
pub type BoxFuture<'store, T> = Pin<Box<dyn Future<Output = T> + Send + 'store>>;

/// A durable place for events that Kafka cannot take now.
///
/// Whatever returns `Ok` is durable. A method whose future is dropped may still take effect. Rows leave through
/// [`Standby::remove`] and [`Standby::place`] alone.
pub trait Standby: Send + Sync + fmt::Debug {
    /// Appends `rows` (at least one) behind all others of `place`, all or none, and returns the position of the first.
    ///
    /// An append that was made before under the same `id` is not made again: its position is returned.
    ///
    /// # Errors
    /// [`Error::Full`] at the size limit; what the storage says otherwise. After [`Error::Storage`] the rows may be
    /// there: append them again under the same `id`.
    fn append(&self, place: &Place, id: AppendId, rows: Vec<Row>) -> BoxFuture<'_, Result<u64, Error>>;

    /// Keeps stamps before batches are sent under them, all or none. Each replaces whatever stamp covered one of its
    /// positions.
    ///
    /// # Errors
    /// [`Error::NoRows`] when a stamp covers a position that holds nothing; what the storage says otherwise.
    fn store_stamps(&self, place: &Place, stamps: Vec<StampedRange>) -> BoxFuture<'_, Result<(), Error>>;

    /// The rows of `place` that hold records from `from` on, in order: at least one where there is one, then as many as
    /// fit into `bytes_max`, then what is stamped together with them. A row that fails its checksum is left out and
    /// reported by [`Standby::damaged`].
    ///
    /// # Errors
    /// What the storage says.
    fn read(&self, place: &Place, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Piece, Error>>;

    /// Removes the records of `place` below a position. Removing what is gone is no error.
    ///
    /// # Errors
    /// What the storage says.
    fn remove(&self, place: &Place, below: u64) -> BoxFuture<'_, Result<(), Error>>;

    /// Moves the records of `from` below a position on, in one step: they are removed there, and `rows` are appended to
    /// their places, at most [`Standby::places_max`] different ones. For events that were parked before their partitions
    /// were known.
    ///
    /// # Errors
    /// What the storage says. After [`Error::Storage`] look at [`Standby::span`]: either everything has moved or nothing.
    fn place(&self, from: &Place, below: u64, rows: Vec<(Place, Row)>) -> BoxFuture<'_, Result<(), Error>>;

    /// The most places to which one [`Standby::place`] moves rows, at least 1.
    fn places_max(&self) -> usize {
        usize::MAX
    }

    /// The positions that a place holds. An empty place says where its next record will stand, from 0.
    ///
    /// # Errors
    /// What the storage says.
    fn span(&self, place: &Place) -> BoxFuture<'_, Result<Span, Error>>;

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
    /// The partition; `None` for rows parked before it was known.
    pub partition: Option<i32>,
}

impl Place {
    /// Stands for the partition of what is kept aside.
    const ASIDE: i32 = -2;
    const HOLDS: i32 = -3;
    const OWNER: i32 = -4;

    /// Where a shared store keeps what is held back of it: no lane, and nothing is ever parked there.
    pub(crate) fn of_holds() -> Self {
        Self::of_store(Self::HOLDS)
    }

    /// Where a shared store keeps whose it is, in the same way.
    pub(crate) fn of_owner() -> Self {
        Self::of_store(Self::OWNER)
    }

    fn of_store(number: i32) -> Self {
        Self {
            topic: TopicName::platform(),
            partition: Some(number),
        }
    }

    /// Where dead letters wait that their own topic refuses: no lane, nothing waits behind them.
    #[must_use]
    pub const fn aside(topic: TopicName) -> Self {
        Self {
            topic,
            partition: Some(Self::ASIDE),
        }
    }

    /// True for a place that [`Place::aside`] made.
    #[must_use]
    pub fn is_aside(&self) -> bool {
        self.partition == Some(Self::ASIDE)
    }
}

/// The identity of one append: a retried one is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppendId {
    /// The process, a random number made at its start.
    pub process: u128,
    /// Its append, counted from 0. A store remembers at least the last 1,024 of all processes.
    pub number: u64,
}

/// The positions of a place's records: dense, growing in append order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Position of the oldest record; equal to `tail` when there is none.
    pub head: u64,
    /// Position after the newest record.
    pub tail: u64,
}

impl Span {
    /// True when the place holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.head >= self.tail
    }
}

/// What one place holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceStats {
    /// The place.
    pub place: Place,
    /// Its records.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When its oldest row was parked.
    pub oldest: Timestamp,
    /// Their positions.
    pub span: Span,
    /// The highest epoch of every producer id under which records were stamped since the place was last empty, those of
    /// removed records included.
    pub epochs: Vec<ProducerEpoch>,
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

/// Sorts what [`Standby::open_places`] tells: the place with the oldest row first.
pub(crate) fn oldest_first(mut open: Vec<PlaceStats>) -> Vec<PlaceStats> {
    open.sort_by(|one, other| (one.oldest, &one.place).cmp(&(other.oldest, &other.place)));
    open
}

impl Stats {
    /// What [`Standby::stats`] tells where these are the places that hold rows, the one with the oldest first.
    pub(crate) fn of(open: &[PlaceStats], used_bytes: u64, limit_bytes: u64) -> Self {
        Self {
            events: open.iter().map(|place| place.events).sum(),
            bytes: open.iter().map(|place| place.bytes).sum(),
            oldest: open.first().map(|place| place.oldest),
            places: open.len() as u64,
            used_bytes,
            limit_bytes,
        }
    }
}

/// Bytes that could not be read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The place they belong to, where that is known.
    pub place: Option<Place>,
    /// The positions that are lost with them, where they are known.
    pub positions: Option<Range<u64>>,
    /// The file and the position in it.
    pub file: PathBuf,
    /// Offset of the first damaged byte in `file`.
    pub offset: u64,
    /// Where a copy of the bytes is kept, or will be kept by the store's owner when only looked at.
    pub kept_at: PathBuf,
}
