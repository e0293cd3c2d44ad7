//! What a partition's session is told.

use std::time::Duration;

use evenkeel_event::TopicId;
use evenkeel_event::clock::Timestamp;

use super::Ticket;
use crate::{Answer, Stamping};

/// The time at which something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock, for time-outs and back-off.
    pub elapsed: Duration,
    /// The wall clock, for the records' timestamps and the producer's expiry.
    pub wall: Timestamp,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<P> {
    /// A closed batch is to be published. Only while [`Partition::can_take`](super::Partition::can_take); beyond that
    /// it is refused.
    Published {
        /// Names the batch in [`Claim`](super::Claim)s.
        ticket: Ticket,
        /// Its records.
        payload: P,
    },
    /// A closed batch is to be published by way of the store: as [`Input::Published`], but parked first, so that it is
    /// sent from there under a stored stamp.
    Park {
        /// Names the batch in [`Claim`](super::Claim)s.
        ticket: Ticket,
        /// Its records.
        payload: P,
    },
    /// What became of an attempt to send.
    Answered {
        /// The attempt, as in [`Order::Send`](super::Order::Send).
        attempt: u64,
        /// What became of it.
        answer: Answer,
    },
    /// The partition has a leader that can be reached; the topic has this id ([`TopicId::UNKNOWN`]: not told).
    LeaderKnown {
        /// The topic's id.
        topic_id: TopicId,
    },
    /// The partition is known to have no leader, or its leader is known to be unreachable.
    LeaderGone,
    /// The broker asks to send nothing until then (monotonic). It is no outage.
    Throttled {
        /// When sending may go on.
        until: Duration,
    },
    /// A producer id was obtained. Its epoch begins at 0 for this partition.
    Producer {
        /// The id.
        id: i64,
    },
    /// What the store holds of this partition when the process starts; told before anything is published.
    Recovered {
        /// Position of the oldest record.
        head: u64,
        /// Position after the newest record; equal to `head` when it holds none.
        tail: u64,
        /// The highest epoch of every producer id under which any record of the lane was ever stamped, those included
        /// that are removed: only above it a sequence is not used up.
        epochs: Vec<ProducerEpoch>,
    },
    /// Records were added to the lane in the store by placing those of a topic whose partitions were not known.
    Grown {
        /// Position of the oldest record.
        head: u64,
        /// Position after the newest record.
        tail: u64,
    },
    /// What became of an append.
    Appended {
        /// The append, as in [`Order::Append`](super::Order::Append).
        append: u64,
        /// What became of it.
        result: StoreResult,
    },
    /// The stamps are durable.
    StampsStored {
        /// The write, as in [`Order::StoreStamps`](super::Order::StoreStamps).
        write: u64,
    },
    /// The records below are durably removed.
    Removed {
        /// Position of the oldest record left.
        below: u64,
    },
    /// Records read from the lane, from the position asked for on; none when the lane ends there. What the store cannot
    /// read back is left out.
    Read {
        /// The batches, a bounded number. Neighbouring records without a stamp may be joined as the shell likes; a
        /// stamped batch is whole.
        batches: Vec<Stored<P>>,
    },
    /// What a search of the log came to.
    Searched {
        /// The search, as in [`Order::Search`](super::Order::Search).
        search: u64,
        /// What it came to.
        result: SearchResult,
    },
    /// A dead letter was written.
    Lettered {
        /// The letter, as in [`Order::DeadLetter`](super::Order::DeadLetter).
        letter: u64,
        /// False when neither its topic nor the store took it.
        durable: bool,
    },
    /// An operator holds the partition's lane, or lets it go: while it is held nothing that the store holds is sent, and
    /// what is published behind it is parked.
    Hold {
        /// True to hold it.
        held: bool,
    },
    /// Where events go, of a lane that several processes share. Of no other is it told.
    Way(Way),
    /// The shared store cannot be told that the partition is out: what is to be parked is refused.
    NotDiverted,
    /// Nothing more will be published: send or park what is there. [`Partition::is_idle`](super::Partition::is_idle)
    /// tells when that is done.
    Close,
    /// Time has passed.
    Timer,
}

/// Where the events of a shared lane go. Who shares it decides, see [`diversion`](crate::diversion).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// To Kafka.
    Direct,
    /// To the store.
    Park,
    /// Not decided: what is not stamped waits.
    Hold,
    /// Nowhere: what is not stamped is refused.
    Refuse,
}

/// An epoch of a producer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEpoch {
    /// The producer id.
    pub producer_id: i64,
    /// The epoch, from 0.
    pub epoch: i16,
}

/// A batch read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<P> {
    /// Position of its first record.
    pub position: u64,
    /// Its records.
    pub payload: P,
    /// The stamp that was stored for it.
    pub stamping: Option<Stamping>,
}

/// What became of an append to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreResult {
    /// It is durable.
    Durable {
        /// Position of its first record.
        position: u64,
    },
    /// It is certain that nothing of it is or will be stored: the store is full or was not reached.
    Refused,
    /// It is certain that nothing of it is or will be stored, because the shared lane goes another way now. What was to be
    /// appended goes there.
    Passed,
    /// It may be stored. The same append is ordered again, and if it was stored it counts once.
    Unknown,
}

/// What a search of the log by event id came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchResult {
    /// The log was read up to its high watermark: for each record of the payload, in order, the offset of its event's
    /// first occurrence.
    Found(Vec<Option<i64>>),
    /// It cannot be searched: retention or compaction took what would have to be read, or reading is not permitted.
    NotSearchable,
    /// It could not be searched now; it will be ordered again.
    Failed,
}

impl Now {
    /// The time at `elapsed` on the monotonic clock and `wall` on the wall clock.
    #[must_use]
    pub const fn new(elapsed: Duration, wall: Timestamp) -> Self {
        Self { elapsed, wall }
    }
}
