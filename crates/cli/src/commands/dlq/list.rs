//! `evenkeel dlq list`: what failed, one by one or by cause.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use evenkeel_broker::Cluster;
use evenkeel_event::TopicName;
use evenkeel_worker::redrive::Letter;
use serde::Serialize;

use super::{Ledgers, LetterId, cause, dead_letter_topics, letters};
use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{Format, Tabular, print_list};

/// Characters of a message that a table shows.
const MESSAGE_SHOWN: usize = 80;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only letters on this dead-letter topic.
    #[arg(long)]
    topic: Option<TopicName>,
    /// One line for each topic, event type and cause.
    #[arg(long)]
    by_cause: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    id: String,
    failed_at: Option<String>,
    cause: String,
    #[serde(rename = "type")]
    event_type: String,
    event_id: String,
    key: Option<String>,
    /// The topic that the event was bound for or came from.
    topic: String,
    redriven: bool,
    message: Option<String>,
}

impl Tabular for Row {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "failed at",
        "cause",
        "type",
        "key",
        "topic",
        "redriven",
        "message",
    ];

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.id.clone(),
            or_dash(&self.failed_at),
            self.cause.clone(),
            self.event_type.clone(),
            or_dash(&self.key),
            self.topic.clone(),
            if self.redriven { "yes" } else { "no" }.to_owned(),
            shortened(self.message.as_deref().unwrap_or("-")),
        ]
    }
}

#[derive(Debug, Serialize)]
struct Group {
    letters_on: String,
    cause: String,
    #[serde(rename = "type")]
    event_type: String,
    topic: String,
    letters: usize,
    redriven: usize,
    oldest: Option<String>,
    newest: Option<String>,
    example: String,
}

impl Tabular for Group {
    const COLUMNS: &'static [&'static str] = &[
        "letters on",
        "cause",
        "type",
        "topic",
        "letters",
        "redriven",
        "oldest",
        "newest",
        "example",
    ];

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.letters_on.clone(),
            self.cause.clone(),
            self.event_type.clone(),
            self.topic.clone(),
            self.letters.to_string(),
            self.redriven.to_string(),
            or_dash(&self.oldest),
            or_dash(&self.newest),
            self.example.clone(),
        ]
    }
}

pub(super) async fn run(
    cluster: &Cluster,
    options: &Options,
    format: Format,
    settings: &Settings,
) -> Result<Outcome> {
    let topics = match &options.topic {
        Some(topic) => vec![topic.clone()],
        None => dead_letter_topics(cluster).await?,
    };
    let ledgers = Ledgers::read(cluster, &topics, settings).await?;
    let mut rows = Vec::new();
    for topic in &topics {
        let found = letters(cluster, topic).await?;
        rows.extend(
            found
                .iter()
                .map(|letter| (topic.to_string(), row(letter, &ledgers))),
        );
    }
    if options.by_cause {
        print_list(format, &groups(rows))?;
    } else {
        let mut rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        rows.sort_by(|one, other| one.failed_at.cmp(&other.failed_at));
        print_list(format, &rows)?;
    }
    Ok(Outcome::Fine)
}

fn row(letter: &Letter, ledgers: &Ledgers) -> Row {
    let event = &letter.event;
    Row {
        id: LetterId::of(letter).to_string(),
        failed_at: letter.diagnosis.failed_at.clone(),
        cause: cause(letter).to_owned(),
        event_type: event.event_type.clone(),
        event_id: event.id.to_string(),
        key: event
            .key
            .as_deref()
            .map(|key| String::from_utf8_lossy(key).into_owned()),
        topic: event.topic.to_string(),
        redriven: ledgers.is_done(&letter.partition.topic, &letter.identity),
        message: letter.diagnosis.message.clone(),
    }
}

/// One line a cause, the most frequent first.
fn groups(rows: Vec<(String, Row)>) -> Vec<Group> {
    let mut groups: BTreeMap<[String; 4], Group> = BTreeMap::new();
    for (letters_on, row) in rows {
        let name = [letters_on, row.cause, row.event_type, row.topic];
        let group = groups
            .entry(name)
            .or_insert_with_key(|[letters_on, cause, event_type, topic]| Group {
                letters_on: letters_on.clone(),
                cause: cause.clone(),
                event_type: event_type.clone(),
                topic: topic.clone(),
                letters: 0,
                redriven: 0,
                oldest: None,
                newest: None,
                example: row.id,
            });
        group.letters += 1;
        group.redriven += usize::from(row.redriven);
        if let Some(failed_at) = row.failed_at {
            let oldest = group.oldest.get_or_insert_with(|| failed_at.clone());
            if failed_at < *oldest {
                oldest.clone_from(&failed_at);
            }
            let newest = group.newest.get_or_insert_with(|| failed_at.clone());
            if failed_at > *newest {
                *newest = failed_at;
            }
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.letters));
    groups
}

fn shortened(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    if line.chars().count() <= MESSAGE_SHOWN {
        return line.to_owned();
    }
    line.chars().take(MESSAGE_SHOWN).chain(['…']).collect()
}
