//! An event as the record that its partition's batch will hold, made before any lock is taken and without an allocation.

use std::cell::Cell;

use evenkeel_broker::batch::{Body, put_header};
use evenkeel_event::clock::Timestamp;
use evenkeel_event::{Event, Record, headers};
use evenkeel_schema::avro::Scratch;
use evenkeel_schema::{Contract, Payload, Valid, Violation};
use serde::Serialize;

/// What an event's data is on the wire.
const CONTENT_TYPE: &str = "application/avro";
/// Headers that every event has: `ce_specversion`, `ce_id`, `ce_source`, `ce_type`, `ce_time`, `content-type`.
const OWN_HEADERS: usize = 6;

thread_local! {
    static OWN: Cell<Option<Box<Encoding>>> = const { Cell::new(None) };
}

/// Memory for one record at a time, and headers as they were written for the event before. Each thread has its own.
#[derive(Debug, Default)]
pub(super) struct Encoding {
    scratch: Scratch,
    body: Body,
    kept: Kept,
}

/// Encoded headers that are used again as long as events are alike.
#[derive(Debug, Default)]
struct Kept {
    source: String,
    event_type: String,
    /// `ce_source` and `ce_type`.
    origin: Vec<u8>,
    time: Option<Timestamp>,
    /// `ce_time`.
    at: Vec<u8>,
    /// `ce_specversion`.
    version: Vec<u8>,
    /// `content-type`.
    content: Vec<u8>,
}

/// A record's bytes, and the bytes of its value among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made<'encoding> {
    pub(super) body: &'encoding Body,
    pub(super) value_bytes: usize,
}

impl Encoding {
    /// Lends this thread's memory.
    pub(super) fn with<T>(use_it: impl FnOnce(&mut Self) -> T) -> T {
        // Whoever comes here again from within makes memory of their own.
        let mut own = OWN.take().unwrap_or_default();
        let result = use_it(&mut own);
        OWN.set(Some(own));
        result
    }

    /// The record of an event with this data.
    ///
    /// # Errors
    /// What of its contract it violates.
    pub(super) fn encode<T: Serialize + ?Sized>(
        &mut self,
        event: &Event,
        contract: &Contract,
        data: &T,
    ) -> Result<Made<'_>, Violation> {
        let value = contract.encode_in(data, &mut self.scratch)?;
        self.kept.write(&mut self.body, event, value.get());
        Ok(Made {
            body: &self.body,
            value_bytes: value.get().len(),
        })
    }

    /// The record of an event whose data was encoded before.
    pub(super) fn valid(&mut self, event: &Event, data: &Valid<Payload>) -> &Body {
        self.kept.write(&mut self.body, event, data.get().bytes());
        &self.body
    }

    /// A record of a dead-letter topic.
    pub(super) fn letter(&mut self, record: &Record) -> &Body {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        self.body.begin(key, value, record.headers.len());
        for header in &record.headers {
            self.body.header(header.name.as_bytes(), header.value.as_deref());
        }
        &self.body
    }
}

impl Kept {
    /// Writes an event's record with the headers of [`Event::to_headers`], in their order.
    fn write(&mut self, body: &mut Body, event: &Event, value: &[u8]) {
        self.follow(event);
        let subject = event.subject.as_deref();
        let count = OWN_HEADERS + usize::from(subject.is_some()) + event.headers.len();
        body.begin(event.key.as_deref(), Some(value), count);
        body.raw_headers(&self.version);
        body.header(headers::CE_ID.as_bytes(), Some(event.id.as_str().as_bytes()));
        body.raw_headers(&self.origin);
        body.raw_headers(&self.at);
        if let Some(subject) = subject {
            body.header(headers::CE_SUBJECT.as_bytes(), Some(subject.as_bytes()));
        }
        body.raw_headers(&self.content);
        for header in &event.headers {
            body.header(header.name.as_bytes(), header.value.as_deref());
        }
    }

    /// Encodes again what differs from the event before.
    fn follow(&mut self, event: &Event) {
        if self.time != Some(event.time) {
            let mut buffer = [0; 24];
            let time = event.time.write_rfc3339(&mut buffer);
            let time = time.unwrap_or("9999-12-31T23:59:59.999Z");
            put(&mut self.at, headers::CE_TIME, time);
            self.time = Some(event.time);
        }
        if self.content.is_empty() {
            put(&mut self.version, headers::CE_SPECVERSION, "1.0");
            put(&mut self.content, headers::CONTENT_TYPE, CONTENT_TYPE);
        } else if self.source == event.source && self.event_type == event.event_type {
            return;
        }
        put(&mut self.origin, headers::CE_SOURCE, &event.source);
        let event_type = event.event_type.as_bytes();
        put_header(&mut self.origin, headers::CE_TYPE.as_bytes(), Some(event_type));
        self.source.clone_from(&event.source);
        self.event_type.clone_from(&event.event_type);
    }
}

/// Writes a header in the place of what is there.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.clear();
    put_header(out, name.as_bytes(), Some(value.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_event::{EventId, Header, TopicName};

    fn event(id: &str, source: &str, event_type: &str, millis: i64) -> Event {
        let topic = TopicName::new("orders").unwrap();
        let id = EventId::new(id).unwrap();
        Event::new(id, source, event_type, Timestamp::from_millis(millis), topic)
    }

    /// What is used again for one event must not show in another that differs from it in any way.
    #[test]
    fn an_events_record_is_the_one_that_it_tells_after_any_other() {
        let first = event("a", "/shop", "order.placed", 1_291_191_960_000);
        let events = [
            first.clone(),
            first.clone(),
            event("b", "/shop", "order.placed", 1_291_191_960_001),
            event("c", "/shop", "order.paid", 1_291_191_960_001),
            event("d", "/till", "order.paid", 0),
            first.clone().with_key("17850"),
            Event {
                subject: Some("536365".to_owned()),
                headers: vec![Header::new("own", "1")],
                ..first
            },
        ];
        let mut encoding = Encoding::default();
        for (event, again) in events
            .iter()
            .flat_map(|one| events.iter().map(move |two| (one, two)))
        {
            for event in [event, again] {
                encoding.kept.write(&mut encoding.body, event, b"data");
                let record = Record {
                    topic: event.topic.clone(),
                    partition: None,
                    key: event.key.clone(),
                    value: Some(b"data".as_slice().into()),
                    headers: event.to_headers(CONTENT_TYPE, None),
                };
                let mut expected = Encoding::default();
                assert_eq!(encoding.body.bytes(), expected.letter(&record).bytes());
            }
        }
    }
}
