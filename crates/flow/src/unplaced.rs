//! Events of a topic whose partitions are not known yet: parked under the topic, then placed.
//!
//! The rules it keeps:
//! - events are placed in the order of the calls, and before anything newer of the topic is published;
//! - each is answered `Parked` only when its append is durable;
//! - once nothing is unplaced, [`Order::Release`] hands the rest over, and the topic stays open.
//!
//! The lane under the topic has positions as a partition's lane has. [`Order::Place`] is one durable step of the store:
//! the records leave this lane and stand at the ends of their partitions' lanes, all or none, so that a crash places
//! each once.

use crate::session::{Claim, Outcome, StoreResult, Ticket};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<P> {
    /// A closed batch is to be published.
    Published {
        /// Names the batch.
        ticket: Ticket,
        /// Its records.
        payload: P,
    },
    /// What the store holds under the topic when the process starts.
    Recovered {
        /// Position of the oldest record.
        head: u64,
        /// Position after the newest record.
        tail: u64,
    },
    /// The topic's partitions became known.
    PartitionsKnown,
    /// What became of an append.
    Appended {
        /// The append.
        append: u64,
        /// What became of it.
        result: StoreResult,
    },
    /// The records below are durably placed.
    Placed {
        /// Position of the oldest record left.
        below: u64,
    },
    /// Nothing more will be published: park what is there.
    Close,
    /// Time has passed.
    Timer,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order<P> {
    /// Append the batches durably at the end of the topic's lane, all or none; the same append ordered again is one.
    Append {
        /// Number of the append, from 1.
        append: u64,
        /// The batches.
        batches: Vec<P>,
    },
    /// Move a bounded number of the oldest records to their partitions' lanes, in one durable step, tell those
    /// partitions that they have grown, and then how far it came. Repeated until it succeeds.
    Place {
        /// Position of the oldest record.
        from: u64,
    },
    /// Publish the batch to its partitions.
    Release {
        /// Names the batch.
        ticket: Ticket,
        /// Its records.
        payload: P,
    },
    /// Tell the callers.
    Acknowledge {
        /// Whom.
        claim: Claim,
        /// What.
        outcome: Outcome,
    },
    /// Tell the time at this instant of the monotonic clock. Replaces earlier ones.
    WakeAt(std::time::Duration),
}
