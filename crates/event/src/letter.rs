//! A dead letter: an event that is wrong or could not be handled, with its cause.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::{Code, Header, Record, TopicName, headers};

/// Where on its path an event failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// On the publish side, before it reached its topic.
    Publish,
    /// The consumer found no schema id in front of the bytes.
    Frame,
    /// The consumer could not read the bytes with their schema.
    Decode,
    /// The consumer found the event against its contract.
    Validate,
    /// The handler gave up.
    Handle,
}

impl Stage {
    /// The stage as written in `evenkeel-dlq-stage`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Frame => "frame",
            Self::Decode => "decode",
            Self::Validate => "validate",
            Self::Handle => "handle",
        }
    }

    /// Reads `evenkeel-dlq-stage`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Publish,
            Self::Frame,
            Self::Decode,
            Self::Validate,
            Self::Handle,
        ]
        .into_iter()
        .find(|stage| stage.as_str() == text)
    }
}

/// What is known about a failure; written into a letter's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What kind of failure it was.
    pub code: Code,
    /// Where it happened.
    pub stage: Stage,
    /// What went wrong, for people, at most [`Cause::MESSAGE_BYTES_MAX`] bytes are written. Never holds payloads.
    pub message: String,
    /// The application or group that failed it.
    pub application: String,
    /// When it failed.
    pub failed_at: Timestamp,
    /// The id of the schema that judged it, where one did.
    pub schema_id: Option<u32>,
    /// How often it had been delivered; 0 on the publish side.
    pub delivery_count: u32,
}

impl Cause {
    /// Longest message that a letter carries, bytes.
    pub const MESSAGE_BYTES_MAX: usize = 2_048;
}

/// Where the original was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its topic.
    pub topic: TopicName,
    /// Its partition; `None` on the publish side.
    pub partition: Option<i32>,
    /// Its offset; `None` on the publish side.
    pub offset: Option<i64>,
    /// The consumer group that failed it; `None` on the publish side.
    pub group: Option<String>,
}

/// A record bound for a dead-letter topic: the original's key, value and headers, then the cause's headers.
///
/// Only this type (and a valid record) may enter a lane, so raw bytes reach dead-letter topics alone (invariant **valid**).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    record: Record,
}

impl Letter {
    /// Writes a letter for `letters`, a dead-letter topic. Dead-letter headers of an earlier failure are replaced;
    /// `evenkeel-dlq-redrive-count` is kept.
    #[must_use]
    pub fn new(
        letters: TopicName,
        key: Option<Bytes>,
        value: Option<Bytes>,
        original_headers: Vec<Header>,
        origin: &Origin,
        cause: &Cause,
    ) -> Self {
        let mut list: Vec<Header> = original_headers
            .into_iter()
            .filter(|header| !is_replaced(&header.name))
            .collect();
        list.push(Header::new(headers::DLQ_TOPIC, origin.topic.as_str().to_owned()));
        push(&mut list, headers::DLQ_PARTITION, origin.partition);
        push(&mut list, headers::DLQ_OFFSET, origin.offset);
        push(&mut list, headers::DLQ_GROUP, origin.group.as_deref());
        push(&mut list, headers::DLQ_DELIVERY_COUNT, Some(cause.delivery_count));
        push(&mut list, headers::DLQ_MESSAGE, Some(shortened(&cause.message)));
        push(&mut list, headers::DLQ_CODE, Some(cause.code.as_str()));
        push(&mut list, headers::DLQ_STAGE, Some(cause.stage.as_str()));
        push(&mut list, headers::DLQ_APPLICATION, Some(&cause.application));
        push(
            &mut list,
            headers::DLQ_FAILED_AT,
            Some(cause.failed_at.to_rfc3339()),
        );
        push(&mut list, headers::DLQ_SCHEMA_ID, cause.schema_id);
        Self {
            record: Record {
                topic: letters,
                partition: None,
                key,
                value,
                headers: list,
            },
        }
    }

    /// The record to write.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Takes the record out, to write it.
    #[must_use]
    pub fn into_record(self) -> Record {
        self.record
    }
}

fn push(list: &mut Vec<Header>, name: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        list.push(Header::new(name, value.to_string()));
    }
}

fn is_replaced(name: &str) -> bool {
    (name.starts_with("__dlq.errors.") || name.starts_with("evenkeel-dlq-"))
        && name != headers::DLQ_REDRIVE_COUNT
}

fn shortened(message: &str) -> &str {
    let mut end = message.len().min(Cause::MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(original_headers: Vec<Header>, message: &str) -> Letter {
        let cause = Cause {
            code: Code::SchemaViolation,
            stage: Stage::Publish,
            message: message.to_owned(),
            application: "orders-api".to_owned(),
            failed_at: Timestamp::from_millis(0),
            schema_id: Some(17),
            delivery_count: 0,
        };
        let topic = TopicName::new("orders").unwrap();
        let origin = Origin {
            topic,
            partition: None,
            offset: None,
            group: None,
        };
        let letters = TopicName::publish_letters("orders-api").unwrap();
        Letter::new(
            letters,
            None,
            Some(Bytes::from_static(b"{}")),
            original_headers,
            &origin,
            &cause,
        )
    }

    #[test]
    fn headers_of_an_earlier_failure_are_replaced() {
        let old = vec![
            Header::new(headers::DLQ_CODE, "old"),
            Header::new("own", "1"),
            Header::new(headers::DLQ_REDRIVE_COUNT, "2"),
        ];
        let record = letter(old, "no").into_record();
        assert_eq!(record.header(headers::DLQ_CODE), Some("schema-violation"));
        assert_eq!(record.header("own"), Some("1"));
        assert_eq!(record.header(headers::DLQ_REDRIVE_COUNT), Some("2"));
        assert_eq!(record.header(headers::DLQ_PARTITION), None);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let record = letter(Vec::new(), &"ä".repeat(2_000)).into_record();
        assert_eq!(record.header(headers::DLQ_MESSAGE).unwrap().len(), 2_048);
    }
}
