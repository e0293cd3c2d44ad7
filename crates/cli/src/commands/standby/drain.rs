//! `evenkeel standby drain`.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use evenkeel::publish::StartError;
use evenkeel::{Drain as Pace, Publisher};
use evenkeel_store::{Alarms, PlaceStats, Scope};
use evenkeel_worker::applications::Application;
use serde::Serialize;

use super::Chosen;
use super::list::Told;
use crate::commands::broker;
use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{Format, print_next, say};
use crate::sdk;
use crate::shared_standby;
use crate::standby::{application, applications, directory};

/// Between looks at what a drain has left.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between lines about it.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for what is on its way when a drain ends.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// The same, when it was told to stop.
const STOP_WITHIN: Duration = Duration::from_millis(500);
/// Longest wait for what is kept aside, which is tried again at the start.
const ASIDE_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for Kafka to say why it takes nothing.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// What a new rate weighs in the one that is shown.
const NEW_WEIGHS: f64 = 0.3;

#[derive(Debug, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    chosen: Chosen,
    /// Send at most so many events a second; without it as many as the cluster takes.
    #[arg(long, value_name = "EVENTS_PER_SECOND")]
    rate: Option<NonZeroU32>,
}

/// How far a drain is.
#[derive(Debug, Serialize)]
struct Progress {
    application: String,
    /// Events that this drain has sent.
    events_sent: u64,
    events_left: u64,
    bytes_left: u64,
    events_per_second: u64,
    /// Seconds until nothing is left, at this rate; absent while nothing moves.
    eta_seconds: Option<u64>,
    /// Events that are held, or were not chosen.
    events_kept: u64,
    /// What Kafka says when it is asked while nothing moves; absent when it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    alarms: Vec<Told>,
}

/// What is measured between two lines.
struct Meter {
    drained: u64,
    at: Instant,
    rate: f64,
}

impl Meter {
    /// Events a second, smoothed; 0 as soon as nothing moved since the last line.
    fn rate(&mut self, drained: u64) -> f64 {
        let now = Instant::now();
        let seconds = now.duration_since(self.at).as_secs_f64().max(0.001);
        let fresh = drained.saturating_sub(self.drained) as f64 / seconds;
        self.rate = if self.rate == 0.0 || fresh == 0.0 {
            fresh
        } else {
            self.rate * (1.0 - NEW_WEIGHS) + fresh * NEW_WEIGHS
        };
        (self.drained, self.at) = (drained, now);
        self.rate
    }
}

pub(super) async fn drain(options: Drain, format: Format, settings: &Settings) -> Result<Outcome> {
    let name = options.chosen.application.clone();
    let is_shared = shared_standby::is_of(settings, name.as_deref());
    if name.is_none() && !is_shared && applications(settings)?.is_empty() {
        say!(
            "nothing is parked: no application has a standby store in {}",
            directory(settings).display()
        );
        return Ok(Outcome::Fine);
    }
    let application = match is_shared {
        true => {
            // A wrong name makes no store that is empty.
            shared_standby::existing(settings).await?;
            shared_standby::application(settings)
        }
        false => application(settings, name)?,
    };
    let only = options.chosen.only();
    let publisher = start(settings, &application, &only, options.rate, is_shared).await?;
    let (waited, close_within) = tokio::select! {
        waited = until_empty(&publisher, &application, &only, format) => (waited, CLOSE_WITHIN),
        // What is under way then has its stamps stored: the next drain goes on with it.
        interrupted = broker::interrupted() => (interrupted, STOP_WITHIN),
    };
    publisher.close(close_within).await;
    let last = look(&publisher, &application, &only).await?;
    let (left, kept) = (last.events, last.kept);
    if format != Format::Table {
        print_next(format, &last.progress(&application, &publisher, 0.0))?;
    }
    waited?;
    if left > 0 {
        bail!("stopped with {left} events still parked; they stay where they are");
    }
    let sent = publisher.drained();
    match kept {
        0 => say!("{sent} events sent; nothing is parked"),
        kept => {
            say!("{sent} events sent; nothing else is parked, but {kept} events are held or were not chosen")
        }
    }
    if is_shared {
        refuse_what_lies_on_disk(settings)?;
    }
    Ok(Outcome::Fine)
}

