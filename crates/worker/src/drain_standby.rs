//! Sends on what processes that died left parked, and says what is parked.
//!
//! ```text
//! every second: look at each application (its store is only read) ──> report
//!                  │ events wait, and no process has the store open
//!                  v
//!               a publisher on its directory, until nothing waits or nothing moves
//! ```
//!
//! The rules it keeps: a store that a running application has open is its own; a store is opened only to send something
//! on, and let go when nothing moves or its application wants to start; what is held stays. Killed at any point it leaves
//! what any publisher leaves: stored stamps, with which the next one goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel::publish::StartError;
use evenkeel::{Config as PublisherConfig, Publisher};
use evenkeel_event::clock::Timestamp;
use evenkeel_store::{Alarms, Holds};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::applications::{Application, Looked, Trace, applications, held, total, waiting};

/// Between looks at the applications' directories.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between looks at a store that a running application changes all the time.
const LOOK_AT_BUSY_EVERY: Duration = Duration::from_secs(5);
/// Between looks at what a drain has left.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// A drain that sends nothing for this long lets go of the store.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// Wait before the next try after that.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Longest wait for what is on its way when a drain ends.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Most applications that are drained at once.
const DRAINS_MAX: usize = 8;

/// Makes the settings of a publisher for an application's name and directory.
pub type Settings = dyn Fn(&str, &Path) -> PublisherConfig + Send + Sync;

/// Where the applications are, and how their publishers are made.
#[derive(Clone)]
pub struct Config {
    /// One directory an application.
    pub directory: PathBuf,
    /// Settings of the publisher that drains one.
    pub settings: Arc<Settings>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Config")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// How an application's parked events stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// The application's name.
    pub application: String,
    /// Parked events.
    pub events: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// When the oldest of them was parked.
    pub oldest: Option<Timestamp>,
    /// Places that an operator holds, and that hold something.
    pub places_held: u64,
    /// Events that this process has sent on.
    pub drained: u64,
    /// Events that this process sends on a second; 0 while it drains nothing.
    pub events_per_second: f64,
    /// What only an operator can mend, and what was refused.
    pub alarms: Alarms,
}

/// What is known of an application.
#[derive(Default)]
struct Seen {
    trace: Trace,
    standing: Standing,
    /// Events that may be sent on.
    waiting: u64,
    in_use: bool,
    is_draining: bool,
    /// What earlier drains have sent on.
    drained_before: u64,
    /// Not to be looked at before this.
    look_at: Option<Instant>,
    /// Not to be drained before this.
    rest_until: Option<Instant>,
    /// What was wrong with it when it was last looked at, so that it is said once.
    trouble: Option<String>,
}

/// What a drain tells.
enum News {
    Moved(Standing),
    Ended {
        application: String,
        outcome: Result<End>,
    },
}

/// Why a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Finished,
    /// Nothing moves, or the application has started.
    LetGo,
}

struct Worker {
    config: Config,
    reports: watch::Sender<Vec<Standing>>,
    stop: CancellationToken,
    seen: BTreeMap<String, Seen>,
    drains: JoinSet<()>,
    news: mpsc::Sender<News>,
}

/// Goes on until `stop`, and then until every drain has closed its publisher. `reports` is sent what is parked whenever
/// that changes.
pub async fn run(config: Config, reports: watch::Sender<Vec<Standing>>, stop: CancellationToken) {
    let (news, mut told) = mpsc::channel(64);
    let mut worker = Worker {
        config,
        reports,
        stop,
        seen: BTreeMap::new(),
        drains: JoinSet::new(),
        news,
    };
    while !worker.stop.is_cancelled() {
        worker.look_at_all().await;
        let next = Instant::now() + LOOK_EVERY;
        loop {
            tokio::select! {
                () = worker.stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => break,
                Some(news) = told.recv() => worker.hear(news),
            }
        }
    }
    loop {
        tokio::select! {
            ended = worker.drains.join_next() => if ended.is_none() { return },
            Some(news) = told.recv() => worker.hear(news),
        }
    }
}

