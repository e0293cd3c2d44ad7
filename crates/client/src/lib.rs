#![doc = include_str!("../README.md")]

pub mod config;
pub mod consume;
#[doc(hidden)]
pub mod failpoint;
pub mod publish;
pub mod schema_cache;

pub use config::{Config, Drain, EventType, Fleet, Mode, NewTopics, Subject, Version};
pub use consume::{Consumer, Failure, Received};
pub use evenkeel_broker::Kafka;
pub use evenkeel_event::{Event, EventId, TopicName};
pub use publish::{Lane, LetterPlace, PublishError, Publisher, Receipt};
pub use schema_cache::{Registry, SchemaCache, SchemaError};

/// Compiles the examples of the repository's README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct ReadmeExamples;
