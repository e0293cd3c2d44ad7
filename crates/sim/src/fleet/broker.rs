//! The broker, one partition: it takes each stamp once and in its turn, whenever a message comes.

use std::collections::BTreeMap;

/// An event.
pub(super) type Event = u8;

/// A producer id that nobody else has, and its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) producer: u8,
    pub(super) sequence: u8,
}

/// A send that is under way, for as long as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Message {
    pub(super) stamp: Stamp,
    pub(super) event: Event,
    /// Who waits for the answer.
    pub(super) from: u8,
    pub(super) is_drain: bool,
}

/// The partition's log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Broker {
    pub(super) log: Vec<Event>,
    next: BTreeMap<u8, u8>,
}

/// What the broker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Appended,
    Already,
    OutOfTurn,
}

impl Broker {
    pub(super) fn take(&mut self, message: &Message) -> Taken {
        let Stamp { producer, sequence } = message.stamp;
        let next = self.next.entry(producer).or_default();
        if sequence < *next {
            return Taken::Already;
        }
        if sequence > *next {
            return Taken::OutOfTurn;
        }
        *next += 1;
        self.log.push(message.event);
        Taken::Appended
    }
}
