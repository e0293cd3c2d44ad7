//! An event as a handler gets it.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_event::clock::Timestamp;
use evenkeel_event::{EventId, Header, TopicPartition, headers, record};
use evenkeel_schema::avro::Reader;
use evenkeel_schema::wire::SchemaId;
use serde::de::DeserializeOwned;

/// An event that obeys its contract. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Received {
    /// The partition it is from.
    pub partition: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// Kafka's timestamp: the time of the send.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<Bytes>,
    /// The id, where the producer gave one.
    pub id: Option<EventId>,
    /// The schema that it was written with.
    pub schema_id: SchemaId,
    /// True when it may be on the topic twice, because the platform could not tell.
    pub possible_double: bool,
    pub(super) headers: Arc<[Header]>,
    pub(super) content: Bytes,
    pub(super) reader: Arc<Reader>,
}

impl Received {
    /// Its CloudEvents type, where the producer gave one.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        record::text(&self.headers, headers::CE_TYPE)
    }

    /// All its headers, in order.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// The data as a Rust value. An error here is the handler's: the data obeys its contract, but not this type.
    ///
    /// # Errors
    /// What the type refuses.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, evenkeel_schema::Violation> {
        self.reader.read(&self.content)
    }

    /// The data as plain JSON.
    ///
    /// # Errors
    /// What the reader's schema cannot take.
    pub fn json(&self) -> Result<String, evenkeel_schema::Violation> {
        self.reader.to_json(&self.content)
    }
}
