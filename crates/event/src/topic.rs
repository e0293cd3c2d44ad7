//! Names of topics and partitions, and the topics that Evenkeel derives from an application or a group.

use std::fmt;
use std::sync::Arc;

/// A valid Kafka topic name: 1 to 249 characters of `[a-zA-Z0-9._-]`, and neither `.` nor `..`.
///
/// Source: `org.apache.kafka.common.internals.Topic`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// Why a text is not a topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Empty, `.` or `..`.
    #[error("\"{0}\" cannot name a topic: use 1 to 249 letters, digits, dots, underscores or hyphens")]
    Reserved(String),
    /// Longer than 249 characters.
    #[error("the topic name \"{name}\" has {length} characters, at most 249 are allowed")]
    TooLong {
        /// The beginning of the refused name, at most 40 characters.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// A character outside `[a-zA-Z0-9._-]`.
    #[error(
        "the topic name \"{name}\" holds {character:?}: use only letters, digits, dots, underscores and hyphens"
    )]
    Character {
        /// The refused name.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
}

impl TopicName {
    /// Checks `name` and keeps it.
    ///
    /// # Errors
    /// When `name` is not a valid Kafka topic name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() || name == "." || name == ".." {
            return Err(NameError::Reserved(name.to_owned()));
        }
        if let Some(character) = name
            .chars()
            .find(|character| !(character.is_ascii_alphanumeric() || "._-".contains(*character)))
        {
            return Err(NameError::Character {
                name: name.chars().take(249).collect(),
                character,
            });
        }
        if name.len() > 249 {
            return Err(NameError::TooLong {
                name: name.chars().take(40).collect(),
                length: name.len(),
            });
        }
        Ok(Self(name.into()))
    }

    /// The platform's own topic, `_evenkeel`.
    #[must_use]
    pub fn platform() -> Self {
        Self("_evenkeel".into())
    }

    /// The topic of events that `application` could not publish: `<application>.publish.dlt`.
    ///
    /// # Errors
    /// When the application's name makes no valid topic name, or could not be one itself, so that it names no directory
    /// outside the one that it is given.
    pub fn publish_letters(application: &str) -> Result<Self, NameError> {
        Self::new(application)?;
        Self::new(&format!("{application}.publish.dlt"))
    }

    /// The topic of records that the consumer group `group` could not handle: `<group>.consume.dlt`.
    ///
    /// # Errors
    /// When the group's name makes no valid topic name.
    pub fn consume_letters(group: &str) -> Result<Self, NameError> {
        Self::new(&format!("{group}.consume.dlt"))
    }

    /// True for a topic that holds dead letters by Evenkeel's naming.
    #[must_use]
    pub fn is_dead_letter_topic(&self) -> bool {
        self.0.ends_with(".publish.dlt") || self.0.ends_with(".consume.dlt")
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl std::str::FromStr for TopicName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// The 16-byte identity that Kafka gives a topic when it is created (KIP-516). All zeros where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// The identity of a topic whose broker told none.
    pub const UNKNOWN: Self = Self([0; 16]);
}

/// One partition of one topic.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's index, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    #[must_use]
    pub fn new(topic: TopicName, partition: i32) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rule() {
        for good in ["a", "orders", "orders.v1_x-Y", &"x".repeat(249)] {
            assert_eq!(TopicName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert!(TopicName::new(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn derived_topics_are_recognised() {
        assert_eq!(
            TopicName::publish_letters("orders-api").unwrap().as_str(),
            "orders-api.publish.dlt"
        );
        assert!(
            TopicName::consume_letters("billing")
                .unwrap()
                .is_dead_letter_topic()
        );
        assert!(!TopicName::new("orders").unwrap().is_dead_letter_topic());
    }
}
