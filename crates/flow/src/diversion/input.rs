//! What a member is told.

use evenkeel_event::TopicId;

use super::{Diversion, Lease, Versioned};

/// What happened. Every [`Order`](super::Order) that asks the store is answered once, at the latest after a time-out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input<K> {
    /// A partition's session cannot send, and is to park. Told again while it holds.
    Out {
        /// The partition.
        place: K,
        /// By what its keys are placed.
        placed: Placed,
    },
    /// Whether Kafka takes what is sent to the partition: then it is worth draining.
    Reachable {
        /// The partition.
        place: K,
        /// True when it does.
        is_reachable: bool,
    },
    /// An append found that its epoch has passed.
    Passed {
        /// The partition.
        place: K,
        /// The epoch that it named.
        epoch: u64,
    },
    /// What the drain that this process makes has left.
    Drained {
        /// The partition.
        place: K,
        /// The term of the drain.
        term: u64,
        /// What it has left.
        left: Left,
    },
    /// The answer to [`Order::List`](super::Order::List): every place that is not open, or `None` when it failed.
    Listed {
        /// The places.
        found: Option<Vec<(K, Versioned<Diversion>)>>,
    },
    /// The answer to [`Order::Load`](super::Order::Load), or `None` when it failed.
    Loaded {
        /// The partition.
        place: K,
        /// What it found.
        found: Option<Loaded>,
    },
    /// The answer to [`Order::Put`](super::Order::Put).
    Put {
        /// The partition.
        place: K,
        /// What became of it.
        result: PutResult,
    },
    /// The answer to [`Order::Renew`](super::Order::Renew).
    Renewed {
        /// What became of it.
        result: RenewResult,
    },
    /// The answer to [`Order::ListLeases`](super::Order::ListLeases), or `None` when it failed.
    Leases {
        /// The leases.
        found: Option<Vec<Lease<K>>>,
    },
    /// Time has passed.
    Timer,
}

/// By what the keys of a topic are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Placed {
    /// The topic's id.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partition_count: i32,
}

/// What a drain has left of its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Left {
    /// Nothing that it knows of: all is answered and removed.
    Nothing,
    /// So little that it will soon be sent.
    Little,
    /// More.
    Much,
}

/// A record and its lane, read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Loaded {
    /// The record.
    pub diversion: Versioned<Diversion>,
    /// Position of the oldest record in the lane.
    pub head: u64,
    /// Position after the newest.
    pub tail: u64,
}

/// What became of a conditional write of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PutResult {
    /// It was made, and the record has this version.
    Made(u64),
    /// Its condition does not hold.
    Moved,
    /// It is not known.
    Failed,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RenewResult {
    /// The lease stands.
    Made,
    /// The lease was taken away.
    Lost,
    /// It is not known.
    Failed,
}
