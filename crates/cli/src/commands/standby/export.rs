//! `evenkeel standby export`: parked events as `evenkeel publish` reads them.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use clap::Args;
use evenkeel_broker::batch::RecordView;
use evenkeel_event::{TopicName, headers};
use evenkeel_store::{Kind, Place};
use serde::Serialize;

use super::Chosen;
use super::walk::{Parked, walk};
use crate::config::Settings;
use crate::decode::Decoder;
use crate::exit::Outcome;
use crate::output::{print_line, say};
use crate::parked_look::ParkedLook;
use crate::record_line::RecordLine;
use crate::registry::Registry;

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    chosen: Chosen,
    /// Go on behind this event, as `parked.cursor` of the last line says: TOPIC/PARTITION/POSITION.
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    after: Option<Cursor>,
}

/// How far an export is: places in the order of topic and partition (-1 where it was not known), then positions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    topic: TopicName,
    partition: i32,
    position: u64,
}

/// A line that `evenkeel publish` reads; it leaves `parked` aside.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    event: RecordLine,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    parked: Where,
}

#[derive(Debug, Serialize)]
struct Where {
    topic: String,
    partition: Option<i32>,
    position: u64,
    at: String,
    stamped: bool,
    cursor: String,
}

impl Cursor {
    fn of(place: &Place, position: u64) -> Self {
        Self {
            topic: place.topic.clone(),
            partition: place.partition.unwrap_or(-1),
            position,
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}/{}", self.topic, self.partition, self.position)
    }
}

pub(super) fn export(options: Export, settings: &Settings) -> Result<Outcome> {
    let (application, mut look) = ParkedLook::open(settings, options.chosen.application.clone())?;
    let scope = options.chosen.scope();
    let mut places: Vec<Place> = look.open_places()?.into_iter().map(|held| held.place).collect();
    places.retain(|place| scope.covers(place));
    places.sort_by_key(|place| Cursor::of(place, 0));
    let mut decoder = Decoder::of_parked(&application, Arc::new(Registry::new(settings)));
    let (mut exported, mut undecoded, mut letters) = (0_u64, 0_u64, 0_u64);
    for place in &places {
        walk(&mut look, place, 0, |parked, record| {
            let cursor = Cursor::of(place, parked.position);
            if options.after.as_ref().is_some_and(|after| cursor <= *after) {
                return Ok(ControlFlow::Continue(()));
            }
            if parked.kind == Kind::Letter {
                letters += 1;
                return Ok(ControlFlow::Continue(()));
            }
            let event = RecordLine::of(record, &mut decoder)?;
            undecoded += u64::from(event.error.is_some());
            exported += 1;
            print_line(&line(place, parked, record, (event, cursor)))?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    say!(
        "{exported} events of {} are exported; they stay parked too",
        application.name
    );
    if letters > 0 {
        say!(
            "{letters} dead letters are left out: they are no events to publish (evenkeel standby show has them)"
        );
    }
    let damages = look.damaged()?.len();
    if undecoded > 0 || damages > 0 {
        say!(
            "{undecoded} events could not be decoded and have value_base64, which evenkeel publish refuses; {damages} \
             places of the store cannot be read"
        );
        return Ok(Outcome::Findings);
    }
    Ok(Outcome::Fine)
}

fn line(
    place: &Place,
    parked: Parked,
    record: &RecordView<'_>,
    (event, cursor): (RecordLine, Cursor),
) -> Line {
    let text = |name: &str| {
        let value = record.header(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    let odd_key = record.key.filter(|key| std::str::from_utf8(key).is_err());
    let mut event = event;
    if odd_key.is_some() {
        event.key = None;
    }
    Line {
        event: event.without_attributes(),
        key_base64: odd_key.map(|key| base64::engine::general_purpose::STANDARD.encode(key)),
        time: text(headers::CE_TIME),
        source: text(headers::CE_SOURCE),
        subject: text(headers::CE_SUBJECT),
        parked: Where {
            topic: place.topic.to_string(),
            partition: place.partition,
            position: parked.position,
            at: parked.at.to_rfc3339(),
            stamped: parked.stamped,
            cursor: cursor.to_string(),
        },
    }
}

fn cursor(text: &str) -> Result<Cursor> {
    let expected = || anyhow!("expected TOPIC/PARTITION/POSITION, as parked.cursor of a line says");
    let mut parts = text.rsplitn(3, '/');
    let position = parts.next().ok_or_else(expected)?;
    let partition = parts.next().ok_or_else(expected)?;
    let topic = parts.next().ok_or_else(expected)?;
    Ok(Cursor {
        topic: TopicName::new(topic)?,
        partition: partition.parse().with_context(|| expected().to_string())?,
        position: position.parse().with_context(|| expected().to_string())?,
    })
}
