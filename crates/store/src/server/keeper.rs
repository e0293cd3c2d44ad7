//! What a shared standby store asks of the server that keeps it.

use std::fmt;

use bytes::Bytes;
use evenkeel_flow::diversion::Process;

use crate::standby::BoxFuture;
use crate::{Error, Place};

/// A server that keeps records of places, blocks of rows and leases of processes, each as bytes that it does not look into.
/// What they mean, and all that can be decided, is [`ServerStandby`](crate::ServerStandby)'s: a keeper only writes on a
/// condition, and reads.
///
/// - Each call is one step that all processes see whole. What is answered is durable, and is what was written before the
///   call began: no read of a replica or of an index that lags.
/// - Whatever waits ends: each call answers within the keeper's own time limit.
/// - An answer that a condition does not hold is given only when nothing was written by this call or will be. A call whose
///   answer was lost ends with an error for which [`Error::may_have_been_made`] holds, unless the server tells what became
///   of it.
/// - A future that is dropped may still take effect.
pub trait Keeper: Send + Sync + fmt::Debug + 'static {
    /// The server and what of it is used, for errors and reports; without secrets. For example
    /// `PostgreSQL db.example.com:5432/orders, schema evenkeel`.
    fn name(&self) -> &str;

    /// Makes or checks what the other calls need to be there. Called before them, until it went well once.
    ///
    /// # Errors
    /// What the server says.
    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// The record of a place, if one was ever committed.
    ///
    /// # Errors
    /// What the server says.
    fn record(&self, place: &Place) -> BoxFuture<'_, Result<Option<Kept>, Error>>;

    /// Makes all changes or none. False: a record has another revision than its change expects. `changes` name different
    /// places, at least one and at most [`Keeper::changes_max`], and may hold some hundreds of blocks with 64 MiB together:
    /// what is too large for one request is staged first and appears with the records.
    ///
    /// # Errors
    /// What the server says.
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<bool, Error>>;

    /// The most changes of one commit, at least 2.
    fn changes_max(&self) -> usize {
        usize::MAX
    }

    /// The blocks of a place that end behind `from`, in the order of their positions: at least one where there is one,
    /// then as many as fit into `bytes_max`. Blocks below the head of the record or at its tail and behind may be among them.
    ///
    /// # Errors
    /// What the server says.
    fn blocks(&self, place: &Place, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>, Error>>;

    /// Frees what the blocks of a place take that end at or below `below`, at once or later, in one step or several: nobody
    /// looks at them any more. Not called for each removal, and may be killed anywhere.
    ///
    /// # Errors
    /// What the server says.
    fn clean(&self, place: &Place, below: u64) -> BoxFuture<'_, Result<(), Error>>;

    /// The places whose newest record was committed with [`Change::is_listed`], with that record, in any order. Each that was
    /// committed before the call began is in it.
    ///
    /// # Errors
    /// What the server says.
    fn listed(&self) -> BoxFuture<'_, Result<Vec<(Place, Kept)>, Error>>;

    /// Writes the lease of a process, when the one that stands has a renewal below `renewal`, or when none stands and
    /// `joins`. False: neither is so.
    ///
    /// # Errors
    /// What the server says.
    fn put_lease(
        &self,
        process: Process,
        renewal: u64,
        lease: Bytes,
        joins: bool,
    ) -> BoxFuture<'_, Result<bool, Error>>;

    /// Takes the lease of a process away, when its renewal is `renewal`. False: it is not, or none stands.
    ///
    /// # Errors
    /// What the server says.
    fn remove_lease(&self, process: Process, renewal: u64) -> BoxFuture<'_, Result<bool, Error>>;

    /// The leases that stand, in any order.
    ///
    /// # Errors
    /// What the server says.
    fn leases(&self) -> BoxFuture<'_, Result<Vec<Bytes>, Error>>;
}

/// The record of a place, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// 1 for the first record of a place, and one more for each that replaced another.
    pub revision: u64,
    /// The record: below 400,000 bytes.
    pub bytes: Bytes,
}

/// What becomes of one place in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The place.
    pub place: Place,
    /// The revision of the record that is replaced; `None` where there must be none yet.
    pub expected: Option<u64>,
    /// The new record.
    pub record: Bytes,
    /// The lowest position that the new record holds. Blocks that end there or below are looked at no more.
    pub head: u64,
    /// Blocks that come with it, in the order of their positions, without a gap, above all that the place ever had.
    pub blocks: Vec<Block>,
    /// Whether the place belongs to what [`Keeper::listed`] tells.
    pub is_listed: bool,
}

impl Change {
    /// Of the record of something that is no lane: it has no rows and is not listed.
    pub(super) const fn of_note(place: Place, expected: Option<u64>, record: Bytes) -> Self {
        Self {
            place,
            expected,
            record,
            head: 0,
            blocks: Vec::new(),
            is_listed: false,
        }
    }
}

/// Some rows of one append, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Position of its first record. Never used twice in one place by blocks that were committed.
    pub position: u64,
    /// Position behind its last record.
    pub end: u64,
    /// The rows: about 256 KiB at most, or one row that is larger.
    pub bytes: Bytes,
}
