//! What a standby store keeps.

use bytes::Bytes;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::Stamping;
use evenkeel_flow::session::StampedRange;

/// What a row's bytes are, kept apart so that raw bytes reach dead-letter topics alone (invariant **valid**).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Valid events of a topic.
    Event,
    /// Letters of a dead-letter topic.
    Letter,
}

/// A row as it is appended: one or more encoded records of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What the bytes are.
    pub kind: Kind,
    /// The encoded record or records. The store does not look into them.
    pub records: Bytes,
    /// Records in `records`, at least 1: the positions that the row takes.
    pub count: u32,
    /// When the row was parked; what the oldest age is counted from.
    pub appended_at: Timestamp,
    /// The stamp under which the row was sent already and not answered. It is no longer shown once another stamp was
    /// stored over one of its positions, or some of them were removed.
    pub stamping: Option<Stamping>,
}

/// A row as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// Position of its first record. It may lie below what was asked for: a row is read whole.
    pub position: u64,
    /// What was appended, without its stamp.
    pub row: Row,
}

/// Neighbouring rows of a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Piece {
    /// The rows, in order.
    pub rows: Vec<StoredRow>,
    /// The stamps that cover some of their records, in order. What was stamped together is read together.
    pub stamps: Vec<StampedRange>,
}
