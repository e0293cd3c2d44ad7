//! What a partition's session orders.

use std::ops::Range;
use std::time::Duration;

use evenkeel_event::clock::Timestamp;

use crate::answer::{Refusal, Trouble};
use crate::{Stamp, Stamping};

/// The caller's name for a published batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Some neighbouring records of a published batch, which share an outcome. Each record of a batch is claimed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The published batch.
    pub ticket: Ticket,
    /// Index of the first record within that batch.
    pub first: i32,
    /// Records, at least 1.
    pub count: i32,
}

/// What became of published records (invariant **owned**).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// On the log.
    Published {
        /// Offset of the first record; the others follow. `None` when the broker only said that they are there.
        offset: Option<i64>,
    },
    /// In the standby store.
    Parked {
        /// Position of the first record in the partition's lane; the others follow.
        position: u64,
    },
    /// Durably on its way to the dead-letter topic.
    DeadLettered {
        /// Why.
        refusal: Refusal,
    },
    /// In no durable place that is known.
    Failed {
        /// True when it may be written nevertheless, now or later; publishing with the same id then joins it.
        may_have_landed: bool,
        /// Why.
        reason: Reason,
    },
}

/// Why published records could not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Kafka cannot take them and the standby store is full or cannot be reached.
    StandbyRefused,
    /// Kafka cannot take them and the standby store does not say whether it has them.
    StandbyUnknown,
    /// More was published than may wait.
    QueueFull,
    /// The partition is closed.
    Closed,
    /// The event is wrong, and its dead letter could not be written either.
    LetterLost,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order<P> {
    /// Send the batch to the partition's leader with exactly this stamp and these timestamps.
    Send {
        /// Names the attempt in its answer.
        attempt: u64,
        /// The stamp, the timestamp and the mark of a possible double.
        stamping: Stamping,
        /// The records.
        payload: P,
    },
    /// Append the batches durably at the end of the lane in the store, all or none, under (this process, `append`), so
    /// that the same append ordered again is one.
    Append {
        /// Number of the append, from 1.
        append: u64,
        /// The batches, with the stamps under which some were sent.
        batches: Vec<(Option<Stamping>, P)>,
    },
    /// Store the stamps durably, all or none. Each replaces whatever stamp covered one of its positions.
    StoreStamps {
        /// Names the write.
        write: u64,
        /// The stamps.
        stamps: Vec<StampedRange>,
    },
    /// Read a bounded number of records of the lane.
    Read {
        /// Position of the first.
        from: u64,
    },
    /// Remove the records below a position durably.
    Remove {
        /// Position of the oldest record to keep.
        below: u64,
    },
    /// Search the partition for the payload's events by id, up to its high watermark.
    Search {
        /// Names the search.
        search: u64,
        /// The records looked for.
        payload: P,
        /// Where to begin. `None`, or an offset beyond the log's end: at the first record as young as `since`.
        from: Option<i64>,
        /// When the batch was stamped.
        since: Timestamp,
    },
    /// Write a dead letter for the single record that is refused.
    DeadLetter {
        /// Names the letter.
        letter: u64,
        /// The one record.
        payload: P,
        /// Why.
        refusal: Refusal,
    },
    /// Tell the callers.
    Acknowledge {
        /// Whom.
        claim: Claim,
        /// What.
        outcome: Outcome,
    },
    /// Get a producer id from the cluster and tell it.
    AskProducer {
        /// The id that is used up, where one is.
        used_up: Option<i64>,
    },
    /// Tell the time at this instant of the monotonic clock. Replaces earlier ones.
    WakeAt(Duration),
    /// An operator must mend something.
    Alarm(Trouble),
}

/// A stamp over records in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StampedRange {
    /// Position of the first; the stamp tells how many.
    pub position: u64,
    /// The stamp.
    pub stamping: Stamping,
}

impl StampedRange {
    /// The positions that it covers.
    #[must_use]
    pub fn positions(&self) -> Range<u64> {
        let count = u64::try_from(self.stamping.stamp.count).unwrap_or(0);
        self.position..self.position.saturating_add(count)
    }

    /// What is left of it over `positions`, when records of its batch are lost: the same stamp, but so old that it decides
    /// nothing. The batch may have landed, and cannot be sent again as it was: what is left of it must be searched for.
    /// `None` when it covers none of them.
    #[must_use]
    pub fn undecided(&self, positions: &Range<u64>) -> Option<Self> {
        let covered = self.positions();
        let position = covered.start.max(positions.start);
        let before = i32::try_from(position.checked_sub(covered.start)?).ok()?;
        let count = i32::try_from(covered.end.min(positions.end).checked_sub(position)?).ok()?;
        let of_all = self.stamping.stamp;
        let skipped = Stamp {
            count: before,
            ..of_all
        };
        let stamp = Stamp {
            base_sequence: skipped.next_sequence(),
            count,
            ..of_all
        };
        let at = Timestamp::from_millis(0);
        let stamping = Stamping {
            stamp,
            at,
            ..self.stamping
        };
        (count > 0).then_some(Self { position, stamping })
    }
}
