//! What the session needs to know of a batch's records.

use std::fmt::Debug;

/// Encoded records of one partition, at least one. Cheap to clone: the session keeps a copy of what it sends.
pub trait Payload: Clone + Debug {
    /// The form in which an event's id is looked up.
    type Id: ?Sized;

    /// Records, at least 1.
    fn count(&self) -> i32;

    /// Bytes, for limits on memory.
    fn bytes(&self) -> usize;

    /// Parts it into the first `records` records and the rest. `records` is at least 1 and less than the count.
    #[must_use]
    fn split_at(self, records: i32) -> (Self, Self);

    /// The index of the record that carries the event `id`.
    fn find(&self, id: &Self::Id) -> Option<i32>;
}
