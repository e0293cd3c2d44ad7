//! Content that is known to obey its contract. Only this crate makes it.

use bytes::Bytes;
use evenkeel_event::{Header, Record, TopicName};

use crate::wire::{PREFIX_BYTES, SchemaId};

/// Something whose content obeys the schema with this id (invariant **valid**). There is no way to one but through
/// [`Contract`](crate::Contract), which checks while it encodes, and [`Valid::revive`] for the standby store.
///
/// ```compile_fail,E0451
/// // Its parts are private, so that nothing else can put one together.
/// evenkeel_schema::Valid { schema_id: evenkeel_schema::SchemaId(1), inner: b"anything" };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valid<T> {
    schema_id: SchemaId,
    inner: T,
}

impl<T> Valid<T> {
    pub(crate) fn new(schema_id: SchemaId, inner: T) -> Self {
        Self { schema_id, inner }
    }

    /// The schema that the content obeys.
    pub fn schema_id(&self) -> SchemaId {
        self.schema_id
    }

    /// What obeys it.
    pub fn get(&self) -> &T {
        &self.inner
    }

    /// The schema's id and what obeys it, which is then no longer known to.
    pub fn into_parts(self) -> (SchemaId, T) {
        (self.schema_id, self.inner)
    }
}

/// The value (or key) of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    bytes: Bytes,
    content_from: usize,
}

impl Payload {
    pub(crate) fn framed(bytes: Bytes) -> Self {
        Self {
            bytes,
            content_from: PREFIX_BYTES,
        }
    }

    pub(crate) fn bare(bytes: Bytes) -> Self {
        Self {
            bytes,
            content_from: 0,
        }
    }

    /// As it lies on the topic: with the prefix that names its schema, unless a header does.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The encoded value alone.
    pub fn content(&self) -> &[u8] {
        self.bytes.get(self.content_from..).unwrap_or_default()
    }
}

impl Valid<Payload> {
    /// The record whose value this is.
    #[must_use]
    pub fn into_record(
        self,
        topic: TopicName,
        partition: Option<i32>,
        key: Option<Bytes>,
        headers: Vec<Header>,
    ) -> Valid<Record> {
        let value = Some(self.inner.bytes);
        Valid::new(
            self.schema_id,
            Record {
                topic,
                partition,
                key,
                value,
                headers,
            },
        )
    }
}

impl Valid<Record> {
    /// Makes a stored record valid again.
    ///
    /// For the standby store alone: it keeps the schema id and the record of a `Valid<Record>` in one checksummed row,
    /// and calls this for a row whose checksum holds. Any other use breaks the invariant **valid**.
    #[must_use]
    pub fn revive(schema_id: SchemaId, record: Record) -> Self {
        Self::new(schema_id, record)
    }

    /// Adds a header behind the others. Headers are no part of what the contract judges.
    pub fn push_header(&mut self, header: Header) {
        self.inner.headers.push(header);
    }

    /// Chooses the partition.
    pub fn set_partition(&mut self, partition: i32) {
        self.inner.partition = Some(partition);
    }
}
