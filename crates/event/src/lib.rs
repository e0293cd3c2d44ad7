#![doc = include_str!("../README.md")]

pub mod backoff;
pub mod calendar;
pub mod clock;
pub mod diagnosis;
pub mod event;
pub mod failure;
pub mod headers;
pub mod id;
pub mod letter;
pub mod partitioner;
pub mod record;
pub mod topic;

pub use diagnosis::Diagnosis;
pub use event::Event;
pub use failure::Code;
pub use id::EventId;
pub use letter::Letter;
pub use record::{Header, Record};
pub use topic::{TopicId, TopicName, TopicPartition};
