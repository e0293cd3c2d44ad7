//! A record's event as commands print it.

use anyhow::Result;
use base64::Engine as _;
use evenkeel_broker::batch::RecordView;
use evenkeel_event::headers;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::decode::Decoder;
use crate::output::printable;

/// One record, decoded where that is possible.
#[derive(Debug, Serialize)]
pub(crate) struct RecordLine {
    pub(crate) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Box<RawValue>>,
    /// The value as it is, where it cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value_base64: Option<String>,
    /// Why it cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

impl RecordLine {
    pub(crate) fn of(record: &RecordView<'_>, decoder: &mut Decoder) -> Result<Self> {
        let decoded = record.value.map(|_| decoder.decode(record));
        let json = match &decoded {
            Some(Ok(decoded)) => Some((decoded.schema_id, RawValue::from_string(decoded.json.clone())?)),
            // A publisher's letter holds its data as plain JSON.
            Some(Err(_)) => plain_json(record).map(|value| (evenkeel_schema::wire::SchemaId(0), value)),
            None => None,
        };
        let raw = decoded.as_ref().filter(|_| json.is_none());
        let base64 = |value: &[u8]| base64::engine::general_purpose::STANDARD.encode(value);
        Ok(Self {
            key: record.key.map(|key| String::from_utf8_lossy(key).into_owned()),
            id: text(record.header(headers::CE_ID)),
            event_type: text(record.header(headers::CE_TYPE)),
            schema_id: json.as_ref().map(|(id, _)| id.0).filter(|id| *id > 0),
            value_base64: raw.and(record.value).map(base64),
            error: raw
                .and_then(|decoded| decoded.as_ref().err())
                .map(|error| format!("{error:#}")),
            headers: record
                .headers()
                .map(|(name, value)| (name.into_owned(), text(value)))
                .collect(),
            value: json.map(|(_, value)| value),
        })
    }

    /// Without the headers that an event's own attributes are written to, and those of its encoding.
    pub(crate) fn without_attributes(mut self) -> Self {
        self.schema_id = None;
        self.headers.retain(|(name, _)| {
            let is_made = name.starts_with("ce_") || name.starts_with("__") || name == headers::CONTENT_TYPE;
            !is_made
        });
        self
    }

    /// Key, type and value on one line for people.
    pub(crate) fn short(&self) -> String {
        let value = match (&self.value, &self.error) {
            (Some(value), _) => value.get().to_owned(),
            (None, Some(error)) => format!("cannot be decoded: {error}"),
            (None, None) => "(tombstone)".to_owned(),
        };
        let (key, kind) = (
            self.key.as_deref().unwrap_or("-"),
            self.event_type.as_deref().unwrap_or("-"),
        );
        printable(&format!("{key} {kind} {value}")).into_owned()
    }
}

fn plain_json(record: &RecordView<'_>) -> Option<Box<RawValue>> {
    let declared = text(record.header(headers::CONTENT_TYPE))? == "application/json";
    declared.then(|| serde_json::from_slice(record.value?).ok())?
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
