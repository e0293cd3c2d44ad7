//! What processes tell each other through the shared store.
//!
//! Nothing here holds a time of day: clocks of different machines are never compared. A lease has run out when a process
//! has seen the same renewal for longer than the lease's duration, by its own monotonic clock.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_event::TopicId;

/// A process that shares the store: a random number made at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process(pub u128);

/// The record of one partition, or, where no partition is named, of a topic. Without a record a partition is as
/// [`Diversion::default`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Diversion {
    /// Raised by one each time that the partition goes direct again, from 0. Appends to its lane name it.
    pub epoch: u64,
    /// Where its events go.
    pub phase: Phase,
    /// The topic for which it was diverted; [`TopicId::UNKNOWN`] where nobody knew it.
    pub topic_id: TopicId,
    /// The topic's partitions when it was diverted: by it keys were placed; 0 where nobody knew it.
    pub partition_count: i32,
    /// Who alone drains.
    pub drainer: Option<Process>,
    /// Raised by one each time that a drainer takes over. Stamps are stored under it.
    pub term: u64,
}

/// Where a partition's events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Phase {
    /// To Kafka. The lane in the store is empty.
    #[default]
    Open,
    /// To the store. Some process may not have heard of it: nobody is told `Parked`.
    Diverting,
    /// To the store. Every process that may publish has acknowledged it.
    Diverted,
    /// To the store, but who can wait for a moment does: its last events are being sent.
    Closing,
}

/// What a process tells of itself, and until when it may publish directly.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease<K> {
    /// Whose.
    pub process: Process,
    /// Grows with each renewal, also over a lease that was lost and taken anew.
    pub renewal: u64,
    /// How long it counts, from before its renewal was sent.
    pub duration: Duration,
    /// For each place that is not open: the epoch from whose diversion on nothing is sent directly.
    pub acknowledged: BTreeMap<K, u64>,
}

/// A record with what a conditional write names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Versioned<T> {
    /// Grows with every write of the record, not with appends to its lane; 0 where none was ever written.
    pub version: u64,
    /// The record.
    pub record: T,
}

impl Phase {
    /// True while nobody may publish directly.
    #[must_use]
    pub const fn takes_appends(self) -> bool {
        matches!(self, Self::Diverting | Self::Diverted | Self::Closing)
    }
}
