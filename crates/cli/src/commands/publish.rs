//! `evenkeel publish`: events from standard input, one receipt a line.

use std::io::{BufRead, Read as _};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use evenkeel::publish::Pending;
use evenkeel::{
    Event, EventId, EventType, LetterPlace, PublishError, Publisher, Receipt, Subject, TopicName,
};
use evenkeel_event::clock::{Clock as _, SystemClock, Timestamp};
use evenkeel_event::{Header, headers};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::broker;
use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{print_receipt, say};
use crate::sdk;

/// Longest line of standard input, bytes.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Lines that are read ahead.
const LINES_AHEAD: usize = 256;
/// Events without a receipt.
const PENDING_MAX: usize = 10_000;
/// Longest wait for Kafka to say what is wrong.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// Longest wait at the end for what is on its way.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

const AFTER_HELP: &str = "\
A line: {\"value\": {...}} and, where wanted, \"key\" (text, decides the partition), \"id\" (a retry bears the same), \"type\", \
\"time\" (RFC 3339), \"source\", \"subject\", \"headers\" ([[\"name\", \"value\"], ...]).

A receipt: \"outcome\" is published, parked (on this machine, sent on when Kafka takes it), dead-lettered or refused.

Exit codes: 0 all published or parked, 100 some dead-lettered, 1 some refused, 2 wrong arguments.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// The topic.
    topic: TopicName,
    /// CloudEvents type of lines that name none; without it the topic's name.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Events of TYPE obey the subject <topic>-<RECORD> (TopicRecordNameStrategy); others obey <topic>-value. May be
    /// repeated.
    #[arg(long = "event", value_name = "TYPE=RECORD", value_parser = pair)]
    events: Vec<(String, String)>,
    /// CloudEvents source; without it the application's name.
    #[arg(long)]
    source: Option<String>,
}

/// A line of standard input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: Option<String>,
    value: Box<RawValue>,
    id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    time: Option<String>,
    /// In place of --source.
    source: Option<String>,
    subject: Option<String>,
    /// Further headers, by name.
    #[serde(default)]
    headers: Vec<(String, Option<String>)>,
    /// Where the line was exported from; not looked at.
    #[serde(default, rename = "parked")]
    _parked: serde::de::IgnoredAny,
}

/// A line as it was read.
#[derive(Debug)]
struct Numbered {
    /// Its number, from 1, so that one that is no event can be found.
    number: u64,
    /// `None` for a line that is too long.
    text: Option<Vec<u8>>,
}

/// A line of standard output: true and durable when it is printed.
#[derive(Debug, Serialize)]
struct Answer {
    id: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    may_have_landed: Option<bool>,
}

#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    dead_lettered: u64,
    /// Why lines are left that were not read.
    stopped: Option<anyhow::Error>,
}

pub(crate) async fn run(options: Options, settings: &Settings) -> Result<Outcome> {
    let publisher = sdk::publisher(settings, event_types(&options)).await?;
    let defaults = Defaults {
        source: options
            .source
            .unwrap_or_else(|| format!("/{}", settings.publish.application)),
        event_type: options.event_type.unwrap_or_else(|| options.topic.to_string()),
        topic: options.topic,
    };
    let topic = defaults.topic.clone();
    let tally = publish_all(&publisher, &defaults, read_lines()).await?;
    if !publisher.close(CLOSE_WITHIN).await {
        say!("warning: some events got no final answer; publish them again with the same ids");
    }
    // Every event has its receipt: what the store says now changes nothing of that.
    match tokio::time::timeout(ASK_WITHIN, publisher.parked()).await {
        Ok(Ok(parked)) if parked.events > 0 => {
            let reason = why_parked(&publisher, &topic).await;
            say!(
                "{} events are parked; they are sent on when Kafka takes them (evenkeel standby drain){reason}",
                parked.events
            );
        }
        Ok(Ok(_)) => {}
        Ok(Err(error)) => say!("warning: the standby store does not say what is parked: {error}"),
        Err(_) => say!("warning: the standby store does not say what is parked: no answer in time"),
    }
    if let Some(error) = tally.stopped {
        return Err(error);
    }
    if tally.refused > 0 {
        bail!("{} events were refused; their lines say why", tally.refused);
    }
    Ok(if tally.dead_lettered > 0 {
        Outcome::Findings
    } else {
        Outcome::Fine
    })
}

