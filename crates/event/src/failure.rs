//! Codes of failures that operators meet. Each has a page `docs/errors/<code>.md`.

use std::fmt;

/// A kind of failure, stable across versions; written into letters, errors and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// The event's data does not obey its schema.
    SchemaViolation,
    /// The event alone is larger than the topic allows.
    TooLarge,
    /// Kafka refuses this record alone.
    InvalidRecord,
    /// The bytes carry no schema id that can be read.
    Unframed,
    /// The registry says that the schema id does not exist.
    UnknownSchemaId,
    /// The bytes cannot be read with their schema.
    Undecodable,
    /// A batch on the topic cannot be read at all.
    UnreadableBatch,
    /// The handler failed as often as it may.
    HandlerFailed,
    /// The handler said that the event can never be handled.
    HandlerRejected,
    /// Kafka cannot be reached, or cannot take the event now.
    Outage,
    /// The topic does not exist and may not be created.
    TopicMissing,
    /// Kafka refuses the credentials or the permission.
    AccessRefused,
    /// The schema is neither cached nor to be had from the registry.
    SchemaUnavailable,
    /// The standby store is at its size limit.
    StandbyFull,
    /// The standby store cannot be written.
    StandbyUnavailable,
    /// Too much waits to be sent; slow down.
    Overloaded,
    /// Another domain owns the subject.
    NotOwner,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 17] = [
        Self::SchemaViolation,
        Self::TooLarge,
        Self::InvalidRecord,
        Self::Unframed,
        Self::UnknownSchemaId,
        Self::Undecodable,
        Self::UnreadableBatch,
        Self::HandlerFailed,
        Self::HandlerRejected,
        Self::Outage,
        Self::TopicMissing,
        Self::AccessRefused,
        Self::SchemaUnavailable,
        Self::StandbyFull,
        Self::StandbyUnavailable,
        Self::Overloaded,
        Self::NotOwner,
    ];

    /// The code as written: lower case, words joined by hyphens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SchemaViolation => "schema-violation",
            Self::TooLarge => "too-large",
            Self::InvalidRecord => "invalid-record",
            Self::Unframed => "unframed",
            Self::UnknownSchemaId => "unknown-schema-id",
            Self::Undecodable => "undecodable",
            Self::UnreadableBatch => "unreadable-batch",
            Self::HandlerFailed => "handler-failed",
            Self::HandlerRejected => "handler-rejected",
            Self::Outage => "outage",
            Self::TopicMissing => "topic-missing",
            Self::AccessRefused => "access-refused",
            Self::SchemaUnavailable => "schema-unavailable",
            Self::StandbyFull => "standby-full",
            Self::StandbyUnavailable => "standby-unavailable",
            Self::Overloaded => "overloaded",
            Self::NotOwner => "not-owner",
        }
    }

    /// Reads a code as written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(Code::parse("nonsense"), None);
    }
}
