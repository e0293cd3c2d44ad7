//! The records of the topic `_schemas`, in the format of Confluent's registry: keys and values are JSON.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::journal::{Entry, Record};

/// The key of a record. Serialized in the order of Confluent's, because compaction compares bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// A version of a subject's schema.
    Schema { subject: String, version: u32 },
    /// The compatibility level of a subject, or of all.
    Config { subject: Option<String> },
    /// The mode of a subject, or of all.
    Mode { subject: Option<String> },
    /// The soft deletion of a subject's versions up to one.
    DeleteSubject { subject: String },
    /// The removal of what is soft-deleted in a subject.
    ClearSubject { subject: String },
    /// Nothing: written to find the log's end.
    Noop,
}

#[derive(Serialize, Deserialize)]
struct RawKey {
    keytype: String,
    #[serde(default, skip_serializing_if = "Subject::is_absent")]
    subject: Subject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    magic: u8,
}

/// A subject that may be null, or not be there at all.
#[derive(Default, Serialize, Deserialize)]
#[serde(untagged)]
enum Subject {
    #[default]
    #[serde(skip)]
    Absent,
    Null(()),
    Named(String),
}

impl Subject {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    fn name(self) -> Option<String> {
        match self {
            Self::Named(name) => Some(name),
            Self::Absent | Self::Null(()) => None,
        }
    }
}

impl Key {
    /// Reads a key; `None` for one that Confluent's registry does not write.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let raw: RawKey = serde_json::from_slice(bytes).ok()?;
        let subject = raw.subject.name();
        Some(match (raw.keytype.as_str(), subject) {
            ("SCHEMA", Some(subject)) => Self::Schema {
                subject,
                version: raw.version?,
            },
            ("CONFIG", subject) => Self::Config { subject },
            ("MODE", subject) => Self::Mode { subject },
            ("DELETE_SUBJECT", Some(subject)) => Self::DeleteSubject { subject },
            ("CLEAR_SUBJECT", Some(subject)) => Self::ClearSubject { subject },
            ("NOOP", _) => Self::Noop,
            _ => return None,
        })
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let named = |subject: &String| Subject::Named(subject.clone());
        let nullable = |subject: &Option<String>| subject.as_ref().map_or(Subject::Null(()), named);
        let (keytype, subject, version, magic) = match self {
            Self::Schema { subject, version } => ("SCHEMA", named(subject), Some(*version), 1),
            Self::Config { subject } => ("CONFIG", nullable(subject), None, 0),
            Self::Mode { subject } => ("MODE", nullable(subject), None, 0),
            Self::DeleteSubject { subject } => ("DELETE_SUBJECT", named(subject), None, 0),
            Self::ClearSubject { subject } => ("CLEAR_SUBJECT", named(subject), None, 0),
            Self::Noop => ("NOOP", Subject::Absent, None, 0),
        };
        to_json(&RawKey {
            keytype: keytype.to_owned(),
            subject,
            version,
            magic,
        })
    }
}

/// The value of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SchemaValue {
    pub(crate) subject: String,
    pub(crate) version: u32,
    pub(crate) id: u32,
    #[serde(rename = "schemaType", default = "avro", skip_serializing_if = "is_avro")]
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) references: Vec<Reference>,
    pub(crate) schema: String,
    #[serde(default)]
    pub(crate) deleted: bool,
    /// What other registries keep beside: metadata, rules, hashes.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// The schema type of Avro.
pub(crate) const AVRO: &str = "AVRO";

fn avro() -> String {
    AVRO.to_owned()
}

fn is_avro(kind: &str) -> bool {
    kind == AVRO
}

/// A reference of one schema to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// The full name of the type that is referred to.
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) version: i64,
}

/// The value of a compatibility level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigValue {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(
        rename = "compatibilityLevel",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) level: Option<String>,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// The value of a mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModeValue {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    pub(crate) mode: String,
}

/// The value of a subject's deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeleteSubjectValue {
    pub(crate) subject: String,
    pub(crate) version: u32,
}

/// A record to write.
pub(crate) fn entry(key: &Key, value: &impl Serialize) -> Entry {
    Entry {
        key: key.to_bytes(),
        value: Some(to_json(value)),
    }
}

/// The record that removes a key.
pub(crate) fn tombstone(key: &Key) -> Entry {
    Entry {
        key: key.to_bytes(),
        value: None,
    }
}

/// The value of a record as JSON; `None` if it is a tombstone or something else.
pub(crate) fn value<T: serde::de::DeserializeOwned>(record: &Record) -> Option<T> {
    serde_json::from_slice(record.value.as_ref()?).ok()
}

fn to_json(value: &impl Serialize) -> Bytes {
    // These types have text keys and no foreign serializers: they always serialize.
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_confluents_registry() {
        let orders = || "orders-value".to_owned();
        for (key, text) in [
            (
                Key::Schema {
                    subject: orders(),
                    version: 3,
                },
                r#"{"keytype":"SCHEMA","subject":"orders-value","version":3,"magic":1}"#,
            ),
            (
                Key::Config { subject: None },
                r#"{"keytype":"CONFIG","subject":null,"magic":0}"#,
            ),
            (
                Key::Config {
                    subject: Some(orders()),
                },
                r#"{"keytype":"CONFIG","subject":"orders-value","magic":0}"#,
            ),
            (
                Key::Mode {
                    subject: Some(orders()),
                },
                r#"{"keytype":"MODE","subject":"orders-value","magic":0}"#,
            ),
            (
                Key::DeleteSubject { subject: orders() },
                r#"{"keytype":"DELETE_SUBJECT","subject":"orders-value","magic":0}"#,
            ),
            (
                Key::ClearSubject { subject: orders() },
                r#"{"keytype":"CLEAR_SUBJECT","subject":"orders-value","magic":0}"#,
            ),
            (Key::Noop, r#"{"keytype":"NOOP","magic":0}"#),
        ] {
            assert_eq!(key.to_bytes(), text);
            assert_eq!(Key::parse(text.as_bytes()), Some(key));
        }
        assert_eq!(
            Key::parse(br#"{"keytype":"CONTEXT","tenant":"default","context":".c","magic":0}"#),
            None
        );
    }

    #[test]
    fn what_others_keep_beside_a_schema_is_kept() {
        let text = r#"{"subject":"s","version":1,"id":7,"schemaType":"JSON","references":[{"name":"n","subject":"t","version":2}],"schema":"{}","deleted":true,"md5":"x","metadata":{"tags":{}}}"#;
        let value: SchemaValue = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
    }
}