/// What Kafka is unusable for now, as the end of a sentence: a setting that is wrong looks like an outage from within.
async fn why_parked(publisher: &Publisher, topic: &TopicName) -> String {
    let asked = tokio::time::timeout(ASK_WITHIN, publisher.cluster().topic_anew(topic)).await;
    match asked {
        Ok(Err(error)) => format!("; now {error}"),
        // It answers, or nothing is known of it but that it is silent.
        Ok(Ok(_)) | Err(_) => String::new(),
    }
}

fn event_types(options: &Options) -> Vec<EventType> {
    let named = options.events.iter().map(|(name, record)| EventType {
        subject: Subject::TopicRecordName(record.clone()),
        ..EventType::new(name, options.topic.clone())
    });
    named.collect()
}

/// What a line that does not say otherwise is.
struct Defaults {
    topic: TopicName,
    event_type: String,
    source: String,
}

/// Begins events in the order of the lines and prints each receipt as soon as it is known.
async fn publish_all(
    publisher: &Publisher,
    defaults: &Defaults,
    mut lines: mpsc::Receiver<Result<Numbered>>,
) -> Result<Tally> {
    let clock = SystemClock::default();
    let mut tally = Tally::default();
    let mut pending = FuturesUnordered::new();
    let mut open = true;
    let mut stopped = None;
    let mut interrupted = std::pin::pin!(broker::interrupted());
    while open || !pending.is_empty() {
        tokio::select! {
            // What was begun may land: its receipts are printed before the command ends.
            caught = &mut interrupted, if open => {
                caught?;
                open = false;
                stopped = Some(anyhow!("stopped by a signal: the lines without a receipt were not published"));
            }
            Some((id, receipt)) = pending.next() => answer(&mut tally, Some(id), receipt)?,
            line = lines.recv(), if open && pending.len() < PENDING_MAX => match line {
                None => open = false,
                Some(Err(error)) => {
                    open = false;
                    stopped = Some(error);
                }
                Some(Ok(line)) => match begin(publisher, defaults, &clock, &line).await {
                    Ok((id, begun)) => pending.push(receipt(id, begun)),
                    Err((id, error)) => {
                        tally.refused += 1;
                        print_receipt(&Answer::refused(id, format!("{error:#}"), None))?;
                    }
                },
            },
        }
    }
    tally.stopped = stopped;
    Ok(tally)
}

async fn receipt(
    id: EventId,
    begun: Result<Pending, PublishError>,
) -> (EventId, Result<Receipt, PublishError>) {
    match begun {
        Ok(pending) => (id, pending.receipt().await),
        Err(error) => (id, Err(error)),
    }
}

async fn begin(
    publisher: &Publisher,
    defaults: &Defaults,
    clock: &SystemClock,
    from: &Numbered,
) -> Result<(EventId, Result<Pending, PublishError>), (Option<String>, anyhow::Error)> {
    let number = from.number;
    let text = from.text.as_deref().ok_or_else(|| {
        let error = anyhow!("line {number} of standard input is longer than {LINE_BYTES_MAX} bytes");
        (None, error)
    })?;
    let line = parsed(text).map_err(|error| {
        let what = r#"{"key": "...", "value": {...}}"#;
        (
            None,
            anyhow!("line {number} of standard input is no event like {what}: {error}"),
        )
    })?;
    let given = line.id.clone();
    let event = event(defaults, clock, &line).map_err(|error| (given, error))?;
    let begun = publisher.begin_json(&event, line.value.get().as_bytes()).await;
    Ok((event.id, begun))
}

fn parsed(text: &[u8]) -> Result<Line> {
    // A list of the fields' values would do for the parser, and is nothing that anybody means.
    if text.trim_ascii_start().first() != Some(&b'{') {
        bail!("it is no JSON object");
    }
    Ok(serde_json::from_slice(text)?)
}

