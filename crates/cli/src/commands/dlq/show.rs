//! `evenkeel dlq show`: one letter in full.

use std::sync::Arc;

use anyhow::{Result, bail};
use base64::Engine as _;
use evenkeel_broker::Cluster;
use evenkeel_event::headers;
use evenkeel_worker::redrive::{Data, Letter, find};
use serde::Serialize;
use serde_json::Value;

use super::{Ledgers, LetterId, cause};
use crate::config::Settings;
use crate::decode::Decoder;
use crate::exit::Outcome;
use crate::output::{Format, print_document};
use crate::registry::Registry;

#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    cause: String,
    message: Option<String>,
    stage: Option<String>,
    failed_at: Option<String>,
    application: Option<String>,
    group: Option<String>,
    /// The topic that the event was bound for or came from.
    topic: String,
    partition: Option<i32>,
    offset: Option<i64>,
    schema_id: Option<u32>,
    redriven: bool,
    redriven_before: u32,
    event: Event,
}

#[derive(Debug, Serialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    source: String,
    time: String,
    key: Option<String>,
    headers: Vec<(String, Option<String>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    /// The data as it is, where it cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    /// Why it cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_error: Option<String>,
}

pub(super) async fn run(
    cluster: &Cluster,
    id: &LetterId,
    format: Format,
    settings: &Settings,
) -> Result<Outcome> {
    let Some(letter) = find(cluster, &id.partition, id.offset).await? else {
        bail!("there is no dead letter {id} (evenkeel dlq list shows those that there are)");
    };
    let topic = id.partition.topic.clone();
    let ledgers = Ledgers::read(cluster, &[topic], settings).await?;
    let mut decoder = Decoder::new(Arc::new(Registry::new(settings)));
    let data = tokio::task::block_in_place(|| decoded(&letter.data, &mut decoder));
    print_document(format, &shown(id, letter, data, &ledgers))?;
    Ok(Outcome::Fine)
}

fn shown(id: &LetterId, letter: Letter, data: Result<Value>, ledgers: &Ledgers) -> Shown {
    let raw = match (&data, &letter.data) {
        (Err(_), Data::Json(bytes) | Data::Framed(bytes)) => Some(bytes),
        _ => None,
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let event = Event {
        id: letter.event.id.to_string(),
        event_type: letter.event.event_type.clone(),
        source: letter.event.source.clone(),
        time: letter.event.time.to_rfc3339(),
        key: letter.event.key.as_deref().map(text),
        headers: letter
            .event
            .headers
            .iter()
            // The count that it would be sent on with; the letter's own is shown beside.
            .filter(|header| header.name != headers::DLQ_REDRIVE_COUNT)
            .map(|header| (header.name.clone(), header.value.as_deref().map(text)))
            .collect(),
        data_base64: raw.map(|bytes| base64::engine::general_purpose::STANDARD.encode(bytes)),
        data_error: data.as_ref().err().map(|error| format!("{error:#}")),
        data: data.ok(),
    };
    Shown {
        id: id.to_string(),
        cause: cause(&letter).to_owned(),
        topic: letter.event.topic.to_string(),
        redriven: ledgers.is_done(&letter.partition.topic, &letter.identity),
        message: letter.diagnosis.message,
        stage: letter.diagnosis.stage,
        failed_at: letter.diagnosis.failed_at,
        application: letter.diagnosis.application,
        group: letter.diagnosis.group,
        partition: letter.diagnosis.partition,
        offset: letter.diagnosis.offset,
        schema_id: letter.diagnosis.schema_id,
        redriven_before: letter.diagnosis.redrive_count,
        event,
    }
}

fn decoded(data: &Data, decoder: &mut Decoder) -> Result<Value> {
    Ok(match data {
        Data::Json(json) => serde_json::from_slice(json)?,
        Data::Framed(bytes) => serde_json::from_str(&decoder.decode_framed(bytes, None)?.json)?,
    })
}
