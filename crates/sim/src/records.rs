//! Events and batches of them.

use std::ops::Range;
use std::sync::Arc;

use evenkeel_flow::session::Payload;

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its id, unique among the application's events.
    pub id: u32,
    /// Its key; decides its partition.
    pub key: u8,
    /// Its bytes.
    pub bytes: u32,
}

/// Partitions of the topic.
pub const PARTITIONS: usize = 2;

/// Keys that the application uses.
pub const KEYS: u8 = 4;

impl Event {
    /// The partition of the event's key.
    #[must_use]
    pub const fn partition(&self) -> usize {
        self.key as usize % PARTITIONS
    }
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    all: Arc<[Event]>,
    range: Range<usize>,
}

impl Records {
    /// A batch of events.
    #[must_use]
    pub fn new(events: Vec<Event>) -> Self {
        let range = 0..events.len();
        Self {
            all: events.into(),
            range,
        }
    }

    /// The events, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.all[self.range.clone()]
    }
}

impl Payload for Records {
    type Id = u32;

    fn count(&self) -> i32 {
        self.range.len() as i32
    }

    fn bytes(&self) -> usize {
        self.events().iter().map(|event| event.bytes as usize).sum()
    }

    fn split_at(self, records: i32) -> (Self, Self) {
        let middle = self.range.start + records as usize;
        assert!(
            middle > self.range.start && middle < self.range.end,
            "a part of a split is empty"
        );
        let second = Self {
            all: Arc::clone(&self.all),
            range: middle..self.range.end,
        };
        let first = Self {
            all: self.all,
            range: self.range.start..middle,
        };
        (first, second)
    }

    fn find(&self, id: &u32) -> Option<i32> {
        self.events()
            .iter()
            .position(|event| event.id == *id)
            .map(|index| index as i32)
    }
}
