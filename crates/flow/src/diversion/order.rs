//! What a member orders.

use std::time::Duration;

use super::{Diversion, Lease, Process};

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Order<K> {
    /// List the places that are not open.
    List,
    /// Load a record and what its lane holds.
    Load {
        /// The partition.
        place: K,
    },
    /// Write a record on condition.
    Put {
        /// The partition.
        place: K,
        /// Only when the record has this version.
        version: u64,
        /// Only when the lane ends here.
        tail: Option<u64>,
        /// The record.
        diversion: Diversion,
    },
    /// Write this process's lease.
    Renew {
        /// The lease.
        lease: Lease<K>,
        /// Also when none stands.
        joins: bool,
    },
    /// List the leases.
    ListLeases,
    /// Take a lease that has run out away. It is not answered.
    Revoke {
        /// Whose.
        process: Process,
        /// Only when this is its renewal.
        renewal: u64,
    },
    /// The partition's events go another way from now on. What [`Member::way`](super::Member::way) says still counts: this
    /// tells when to ask again.
    Turned {
        /// The partition.
        place: K,
        /// The way.
        way: Way,
    },
    /// Who appended under an epoch below this one is to be told `Parked`.
    Settled {
        /// The partition.
        place: K,
        /// The epoch.
        below: u64,
    },
    /// The store cannot be told that the partition is out: what is to be parked is refused.
    NotDiverted {
        /// The partition.
        place: K,
    },
    /// Drain the partition's lane, storing stamps under this term, with a producer id that stamped nothing yet.
    Drain {
        /// The partition.
        place: K,
        /// The term.
        term: u64,
        /// Position of the oldest record, as far as it is known.
        head: u64,
        /// Position after the newest record.
        tail: u64,
    },
    /// The lane that is drained has grown.
    Grown {
        /// The partition.
        place: K,
        /// Position of the oldest record.
        head: u64,
        /// Position after the newest record.
        tail: u64,
    },
    /// Stop draining: send nothing more and forget.
    StopDrain {
        /// The partition.
        place: K,
    },
    /// Whether this process holds a lease has changed; without one, its mode decides what it does.
    Guarded(bool),
    /// Tell the time at this instant of the monotonic clock. Replaces earlier ones.
    WakeAt(Duration),
}

/// Where an event goes that is published now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// To Kafka.
    Direct,
    /// To the store, appended under this epoch.
    Park {
        /// The epoch.
        epoch: u64,
    },
    /// As [`Way::Park`], but it may wait a moment, because the partition will soon be open.
    Linger {
        /// The epoch.
        epoch: u64,
    },
    /// Not decided: it waits.
    Hold,
    /// Nowhere: the store cannot be reached, and the mode is strict.
    Refuse,
}
