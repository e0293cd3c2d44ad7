//! A record: bytes, headers and a destination, as Kafka holds it.

use bytes::Bytes;

use crate::TopicName;

/// A record's header. Names may repeat within a record; order is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header's name, UTF-8.
    pub name: String,
    /// Its value; `None` is Kafka's null.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            value: Some(value.into()),
        }
    }

    /// The value as text, when it has one and it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.value
            .as_deref()
            .and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// A record bound for a topic. Its Kafka timestamp is the time at which it is sent and is not kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: TopicName,
    /// A partition chosen by the caller; `None` lets the partitioner choose by the key.
    pub partition: Option<i32>,
    /// The key; `None` promises no order.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

impl Record {
    /// The first header called `name`, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    /// Bytes of key, value and headers together; what limits on memory count.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|header| header.name.len() + header.value.as_ref().map_or(0, Bytes::len))
            .sum();
        headers + self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// The value of the first header called `name` in `headers`, as text.
#[must_use]
pub fn text<'headers>(headers: &'headers [Header], name: &str) -> Option<&'headers str> {
    headers
        .iter()
        .find(|header| header.name == name)
        .and_then(Header::text)
}
