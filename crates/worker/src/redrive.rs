//! Sends dead letters on again: read, plan, execute.

mod execute;
mod ledger;
mod letter;
mod look;
mod plan;

pub use execute::{Options, Redriven, execute};
pub use ledger::{Ledger, Who};
pub use letter::{Data, Letter, find, read};
pub use plan::{Entry, Judgement, Plan, plan};

use evenkeel_event::TopicPartition;

/// Why letters could not be redriven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Kafka could not be read or written.
    #[error("Kafka: {0}")]
    Broker(#[from] evenkeel_broker::Error),
    /// A parked batch cannot be read.
    #[error("a parked batch cannot be read: {0}")]
    Batch(#[from] evenkeel_broker::batch::Error),
    /// The standby store could not be read.
    #[error(transparent)]
    Standby(#[from] evenkeel_store::Error),
    /// The event was not taken.
    #[error("letter {identity}: {source}")]
    Publish {
        /// The letter.
        identity: String,
        /// Why.
        source: evenkeel::PublishError,
    },
    /// The dead-letter topic holds more than a plan takes.
    #[error("{topic} holds more than {limit} letters; redrive a part of them by their ids")]
    TooMany {
        /// The dead-letter topic.
        topic: evenkeel_event::TopicName,
        /// Letters that one plan takes.
        limit: usize,
    },
    /// A batch of a topic cannot be read.
    #[error("{partition} has a batch that cannot be read at offset {offset}: {reason}")]
    Unreadable {
        /// Where.
        partition: TopicPartition,
        /// The batch's first offset.
        offset: i64,
        /// Why.
        reason: String,
    },
}
