//! What a consumer is told.

use evenkeel_flow::membership::{Claim, Mark};
use tokio::sync::mpsc;

use super::command::Command;
use crate::batch::{Batch, RecordView, Records, Unreadable};

/// What comes next for the application.
#[derive(Debug)]
pub enum Event {
    /// These partitions are this consumer's now, from their committed positions on. No claims: it is in the group's new
    /// generation and got nothing more.
    Assigned {
        /// The new ones.
        claims: Vec<Claim>,
        /// The generation.
        generation: i32,
    },
    /// These partitions are to be given back. Their records that were not taken yet are dropped.
    Revoked(Revoked),
    /// These partitions are another's, or about to be: commits for them are refused.
    Lost(Vec<Claim>),
    /// Records of one batch.
    Records(Delivery),
    /// A batch that cannot be read was passed over (invariant **no-poison**).
    Skipped {
        /// Where it lies.
        claim: Claim,
        /// Its bounds, its bytes and what is wrong with it.
        unreadable: Unreadable,
    },
    /// Reading goes on at another offset than the one that was due.
    Moved {
        /// The partition.
        claim: Claim,
        /// The offset that was due.
        from: i64,
        /// The offset that comes next.
        to: i64,
        /// Why.
        cause: MoveCause,
    },
    /// The group cannot be used at present for a reason that somebody must mend: Kafka's error code (30: not
    /// authorised). It is tried again.
    Alarm {
        /// Kafka's error code.
        code: i16,
    },
}

/// Why reading goes on at another offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveCause {
    /// The offset is not on the log: its records were deleted, or the log ends before it.
    OutOfRange,
    /// The log was cut behind what was read, and other records stand there now (KIP-320).
    Truncated,
}

/// Partitions to give back. Finish what is in hand, commit it, then [`release`](Self::release) or drop this.
#[derive(Debug)]
pub struct Revoked {
    claims: Vec<Claim>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Revoked {
    pub(super) const fn new(claims: Vec<Claim>, commands: mpsc::UnboundedSender<Command>) -> Self {
        Self { claims, commands }
    }

    /// The partitions.
    #[must_use]
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Gives them back. Commits that were asked for before are carried out first.
    pub fn release(self) {}
}

impl Drop for Revoked {
    fn drop(&mut self) {
        // Nobody receives it only when the consumer has ended, and then they are given back already.
        drop(
            self.commands
                .send(Command::Released(std::mem::take(&mut self.claims))),
        );
    }
}

/// The records of one batch, as they lie in it.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub(super) claim: Claim,
    pub(super) batch: Batch,
    pub(super) records: Records,
    /// The first offset that was not delivered before.
    pub(super) from: i64,
    pub(super) high_watermark: i64,
}

impl Delivery {
    /// The partition they are from.
    #[must_use]
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The records in order.
    pub fn records(&self) -> impl Iterator<Item = RecordView<'_>> {
        self.records.iter().filter(|record| record.offset >= self.from)
    }

    /// What to commit when all of them are finished.
    #[must_use]
    pub const fn end(&self) -> Mark {
        Mark {
            offset: self.batch.last_offset.saturating_add(1),
            leader_epoch: self.batch.leader_epoch,
        }
    }

    /// What to commit when the record at `offset` and all before it are finished.
    #[must_use]
    pub const fn after(&self, offset: i64) -> Mark {
        Mark {
            offset: offset.saturating_add(1),
            leader_epoch: self.batch.leader_epoch,
        }
    }

    /// The offset behind the partition's last record, when the batch was fetched.
    #[must_use]
    pub const fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The batch.
    #[must_use]
    pub const fn batch(&self) -> &Batch {
        &self.batch
    }
}
