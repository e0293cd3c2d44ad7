//! Decides whether a record is an event: frame, schema, contract (invariant **no-poison**).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use evenkeel_broker::batch::RecordView;
use evenkeel_event::letter::Stage;
use evenkeel_event::{Code, EventId, TopicPartition, headers};
use evenkeel_schema::avro::{Reader, Schema};
use evenkeel_schema::wire::{self, SchemaId, SchemaRef, VALUE_SCHEMA_HEADER};
use evenkeel_schema::{Contract, Violation};

use super::Received;
use crate::publish::Publisher;
use crate::schema_cache::SchemaError;

/// Most schemas whose readers are kept; beyond it they are compiled anew each time.
const READERS_MAX: usize = 10_000;

/// Judges records by the schemas that they name.
#[derive(Debug)]
pub(super) struct Judge {
    schemas: Publisher,
    /// The schemas with which the application reads, by the full name of the record.
    wanted: HashMap<String, Arc<Schema>>,
    readers: Mutex<HashMap<SchemaId, Way>>,
}

/// How records of one schema are judged, and how the application reads them.
type Way = (Arc<Contract>, Arc<Reader>);

/// What a record turned out to be.
#[derive(Debug)]
pub(super) enum Judgement {
    /// An event for the handler.
    Event(Box<Received>),
    /// No event: it is dead-lettered.
    Wrong(Wrong),
    /// Nobody can tell now: the registry cannot be reached.
    Undecided(String),
}

/// Why a record is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) code: Code,
    pub(super) stage: Stage,
    pub(super) message: String,
    pub(super) schema_id: Option<u32>,
}

impl Judge {
    pub(super) fn new(schemas: Publisher, wanted: impl IntoIterator<Item = Arc<Schema>>) -> Self {
        let wanted = wanted
            .into_iter()
            .map(|schema| (schema.root().fullname().to_owned(), schema))
            .collect();
        Self {
            schemas,
            wanted,
            readers: Mutex::default(),
        }
    }

    /// Judges one record of `partition`.
    pub(super) async fn judge(&self, partition: &TopicPartition, record: &Raw) -> Judgement {
        let Some(value) = &record.value else {
            return wrong(
                Code::Unframed,
                Stage::Frame,
                "the record has no value".to_owned(),
                None,
            );
        };
        let header = record.header(VALUE_SCHEMA_HEADER);
        let framed = match wire::read(value, header) {
            Ok(framed) => framed,
            Err(violation) => return wrong(Code::Unframed, Stage::Frame, violation.to_string(), None),
        };
        let SchemaRef::Id(id) = framed.schema else {
            let message = "its schema is named by GUID, which this registry cannot look up".to_owned();
            return wrong(Code::UnknownSchemaId, Stage::Frame, message, None);
        };
        let (contract, reader) = match self.reader(id).await {
            Ok(found) => found,
            // Only what the registry says does not exist is dead-lettered (invariant **told-apart**).
            Err(error) if error.is_unknown() => {
                return wrong(Code::UnknownSchemaId, Stage::Decode, error.to_string(), Some(id));
            }
            // What it gives but nobody here can use stays so: waiting would stop the partition for good.
            Err(error @ SchemaError::Unusable { .. }) => {
                return wrong(Code::Undecodable, Stage::Decode, error.to_string(), Some(id));
            }
            Err(error) => return Judgement::Undecided(error.to_string()),
        };
        if let Err(violation) = contract.check_content(&framed.content) {
            return wrong(code(&violation), Stage::Validate, violation.to_string(), Some(id));
        }
        Judgement::Event(Box::new(Received {
            partition: partition.clone(),
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.clone(),
            id: record.id(),
            schema_id: id,
            possible_double: record.header(headers::POSSIBLE_DOUBLE) == Some(b"1".as_slice()),
            headers: record.headers.clone().into(),
            content: framed.content,
            reader,
        }))
    }

    async fn reader(&self, id: SchemaId) -> Result<Way, SchemaError> {
        if let Some(found) = self.lock().get(&id) {
            return Ok(found.clone());
        }
        let contract = self.schemas.schemas().by_id(id).await?;
        let written = contract.schema();
        let wanted = self.wanted.get(written.root().fullname()).unwrap_or(written);
        let reader = Arc::new(contract.reader(wanted));
        let mut readers = self.lock();
        if readers.len() < READERS_MAX {
            readers.insert(id, (Arc::clone(&contract), Arc::clone(&reader)));
        }
        Ok((contract, reader))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SchemaId, Way>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wrong(code: Code, stage: Stage, message: String, schema_id: Option<SchemaId>) -> Judgement {
    let schema_id = schema_id.and_then(|id| u32::try_from(id.0).ok());
    Judgement::Wrong(Wrong {
        code,
        stage,
        message,
        schema_id,
    })
}

/// Bytes that end early or go on are undecodable; a value that the schema excludes violates it.
fn code(violation: &Violation) -> Code {
    use evenkeel_schema::ViolationKind as Kind;
    match violation.kind() {
        Kind::Range => Code::SchemaViolation,
        _ => Code::Undecodable,
    }
}

/// A record, copied out of its batch.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) offset: i64,
    pub(super) timestamp: evenkeel_event::clock::Timestamp,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<evenkeel_event::Header>,
}

impl Raw {
    pub(super) fn copy(record: &RecordView<'_>) -> Self {
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(Bytes::copy_from_slice),
            value: record.value.map(Bytes::copy_from_slice),
            headers: record.to_headers(),
        }
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|header| header.name == name)?
            .value
            .as_deref()
    }

    /// The event's id, where the producer gave one that can be one.
    pub(super) fn id(&self) -> Option<EventId> {
        EventId::new(evenkeel_event::record::text(&self.headers, headers::CE_ID)?).ok()
    }
}