fn event(defaults: &Defaults, clock: &SystemClock, line: &Line) -> Result<Event> {
    let id = match &line.id {
        Some(id) => EventId::new(id)?,
        None => EventId::v7(clock.now(), rand::random()),
    };
    let time = match &line.time {
        Some(time) => {
            Timestamp::parse_rfc3339(time).ok_or_else(|| anyhow!("\"{time}\" is no time (RFC 3339)"))?
        }
        None => clock.now(),
    };
    let event_type = line.event_type.as_ref().unwrap_or(&defaults.event_type);
    let source = line.source.as_ref().unwrap_or(&defaults.source);
    if event_type.is_empty() || source.is_empty() {
        bail!("its type or its source is empty, which CloudEvents do not allow");
    }
    let mut event = Event::new(id, source, event_type, time, defaults.topic.clone());
    event.key = line.key.clone().map(Bytes::from);
    event.subject.clone_from(&line.subject);
    let reserved =
        |name: &str| name.starts_with("ce_") || name.starts_with("__") || name == headers::CONTENT_TYPE;
    if let Some((name, _)) = line.headers.iter().find(|(name, _)| reserved(name)) {
        bail!("the header {name} is written from the event itself: leave it out");
    }
    event.headers = line
        .headers
        .iter()
        .map(|(name, value)| Header {
            name: name.clone(),
            value: value.clone().map(Bytes::from),
        })
        .collect();
    Ok(event)
}

fn answer(tally: &mut Tally, id: Option<EventId>, receipt: Result<Receipt, PublishError>) -> Result<()> {
    let id = id.map(|id| id.to_string());
    let line = match receipt {
        Ok(receipt) => {
            tally.dead_lettered += u64::from(matches!(receipt, Receipt::DeadLettered { .. }));
            Answer::of(id, receipt)
        }
        Err(error) => {
            tally.refused += 1;
            Answer::refused(id, error.to_string(), Some(error.may_have_landed()))
        }
    };
    print_receipt(&line)
}

impl Answer {
    fn refused(id: Option<String>, cause: String, may_have_landed: Option<bool>) -> Self {
        let cause = Some(cause);
        Self {
            id,
            outcome: "refused",
            topic: None,
            partition: None,
            offset: None,
            cause,
            may_have_landed,
        }
    }

    fn of(id: Option<String>, receipt: Receipt) -> Self {
        let (outcome, topic, partition, offset, cause) = match receipt {
            Receipt::Published {
                topic,
                partition,
                offset,
            } => ("published", topic, Some(partition), offset, None),
            Receipt::Parked { lane, .. } => ("parked", lane.topic, lane.partition, None, None),
            Receipt::DeadLettered {
                cause,
                at:
                    LetterPlace::Topic {
                        topic,
                        partition,
                        offset,
                    },
                ..
            } => ("dead-lettered", topic, Some(partition), offset, Some(cause)),
            Receipt::DeadLettered {
                cause,
                at: LetterPlace::Standby { lane, .. },
                ..
            } => ("dead-lettered", lane.topic, lane.partition, None, Some(cause)),
        };
        Self {
            id,
            outcome,
            topic: Some(topic.to_string()),
            partition,
            offset,
            cause,
            may_have_landed: None,
        }
    }
}

/// Reads standard input on a thread of its own, a bounded number of lines ahead.
fn read_lines() -> mpsc::Receiver<Result<Numbered>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        for number in 1.. {
            let mut line = Vec::new();
            let outcome = match (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(bytes) if bytes as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') => {
                    skip_line(&mut input).map(|()| Numbered { number, text: None })
                }
                Ok(_) if line.trim_ascii().is_empty() => continue,
                Ok(_) => Ok(Numbered {
                    number,
                    text: Some(line),
                }),
                Err(error) => Err(error),
            };
            let outcome = outcome.with_context(|| format!("line {number} of standard input cannot be read"));
            let ended = outcome.is_err();
            // The receiver is gone only when the command has ended.
            if sender.blocking_send(outcome).is_err() || ended {
                return;
            }
        }
    });
    receiver
}

/// Passes over the rest of a line.
fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let piece = input.fill_buf()?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let (bytes, is_over) = (
            end.map_or(piece.len(), |end| end + 1),
            end.is_some() || piece.is_empty(),
        );
        input.consume(bytes);
        if is_over {
            return Ok(());
        }
    }
}

fn pair(text: &str) -> Result<(String, String)> {
    let (name, record) = text
        .split_once('=')
        .ok_or_else(|| anyhow!("expected TYPE=RECORD"))?;
    Ok((name.to_owned(), record.to_owned()))
}
