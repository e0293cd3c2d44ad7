//! Sends on what applications left parked, and reports what is parked.
//!
//! A store that a running application holds is its own: that application drains it. A store is opened here only when
//! its files have changed, so that applications do not find it taken.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel_server::admin::{Parked, Report};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::sdk;
use crate::standby::{self, Application, Look, Trace};

/// Between looks at the applications' directories.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between looks at what a drain has left.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// A drain that sends nothing for this long lets go of the store.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// Wait before the next try after that.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Longest wait for what is on its way when a drain ends.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

struct Drain {
    settings: Settings,
    reports: watch::Sender<Report>,
    stop: CancellationToken,
    seen: BTreeMap<String, Seen>,
}

/// What is known of an application's store.
#[derive(Default)]
struct Seen {
    trace: Trace,
    parked: Option<Parked>,
    /// Not to be tried before this.
    rest_until: Option<Instant>,
    /// What was wrong with it when it was last looked at, so that it is said once.
    trouble: Option<String>,
}

/// Goes on until `stop`.
pub(super) async fn run(settings: Settings, reports: watch::Sender<Report>, stop: CancellationToken) {
    let mut drain = Drain {
        settings,
        reports,
        stop,
        seen: BTreeMap::new(),
    };
    while !drain.stop.is_cancelled() {
        match standby::applications(&drain.settings) {
            Ok(applications) => {
                for application in applications {
                    drain.look_after(&application).await;
                }
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "parked events cannot be looked for"),
        }
        tokio::select! {
            () = drain.stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

impl Drain {
    async fn look_after(&mut self, application: &Application) {
        let trouble = self
            .drain(application)
            .await
            .err()
            .map(|error| format!("{error:#}"));
        let seen = self.seen.entry(application.name.clone()).or_default();
        if seen.trouble != trouble {
            if let Some(error) = &trouble {
                tracing::error!(
                    application = application.name,
                    error,
                    "its parked events stay where they are"
                );
            }
            seen.trouble = trouble;
        }
        self.report();
    }

    async fn drain(&mut self, application: &Application) -> Result<()> {
        let seen = self.seen.entry(application.name.clone()).or_default();
        let rests = seen.rest_until.is_some_and(|until| Instant::now() < until);
        let waiting = seen.parked.as_ref().is_some_and(|parked| parked.events > 0);
        let trace = application
            .trace()
            .context("its standby store cannot be looked at")?;
        if rests || (trace == seen.trace && !waiting) || self.stop.is_cancelled() {
            return Ok(());
        }
        let Look::Places(places) = application.look().await? else {
            return Ok(());
        };
        let (events, bytes, oldest) = standby::total(&places);
        seen.parked = Some(Parked {
            application: application.name.clone(),
            events,
            bytes,
            oldest,
        });
        if events > 0 {
            self.report();
            self.send_on(application).await?;
        }
        let seen = self.seen.entry(application.name.clone()).or_default();
        seen.trace = application
            .trace()
            .context("its standby store cannot be looked at")?;
        Ok(())
    }

    /// Runs a publisher on the application's directory until nothing is parked or nothing moves.
    async fn send_on(&mut self, application: &Application) -> Result<()> {
        let mut settings = self.settings.clone();
        settings.publish.application.clone_from(&application.name);
        let mut config = sdk::config(&settings, Vec::new());
        config.registry = None;
        config.directory.clone_from(&application.directory);
        let publisher = sdk::start(config).await?;
        let mut left = u64::MAX;
        let mut moved = Instant::now();
        let outcome = loop {
            let stats = match publisher.parked().await {
                Ok(stats) => stats,
                Err(error) => break Err(error.into()),
            };
            let seen = self.seen.entry(application.name.clone()).or_default();
            seen.parked = Some(Parked {
                application: application.name.clone(),
                events: stats.events,
                bytes: stats.bytes,
                oldest: stats.oldest,
            });
            self.report();
            if stats.events < left {
                (left, moved) = (stats.events, Instant::now());
            }
            if stats.events == 0 || self.stop.is_cancelled() {
                break Ok(());
            }
            if moved.elapsed() > GIVE_UP_AFTER {
                let seen = self.seen.entry(application.name.clone()).or_default();
                seen.rest_until = Some(Instant::now() + TRY_AGAIN_AFTER);
                break Ok(());
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(PROGRESS_EVERY) => {}
            }
        };
        publisher.close(CLOSE_WITHIN).await;
        outcome
    }

    fn report(&self) {
        let parked = self
            .seen
            .values()
            .filter_map(|seen| seen.parked.clone())
            .collect();
        self.reports.send_replace(Report { ready: true, parked });
    }
}
