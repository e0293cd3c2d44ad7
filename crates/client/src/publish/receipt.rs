//! What publishing an event came to.

use std::sync::Arc;

use evenkeel_event::{Code, TopicName};

use crate::schema_cache::SchemaError;

/// A durable place has the event (invariant **owned**).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// Kafka has it.
    Published {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: i32,
        /// Its offset; `None` when the broker only said that it is there.
        offset: Option<i64>,
    },
    /// The standby store has it, because Kafka cannot take it now. It is sent on in order.
    Parked {
        /// What it is parked behind.
        lane: Lane,
        /// Its place in the lane, increasing.
        sequence: u64,
    },
    /// It violates its contract, or Kafka refuses it alone. The dead letter is durable.
    DeadLettered {
        /// What kind of failure it is.
        code: Code,
        /// What is wrong with it, for people.
        cause: String,
        /// Where the letter is.
        at: LetterPlace,
    },
}

/// Parked events that are sent on in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The topic.
    pub topic: TopicName,
    /// The partition; `None` while the topic's partitions are not known.
    pub partition: Option<i32>,
}

/// Where a dead letter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterPlace {
    /// On its dead-letter topic.
    Topic {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: i32,
        /// Its offset; `None` when the broker only said that it is there.
        offset: Option<i64>,
    },
    /// Parked, bound for its dead-letter topic.
    Standby {
        /// What it is parked behind.
        lane: Lane,
        /// Its place in the lane.
        sequence: u64,
    },
}

/// Nothing durable is known to have the event. [`PublishError::may_have_landed`] tells whether it may be written
/// nevertheless; a retry with the same id then joins it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no schema to judge the event by.
    #[error("events of type {event_type} for topic {topic} cannot be published: {source}")]
    SchemaUnavailable {
        /// The event's type.
        event_type: String,
        /// Its topic.
        topic: TopicName,
        /// Why there is none.
        source: Arc<SchemaError>,
    },
    /// The event cannot go to Kafka now, because that is out or because processes that share a standby store publish nothing without
    /// it, and the store did not take it either.
    #[error("topic {topic}: {cause}")]
    NotParked {
        /// The topic.
        topic: TopicName,
        /// True when the store is full.
        full: bool,
        /// Why it did not go to Kafka, what the store did not do, and why.
        cause: String,
        /// True when the event may be written nevertheless.
        may_have_landed: bool,
    },
    /// More waits in memory than is allowed: slow down.
    #[error("topic {topic}: {waiting_bytes} bytes of events wait to be sent; publish more slowly")]
    Overloaded {
        /// The topic.
        topic: TopicName,
        /// Bytes that wait.
        waiting_bytes: usize,
    },
    /// The publisher was closed.
    #[error("topic {topic}: the publisher is closed")]
    Closed {
        /// The topic.
        topic: TopicName,
        /// True when the event may be written nevertheless.
        may_have_landed: bool,
    },
    /// The event is wrong and its dead letter could not be kept either.
    #[error(
        "topic {topic}: the event is refused ({cause}), and its dead letter could be neither sent nor parked"
    )]
    LetterLost {
        /// The topic.
        topic: TopicName,
        /// What is wrong with the event.
        cause: String,
    },
}

impl PublishError {
    /// True when the event may be written nevertheless, now or later. Publish it again with the same id.
    #[must_use]
    pub const fn may_have_landed(&self) -> bool {
        match self {
            Self::NotParked { may_have_landed, .. } | Self::Closed { may_have_landed, .. } => {
                *may_have_landed
            }
            _ => false,
        }
    }

    /// The code that operators look up.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::SchemaUnavailable { .. } => Code::SchemaUnavailable,
            Self::NotParked { full: true, .. } => Code::StandbyFull,
            Self::NotParked { .. } | Self::LetterLost { .. } => Code::StandbyUnavailable,
            Self::Overloaded { .. } => Code::Overloaded,
            Self::Closed { .. } => Code::Outage,
        }
    }
}
