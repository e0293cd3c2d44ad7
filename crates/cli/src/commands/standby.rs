//! `evenkeel standby`: what is parked on this machine.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use evenkeel::Publisher;
use evenkeel_event::clock::{Clock as _, SystemClock, Timestamp};
use evenkeel_store::PlaceStats;
use serde::Serialize;

use super::broker;
use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{Format, Tabular, print_list};
use crate::sdk;
use crate::standby::{Application, Look, applications};

/// Between looks at what a drain has left.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Between lines about it.
const TELL_EVERY: u32 = 20;
/// Longest wait for what is on its way when a drain ends.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List what is parked, by application, topic and partition.
    List,
    /// Send an application's parked events on, and wait until none is left or Ctrl-C.
    Drain(Drain),
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// The application; without it publish.application of the settings.
    #[arg(long)]
    application: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    application: String,
    /// A running process holds the store, and drains it; what it holds cannot be seen meanwhile.
    in_use: bool,
    topic: Option<String>,
    /// Absent for events that were parked before their partition was known.
    partition: Option<i32>,
    events: Option<u64>,
    bytes: Option<u64>,
    oldest: Option<String>,
    oldest_age_seconds: Option<u64>,
}

impl Tabular for Row {
    const COLUMNS: &'static [&'static str] = &[
        "application",
        "topic",
        "partition",
        "events",
        "bytes",
        "oldest",
        "age (s)",
    ];

    fn cells(&self) -> Vec<String> {
        let topic = match &self.topic {
            Some(topic) => topic.clone(),
            None => "(in use by a running process)".to_owned(),
        };
        let or_dash =
            |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        vec![
            self.application.clone(),
            topic,
            self.partition
                .map_or_else(|| "-".to_owned(), |partition| partition.to_string()),
            or_dash(self.events),
            or_dash(self.bytes),
            self.oldest.clone().unwrap_or_else(|| "-".to_owned()),
            or_dash(self.oldest_age_seconds),
        ]
    }
}

pub(crate) async fn run(verb: Verb, format: Format, settings: &Settings) -> Result<Outcome> {
    match verb {
        Verb::List => list(format, settings).await,
        Verb::Drain(options) => drain(options, settings).await,
    }
}

async fn list(format: Format, settings: &Settings) -> Result<Outcome> {
    let now = SystemClock::default().now();
    let mut rows = Vec::new();
    for application in applications(settings)? {
        match application.look().await? {
            Look::InUse => rows.push(Row::in_use(&application)),
            Look::Places(places) => {
                rows.extend(places.iter().map(|place| Row::of(&application, place, now)));
            }
        }
    }
    print_list(format, &rows)?;
    Ok(Outcome::Fine)
}

impl Row {
    fn in_use(application: &Application) -> Self {
        Self {
            application: application.name.clone(),
            in_use: true,
            topic: None,
            partition: None,
            events: None,
            bytes: None,
            oldest: None,
            oldest_age_seconds: None,
        }
    }

    fn of(application: &Application, held: &PlaceStats, now: Timestamp) -> Self {
        Self {
            application: application.name.clone(),
            in_use: false,
            topic: Some(held.place.topic.to_string()),
            partition: held.place.partition,
            events: Some(held.events),
            bytes: Some(held.bytes),
            oldest: Some(held.oldest.to_rfc3339()),
            oldest_age_seconds: Some(now.since(held.oldest).as_secs()),
        }
    }
}

async fn drain(options: Drain, settings: &Settings) -> Result<Outcome> {
    let mut settings = settings.clone();
    if let Some(application) = options.application {
        settings.publish.application = application;
    }
    let name = &settings.publish.application;
    if !applications(&settings)?.iter().any(|known| known.name == *name) {
        eprintln!("nothing is parked: {name} has no standby store here");
        return Ok(Outcome::Fine);
    }
    let publisher = sdk::publisher(&settings, Vec::new()).await?;
    let waited = tokio::select! {
        waited = until_empty(&publisher) => waited,
        interrupted = broker::interrupted() => interrupted,
    };
    publisher.close(CLOSE_WITHIN).await;
    waited?;
    match publisher.parked().await?.events {
        0 => {
            eprintln!("nothing is parked");
            Ok(Outcome::Fine)
        }
        left => bail!("stopped with {left} events still parked; they stay where they are"),
    }
}

async fn until_empty(publisher: &Publisher) -> Result<()> {
    let mut told = None;
    for round in 0_u32.. {
        let left = publisher.parked().await?.events;
        if left == 0 {
            return Ok(());
        }
        if told != Some(left) && round % TELL_EVERY == 0 {
            eprintln!("{left} events left");
            told = Some(left);
        }
        tokio::time::sleep(PROGRESS_EVERY).await;
    }
    Ok(())
}