async fn start(
    settings: &Settings,
    application: &Application,
    only: &[Scope],
    rate: Option<NonZeroU32>,
    is_shared: bool,
) -> Result<Publisher> {
    let mut settings = settings.clone();
    settings.publish.application.clone_from(&application.name);
    let mut config = sdk::config(&settings, Vec::new());
    config.directory.clone_from(&application.directory);
    if is_shared {
        config.fleet = sdk::fleet(&settings).await?;
    }
    config.drain = Pace {
        only: only.to_vec(),
        events_per_second: rate,
    };
    match Publisher::start(config).await {
        Err(StartError::Standby(evenkeel_store::Error::Locked { .. })) => bail!(
            "{} runs, and drains what it has parked itself (evenkeel standby list shows it); evenkeel standby hold and \
             release work while it runs",
            application.name
        ),
        other => other.context("the drain did not start"),
    }
}

/// What the application had parked on this machine before its processes shared a store is none of this drain's.
fn refuse_what_lies_on_disk(settings: &Settings) -> Result<()> {
    let name = &settings.publish.application;
    let Some(on_disk) = applications(settings)?
        .into_iter()
        .find(|found| found.name == *name)
    else {
        return Ok(());
    };
    let events: u64 = on_disk.look()?.places.iter().map(|place| place.events).sum();
    if events > 0 {
        bail!(
            "{events} events lie in {}, from when {name} had no shared store: EVENKEEL_STANDBY__URL= evenkeel standby drain sends \
             them on",
            on_disk.directory.display()
        );
    }
    Ok(())
}

/// What is left, parted by whether this drain sends it.
struct Left {
    events: u64,
    bytes: u64,
    kept: u64,
    /// Of those that are kept: dead letters that their topic refuses, and that are tried again at the start.
    aside: u64,
    alarms: Vec<Told>,
}

async fn look(publisher: &Publisher, application: &Application, only: &[Scope]) -> Result<Left> {
    let places = publisher.standby().open_places().await?;
    let holds = publisher.holds().await.unwrap_or_default();
    let is_kept = |held: &PlaceStats| {
        let is_chosen = only.is_empty() || only.iter().any(|scope| scope.covers(&held.place));
        !is_chosen || held.place.is_aside() || holds.of(&held.place).is_some()
    };
    let (kept, left): (Vec<PlaceStats>, Vec<PlaceStats>) = places.into_iter().partition(is_kept);
    let alarms = Alarms::read(&application.directory).unwrap_or_default();
    Ok(Left {
        events: left.iter().map(|held| held.events).sum(),
        bytes: left.iter().map(|held| held.bytes).sum(),
        kept: kept.iter().map(|held| held.events).sum(),
        aside: kept
            .iter()
            .filter(|held| held.place.is_aside())
            .map(|held| held.events)
            .sum(),
        alarms: alarms.all().iter().map(Told::of).collect(),
    })
}

impl Left {
    fn progress(self, application: &Application, publisher: &Publisher, rate: f64) -> Progress {
        Progress {
            application: application.name.clone(),
            events_sent: publisher.drained(),
            events_left: self.events,
            bytes_left: self.bytes,
            events_per_second: rate.round() as u64,
            eta_seconds: (rate >= 0.1).then(|| (self.events as f64 / rate).ceil() as u64),
            events_kept: self.kept,
            reason: None,
            alarms: self.alarms,
        }
    }
}

async fn until_empty(
    publisher: &Publisher,
    application: &Application,
    only: &[Scope],
    format: Format,
) -> Result<()> {
    let begun = Instant::now();
    let mut meter = Meter {
        drained: 0,
        at: Instant::now(),
        rate: 0.0,
    };
    loop {
        let left = look(publisher, application, only).await?;
        if left.events == 0 && (left.aside == 0 || begun.elapsed() > ASIDE_WITHIN) {
            return Ok(());
        }
        if meter.at.elapsed() >= TELL_EVERY {
            let rate = meter.rate(publisher.drained());
            let mut progress = left.progress(application, publisher, rate);
            if progress.eta_seconds.is_none() {
                progress.reason = publisher.cluster().complaint(ASK_WITHIN).await;
            }
            tell(&progress, format)?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn tell(progress: &Progress, format: Format) -> Result<()> {
    if format != Format::Table {
        return print_next(format, progress);
    }
    let eta = match (progress.eta_seconds, &progress.reason) {
        (Some(eta), _) => format!("done in {eta} s"),
        (None, Some(reason)) => format!("nothing moves: {reason}"),
        (None, None) => "nothing moves".to_owned(),
    };
    say!(
        "{} events sent, {} left ({} bytes), {} events/s, {eta}",
        progress.events_sent,
        progress.events_left,
        progress.bytes_left,
        progress.events_per_second
    );
    for alarm in &progress.alarms {
        say!("alarm: {}: {}", alarm.kind, alarm.message);
    }
    Ok(())
}
