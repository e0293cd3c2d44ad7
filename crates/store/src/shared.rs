//! The contract of a standby store that several processes share.

use evenkeel_flow::diversion::{Diversion, Lease, Process, Versioned};
use evenkeel_flow::session::StampedRange;

use crate::standby::BoxFuture;
use crate::{AppendId, Error, Holds, Place, Row, Span, Standby};

/// A standby store that several processes use at once, on the same places. What they do with each other is decided by
/// `evenkeel_flow::diversion`; a store only makes its conditional writes, each as one step that all others see whole, and
/// answers reads with what was written before they began (in DynamoDB: consistent reads of the table, not of an index).
///
/// An answer that a condition does not hold is no [`Error`]: nothing was written, and a late copy of the request will not
/// be. After an [`Error`] for which [`Error::may_have_been_made`] holds the step may be made now or later; its
/// condition guards it.
pub trait SharedStandby: Standby {
    /// The record of `place` and what its lane holds, as one consistent read.
    ///
    /// # Errors
    /// What the storage says.
    fn lane(&self, place: &Place) -> BoxFuture<'_, Result<Lane, Error>>;

    /// Writes the record of `place` when its version is still `expected` and, where `tail` is told, its lane still ends
    /// there, and returns the new version. `None`: one is not so. A record that says
    /// [`Phase::Open`](evenkeel_flow::diversion::Phase::Open) is written with the tail at which the lane was seen empty, so
    /// that nothing was appended since.
    ///
    /// # Errors
    /// What the storage says.
    fn put_diversion(
        &self,
        place: &Place,
        expected: u64,
        tail: Option<u64>,
        diversion: Diversion,
    ) -> BoxFuture<'_, Result<Option<u64>, Error>>;

    /// The places whose phase is not open. Every record written before the call began is in it.
    ///
    /// # Errors
    /// What the storage says.
    fn diversions(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>>;

    /// Appends as [`Standby::append`] does, when the phase of `place` takes appends and its epoch is `epoch`. Whether
    /// an append was made before under the same `id` is looked at first, whatever the epoch is by now: the newest append
    /// of a process to a place is remembered for at least a day.
    ///
    /// # Errors
    /// As [`Standby::append`].
    fn append_in(
        &self,
        place: &Place,
        epoch: u64,
        id: AppendId,
        rows: Vec<Row>,
    ) -> BoxFuture<'_, Result<AppendIn, Error>>;

    /// Keeps stamps as [`Standby::store_stamps`] does, when the term of `place` is `term`. False: it is not.
    ///
    /// # Errors
    /// As [`Standby::store_stamps`].
    fn store_stamps_in(
        &self,
        place: &Place,
        term: u64,
        stamps: Vec<StampedRange>,
    ) -> BoxFuture<'_, Result<bool, Error>>;

    /// Writes a process's lease, when the one that stands has a lower renewal, or when none stands and `joins`. False:
    /// neither is so.
    ///
    /// # Errors
    /// What the storage says.
    fn renew(&self, lease: Lease<Place>, joins: bool) -> BoxFuture<'_, Result<bool, Error>>;

    /// Takes a lease away, when its renewal is still `renewal`. False: it is not, or none stands.
    ///
    /// # Errors
    /// What the storage says.
    fn revoke(&self, process: Process, renewal: u64) -> BoxFuture<'_, Result<bool, Error>>;

    /// All leases that stand, run out or not.
    ///
    /// # Errors
    /// What the storage says.
    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease<Place>>, Error>>;

    /// What an operator holds back: no process sends it on.
    ///
    /// # Errors
    /// What the storage says; [`Error::Foreign`] where it is no list of holds.
    fn holds(&self) -> BoxFuture<'_, Result<Holds, Error>>;

    /// Replaces what is held back, when it is still `expected`. False: it is not.
    ///
    /// # Errors
    /// As [`SharedStandby::holds`].
    fn put_holds(&self, expected: &Holds, holds: &Holds) -> BoxFuture<'_, Result<bool, Error>>;
}

/// The record of a place, and what its lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lane {
    /// The record.
    pub diversion: Versioned<Diversion>,
    /// The positions in its lane.
    pub span: Span,
}

/// A place that is not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The place.
    pub place: Place,
    /// Its record.
    pub diversion: Versioned<Diversion>,
}

/// What became of a conditional append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendIn {
    /// It stands at this position: that of its first record.
    Made(u64),
    /// The place is open, or another epoch has begun. Nothing was written or will be.
    Passed,
}
