//! An event: a fact with CloudEvents attributes, a key and data.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::{EventId, Header, TopicName, headers};

/// CloudEvents attributes of an event, without its data.
///
/// Source: CloudEvents 1.0.2, section 3.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Unique for its source; UUIDv7 when Evenkeel makes it.
    pub id: EventId,
    /// URI reference of what it happened in, for example `/orders-api`.
    pub source: String,
    /// The kind of fact, for example `order.placed`.
    pub event_type: String,
    /// When it happened.
    pub time: Timestamp,
    /// What it happened to, within the source.
    pub subject: Option<String>,
    /// The topic it is bound for.
    pub topic: TopicName,
    /// The key that orders it; `None` promises no order.
    pub key: Option<Bytes>,
    /// Further headers, written as they are after the CloudEvents ones.
    pub headers: Vec<Header>,
}

impl Event {
    /// An event of `event_type` from `source`, without key, subject and further headers.
    #[must_use]
    pub fn new(
        id: EventId,
        source: impl Into<String>,
        event_type: impl Into<String>,
        time: Timestamp,
        topic: TopicName,
    ) -> Self {
        Self {
            id,
            source: source.into(),
            event_type: event_type.into(),
            time,
            subject: None,
            topic,
            key: None,
            headers: Vec::new(),
        }
    }

    /// The event with a key, which orders it among the events of the same key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The event's attributes as Kafka headers (CloudEvents Kafka protocol binding, section 3.2), then its own headers.
    #[must_use]
    pub fn to_headers(&self, content_type: &str, data_schema: Option<&str>) -> Vec<Header> {
        let mut list = Vec::with_capacity(8 + self.headers.len());
        list.push(Header::new(headers::CE_SPECVERSION, "1.0"));
        list.push(Header::new(headers::CE_ID, self.id.as_str().to_owned()));
        list.push(Header::new(headers::CE_SOURCE, self.source.clone()));
        list.push(Header::new(headers::CE_TYPE, self.event_type.clone()));
        list.push(Header::new(headers::CE_TIME, self.time.to_rfc3339()));
        if let Some(subject) = &self.subject {
            list.push(Header::new(headers::CE_SUBJECT, subject.clone()));
        }
        if let Some(data_schema) = data_schema {
            list.push(Header::new(headers::CE_DATASCHEMA, data_schema.to_owned()));
        }
        list.push(Header::new(headers::CONTENT_TYPE, content_type.to_owned()));
        list.extend(self.headers.iter().cloned());
        list
    }
}