impl Worker {
    async fn look_at_all(&mut self) {
        let all = match applications(&self.config.directory) {
            Ok(all) => all,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "parked events cannot be looked for");
                return;
            }
        };
        self.seen
            .retain(|name, seen| seen.is_draining || all.iter().any(|application| application.name == *name));
        for application in all {
            let outcome = self.look_after(&application).await;
            self.note(&application.name, outcome.err());
        }
        self.report();
    }

    async fn look_after(&mut self, application: &Application) -> Result<()> {
        let now = Instant::now();
        let seen = self.seen.entry(application.name.clone()).or_default();
        seen.standing.application.clone_from(&application.name);
        if seen.is_draining || seen.look_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let trace = application
            .trace()
            .context("its standby store cannot be looked at")?;
        let rests = seen.rest_until.is_some_and(|until| now < until);
        // Whether a process still has it open does not show in the files.
        if trace != seen.trace || (seen.waiting > 0 && !rests) {
            let looking = application.clone();
            let looked = tokio::task::spawn_blocking(move || looking.look()).await;
            let looked = looked.context("looking into a standby store stopped early")??;
            seen.trace = trace;
            seen.learn(&looked);
            seen.look_at = looked.in_use.then(|| now + LOOK_AT_BUSY_EVERY);
        }
        if seen.waiting > 0 && !seen.in_use && !rests && self.drains.len() < DRAINS_MAX {
            self.begin(application);
        }
        Ok(())
    }

    fn begin(&mut self, application: &Application) {
        let mut config = (self.config.settings)(&application.name, &application.directory);
        // Whoever has it open is its application: nothing is to be waited for.
        config.store_wait_max = Duration::ZERO;
        let seen = self.seen.entry(application.name.clone()).or_default();
        seen.is_draining = true;
        seen.drained_before = seen.standing.drained;
        let drain = Drain {
            application: application.clone(),
            news: self.news.clone(),
            stop: self.stop.clone(),
        };
        self.drains.spawn(async move {
            let application = drain.application.name.clone();
            let outcome = drain.run(config).await;
            // The receiver is gone only when the process ends.
            drain.news.send(News::Ended { application, outcome }).await.ok();
        });
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Moved(standing) => {
                if let Some(seen) = self.seen.get_mut(&standing.application) {
                    let drained = seen.drained_before + standing.drained;
                    seen.standing = Standing { drained, ..standing };
                }
            }
            News::Ended { application, outcome } => {
                while self.drains.try_join_next().is_some() {}
                if let Some(seen) = self.seen.get_mut(&application) {
                    seen.is_draining = false;
                    seen.trace = Trace::default();
                    seen.standing.events_per_second = 0.0;
                    if !matches!(outcome, Ok(End::Finished)) {
                        seen.rest_until = Some(Instant::now() + TRY_AGAIN_AFTER);
                    }
                }
                self.note(&application, outcome.err());
            }
        }
        self.report();
    }

    /// Says what is wrong with an application, once.
    fn note(&mut self, application: &str, error: Option<anyhow::Error>) {
        let trouble = error.map(|error| format!("{error:#}"));
        let Some(seen) = self.seen.get_mut(application) else {
            return;
        };
        if seen.trouble != trouble {
            if let Some(error) = &trouble {
                tracing::error!(application, error, "its parked events stay where they are");
            }
            seen.trouble = trouble;
        }
    }

    fn report(&self) {
        let all: Vec<Standing> = self.seen.values().map(|seen| seen.standing.clone()).collect();
        self.reports.send_if_modified(|reported| {
            let is_new = *reported != all;
            *reported = all;
            is_new
        });
    }
}

impl Seen {
    fn learn(&mut self, looked: &Looked) {
        let (events, bytes, oldest) = looked.total();
        self.waiting = looked.waiting();
        self.in_use = looked.in_use;
        self.standing = Standing {
            events,
            bytes,
            oldest,
            places_held: looked.held(),
            alarms: looked.alarms.clone(),
            ..self.standing.clone()
        };
    }
}

/// The drain of one application.
struct Drain {
    application: Application,
    news: mpsc::Sender<News>,
    stop: CancellationToken,
}

impl Drain {
    /// Runs a publisher on the application's directory until nothing waits or nothing moves.
    async fn run(&self, config: PublisherConfig) -> Result<End> {
        let publisher = match Publisher::start(config).await {
            // Its application was started meanwhile.
            Err(StartError::Standby(evenkeel_store::Error::Locked { .. })) => return Ok(End::LetGo),
            other => other?,
        };
        tracing::info!(
            application = self.application.name,
            "sends on what was left parked"
        );
        let outcome = self.follow(&publisher).await;
        publisher.close(CLOSE_WITHIN).await;
        outcome
    }

    async fn follow(&self, publisher: &Publisher) -> Result<End> {
        let (mut drained, mut moved) = (0, Instant::now());
        let (mut measured, mut measured_at, mut rate) = (0, Instant::now(), 0.0);
        loop {
            let places = publisher.standby().open_places().await?;
            let directory = self.application.directory.clone();
            let holds = Holds::read(&directory).unwrap_or_default();
            let left = waiting(&places, &holds);
            if publisher.drained() > drained {
                (drained, moved) = (publisher.drained(), Instant::now());
            }
            let seconds = measured_at.elapsed().as_secs_f64();
            if seconds >= 1.0 {
                rate = drained.saturating_sub(measured) as f64 / seconds;
                (measured, measured_at) = (drained, Instant::now());
            }
            let (events, bytes, oldest) = total(&places);
            let standing = Standing {
                application: self.application.name.clone(),
                events,
                bytes,
                oldest,
                places_held: held(&places, &holds),
                drained,
                events_per_second: rate,
                alarms: Alarms::read(&directory).unwrap_or_default(),
            };
            self.news.send(News::Moved(standing)).await.ok();
            if left == 0 || self.stop.is_cancelled() {
                return Ok(End::Finished);
            }
            if moved.elapsed() > GIVE_UP_AFTER || evenkeel::publish::is_wanted(&directory) {
                return Ok(End::LetGo);
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(PROGRESS_EVERY) => {}
            }
        }
    }
}
