//! What a schema says, apart from where it is registered.

use evenkeel_schema::avro::Schema;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::records::{AVRO, Reference};

/// A schema as it is stored under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// `AVRO`, or the type of a schema that another registry left.
    pub(crate) kind: String,
    pub(crate) text: String,
    pub(crate) references: Vec<Reference>,
    pub(crate) rest: Map<String, Value>,
}

/// Tells schemas apart: equal for two texts that parse to the same schema with the same references.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Identity([u8; 32]);

impl Content {
    /// Avro text with its references.
    pub(crate) fn avro(text: String, references: Vec<Reference>) -> Self {
        Self {
            kind: AVRO.to_owned(),
            text,
            references,
            rest: Map::new(),
        }
    }

    /// The identity. A text that does not parse by itself (it has references, or is not Avro) stands as it is.
    pub(crate) fn identity(&self) -> Identity {
        let printed = (self.kind == AVRO)
            .then(|| Schema::parse(&self.text).ok())
            .flatten();
        let text = printed.map_or_else(|| self.text.clone(), |schema| schema.to_json());
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.kind.as_bytes());
        part(text.as_bytes());
        for reference in &self.references {
            part(reference.name.as_bytes());
            part(reference.subject.as_bytes());
            part(&reference.version.to_be_bytes());
        }
        for key in ["metadata", "ruleSet"] {
            if let Some(value) = self.rest.get(key).filter(|value| !value.is_null()) {
                part(value.to_string().as_bytes());
            }
        }
        Identity(hash.finalize().into())
    }
}
