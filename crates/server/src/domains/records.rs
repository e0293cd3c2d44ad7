//! The records of the topic `_evenkeel`. Every record has a key of its own, so that compaction removes none and the log's order
//! decides who came first.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::journal::Entry;

/// Key of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Key {
    /// A domain's creation; the first of a name counts.
    Domain {
        /// The domain's name.
        domain: String,
        /// Makes the key unique.
        record: String,
    },
    /// A token of a domain; its tombstone revokes it.
    Token {
        /// The domain's name.
        domain: String,
        /// The token's public name.
        token: String,
    },
    /// A claim to a subject; the first counts.
    Owner {
        /// The subject.
        subject: String,
        /// Makes the key unique.
        record: String,
    },
    /// What a domain did. Nothing is decided by it; it stays to be read.
    Audit {
        /// Makes the key unique.
        record: String,
    },
    /// Nothing: written where only a write tells that an earlier one will not land any more.
    Fence,
    /// Schema ids up to this one have been given out and are never given out again.
    IdFloor {
        /// The id.
        id: u32,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DomainValue {
    pub(crate) created_at_ms: i64,
    /// May change what belongs to no domain: the global compatibility level.
    #[serde(default)]
    pub(crate) admin: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenValue {
    pub(crate) created_at_ms: i64,
    pub(crate) sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnerValue {
    pub(crate) domain: String,
    pub(crate) claimed_at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditValue {
    pub(crate) at_ms: i64,
    pub(crate) domain: String,
    /// What was done, as noun and verb: `subject.delete`.
    pub(crate) action: String,
    /// To what; `None` for the global settings.
    pub(crate) subject: Option<String>,
    /// What came of it.
    pub(crate) detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdFloorValue {
    pub(crate) at_ms: i64,
}

/// Key and value as JSON.
pub(crate) fn entry(key: &Key, value: &impl Serialize) -> Entry {
    Entry {
        key: json(key),
        value: Some(json(value)),
    }
}

/// The record that removes a key.
pub(crate) fn tombstone(key: &Key) -> Entry {
    Entry {
        key: json(key),
        value: None,
    }
}

fn json(value: &impl Serialize) -> Bytes {
    // These types have text keys and no foreign serializers: they always serialize.
    serde_json::to_vec(value).unwrap_or_default().into()
}
