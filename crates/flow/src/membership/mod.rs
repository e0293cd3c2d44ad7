//! Membership in a consumer group by Kafka's classic protocol, as a state machine without I/O.
//!
//! ```text
//!            coordinator found        JoinGroup              SyncGroup
//!  Unjoined ------------------> Joining --------> (leader: Describing, plan) ----> Syncing ---> Stable
//!     ^                            ^                                                              |
//!     |  lost: the coordinator     |   given back, committed                       rebalance, or  |
//!     |  does not know us          +------------------------------ Preparing <-- partitions moved +
//!     +------------------------------------------------------------------------------------------- +
//! ```
//!
//! The rules:
//! - Every request carries the identity (member id and generation) that it was sent under, and its answer is judged
//!   against the present one: a late answer for an old generation changes nothing (KAFKA-9823).
//! - An identity that the coordinator no longer knows means that the partitions are *lost*: they may be another's
//!   already, so nothing is committed for them any more. *Revoked* partitions are given back in peace: they are the
//!   member's until the application has released them and their commits are answered.
//! - A commit belongs to a [`Claim`]. One that comes after its claim ended is refused here; one that the coordinator
//!   cannot take now waits, also across a rebalance that leaves the claim in place.
//! - Heartbeats need a connection of their own, because a coordinator answers a connection's requests in turn and
//!   JoinGroup may take minutes. They go on while joining, as the probe that tells a silent coordinator.
//!
//! Sources: KIP-62, KIP-345, KIP-394, KIP-429, KIP-792, KIP-814, KAFKA-9823.

mod assignor;
mod commits;
mod leaving;
mod machine;
mod orders;
mod protocol;
mod replies;
#[cfg(test)]
mod scripts;
mod settings;
#[cfg(test)]
mod simulation;
mod sticky;
mod verdicts;

use evenkeel_event::TopicPartition;

pub use assignor::{Assignor, Candidate, Plan};
pub use machine::Member;
pub use orders::{Input, JoinedMember, Order, Reply};
pub use protocol::{Assignment, Malformed, Subscription};
pub use settings::{Error, Settings};

/// A partition as it was assigned once: when it is taken away and comes back, the claim is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// The partition.
    pub partition: TopicPartition,
    /// Counts the assignments of this member, from 1.
    pub number: u64,
}

/// Who a member is to the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Given by the coordinator; empty before.
    pub member_id: String,
    /// The generation it joined; `None` before.
    pub generation: Option<i32>,
}

/// A position to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The offset of the next record to handle.
    pub offset: i64,
    /// The leader epoch of the last record handled; -1 when unknown (KIP-320).
    pub leader_epoch: i32,
}

/// Why a position was not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitTrouble {
    /// The claim has ended: the partition was lost, or released before.
    NotHeld,
    /// The coordinator could not be brought to answer in time.
    TimedOut,
    /// Too many commits wait already.
    TooMany,
    /// Refused with this error code of Kafka.
    Refused(i16),
}
