//! The process that publishes: it reads numbers from standard input, and writes what became of the event of each.
//!
//! ```text
//! stdin   17              publish event 17, behind those before it
//! stdout  17 P 340        it is published, 340 us after it was begun
//!         18 K 410        parked          19 D 500   dead-lettered
//!         20 F 12 cause   refused         21 M 900   it may have landed
//!         # 3 1700        3 events of 1700 bytes are parked now
//! ```

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use evenkeel::failpoint::{self, Point};
use evenkeel::publish::Pending;
use evenkeel::{Config, Event, EventId, EventType, NewTopics, PublishError, Publisher, Receipt};
use evenkeel::{Registry, TopicName};
use evenkeel_event::clock::Clock;
use evenkeel_store::Stats;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::event::Recipe;
use super::machine::{self, OffClock};
use crate::exit::Outcome;
use crate::output::say;
use crate::shared_standby;

/// Events without a receipt.
const PENDING_MAX: usize = 100_000;
/// Lines that are read ahead.
const LINES_AHEAD: usize = 1_000;
/// Between lines about what is parked.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Longest wait at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);
/// The signal that the system sends to who writes beyond the limit on a file's size, instead of an error.
const SIGXFSZ: i32 = 25;

/// What such a process is told at its start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) brokers: Vec<String>,
    pub(super) registry: String,
    pub(super) topic: String,
    pub(super) application: String,
    pub(super) directory: PathBuf,
    pub(super) replication: i16,
    pub(super) standby_bytes_max: u64,
    /// Where the publishers park together.
    pub(super) standby: Option<String>,
    pub(super) recipe: Recipe,
    /// The point at which it ends, and at which pass.
    pub(super) failpoint: Option<(String, u32)>,
}

/// Runs as one publisher of a fleet. `kafka` says how to connect, but for the addresses.
pub(crate) async fn run(call: &str, kafka: evenkeel::Kafka) -> Result<Outcome> {
    let call: Call = serde_json::from_str(call).context("this command is for `evenkeel verify` alone")?;
    // With a handler, a write beyond the limit on a file's size fails as one on a full disk does.
    let _handled = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(SIGXFSZ))
        .context("the signal SIGXFSZ cannot be watched")?;
    if let Some((point, hit)) = &call.failpoint {
        failpoint::arm(point.parse::<Point>().map_err(|error| anyhow!(error))?, *hit);
    }
    let clock = machine::follow(machine_of(&call.directory))?;
    let publisher = start(&call, kafka, Arc::clone(&clock)).await?;
    let told = publish(&call, &publisher, &clock).await;
    let finished = publisher.close(CLOSE_WITHIN).await;
    told?;
    if !finished {
        say!("some events got no final answer");
    }
    Ok(Outcome::Fine)
}

/// The file that says what is wrong with the machine of the publisher with this directory.
pub(super) fn machine_of(directory: &Path) -> PathBuf {
    directory.with_extension("machine")
}

async fn start(call: &Call, kafka: evenkeel::Kafka, clock: Arc<OffClock>) -> Result<Publisher> {
    let topic = TopicName::new(&call.topic)?;
    let kafka = evenkeel::Kafka {
        brokers: call.brokers.clone(),
        ..kafka
    };
    let mut config = Config::new(&call.application, kafka, &call.directory);
    config.registry = Some(Registry::new(&call.registry));
    config.event_types = vec![EventType::new("checked", topic)];
    config.new_topics = Some(NewTopics {
        partitions: 1,
        replication: call.replication,
    });
    if call.standby_bytes_max > 0 {
        config.standby_bytes_max = call.standby_bytes_max;
    }
    if let Some(url) = &call.standby {
        let store = shared_standby::open(url, &call.application, config.standby_bytes_max).await?;
        config.fleet = Some(evenkeel::Fleet::new(store));
    }
    Ok(Publisher::start_by(config, clock).await?)
}

async fn publish(call: &Call, publisher: &Publisher, clock: &OffClock) -> Result<()> {
    let topic = TopicName::new(&call.topic)?;
    let mut lines = read_lines();
    let mut pending = FuturesUnordered::new();
    let mut looks = look(publisher.clone());
    let mut open = true;
    let mut told = String::new();
    while open || !pending.is_empty() {
        tokio::select! {
            biased;
            Some(line) = pending.next() => {
                told.push_str(String::as_str(&line));
                while let Some(Some(line)) = pending.next().now_or_never() {
                    told.push_str(String::as_str(&line));
                }
                tell(&mut told)?;
            }
            Some(looked) = looks.recv() => {
                match looked {
                    Ok(parked) => told.push_str(&format!("# {} {}\n", parked.events, parked.bytes)),
                    // A store that does not answer now is what may be tried.
                    Err(_) if call.standby.is_some() => {}
                    Err(error) => return Err(error.into()),
                }
                tell(&mut told)?;
            }
            line = lines.recv(), if open && pending.len() < PENDING_MAX => match line.transpose()? {
                None => open = false,
                Some(line) => {
                    let number = line.parse().with_context(|| format!("\"{line}\" is no number"))?;
                    let begun = Instant::now();
                    let event = event(&call.recipe, number, &topic, clock)?;
                    let pended = publisher.begin_json(&event, call.recipe.data(number).as_bytes()).await;
                    pending.push(fate(number, begun, pended));
                }
            },
        }
    }
    tell(&mut told)
}

/// Looks what is parked, again and again, beside everything else: a store that stands still holds up no event.
fn look(publisher: Publisher) -> mpsc::Receiver<Result<Stats, evenkeel_store::Error>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            // The receiver is gone only when the process ends.
            if sender.send(publisher.parked().await).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Reads standard input on a thread of its own.
fn read_lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            // The receiver is gone only when the process ends.
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn tell(told: &mut String) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(told.as_bytes())?;
    told.clear();
    Ok(stdout.flush()?)
}

fn event(recipe: &Recipe, number: u64, topic: &TopicName, clock: &OffClock) -> Result<Event> {
    let id = EventId::new(&recipe.id(number))?;
    let mut event = Event::new(id, "/verify", "checked", clock.now(), topic.clone());
    event.key = Some(recipe.key(number).into());
    Ok(event)
}

/// Waits for a receipt and says it as a line.
async fn fate(number: u64, begun: Instant, pended: Result<Pending, PublishError>) -> String {
    let receipt = match pended {
        Ok(pending) => pending.receipt().await,
        Err(error) => Err(error),
    };
    let micros = begun.elapsed().as_micros();
    match receipt {
        Ok(Receipt::Published { .. }) => format!("{number} P {micros}\n"),
        Ok(Receipt::Parked { .. }) => format!("{number} K {micros}\n"),
        Ok(Receipt::DeadLettered { .. }) => format!("{number} D {micros}\n"),
        Err(error) if error.may_have_landed() => format!("{number} M {micros}\n"),
        Err(error) => format!("{number} F {micros} {}\n", error.to_string().replace('\n', " ")),
    }
}
