//! `evenkeel worker`: sends on what processes that died left parked, for as long as it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use evenkeel_event::clock::SystemClock;
use evenkeel_server::admin::{self, Parked, Report};
use evenkeel_store::{AlarmKind, Alarms};
use evenkeel_worker::applications;
use evenkeel_worker::drain_standby::{self, Standing};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::broker;
use super::dev::Part;
use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{Format, print_line, say};
use crate::{sdk, standby};

/// Between looks at a shared store.
const SHARED_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for what is on its way at the end.
const SHARED_CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What is reported before anything was looked at.
pub(super) const NOTHING_PARKED: Report = Report {
    ready: true,
    parked: Vec::new(),
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where /health/ready, /health/live and /metrics are served; without it server.admin_listen of the settings. Port 0
    /// takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
}

/// Where the worker listens.
#[derive(Debug, Serialize)]
struct Addresses {
    admin: String,
}

pub(crate) async fn run(options: Options, format: Format, settings: &Settings) -> Result<Outcome> {
    let address = options.listen.unwrap_or(settings.server.admin_listen);
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("the worker cannot listen on {address}; set server.admin_listen to another port, or to 0 for any free one")
    })?;
    let address = listener.local_addr().context("the listener has no address")?;
    let stop = CancellationToken::new();
    let (reports, watched) = watch::channel(NOTHING_PARKED);
    let clock = Arc::new(SystemClock::default());
    let serve = admin::serve(listener, watched, clock, stop.clone().cancelled_owned());
    let mut part = Part::spawn("admin listener", serve);
    let draining = tokio::spawn(drain(settings.clone(), reports, stop.clone()));
    let admin = format!("http://{address}");
    say!(
        "drains what is left under {}",
        standby::directory(settings).display()
    );
    say!("admin     {admin}/health/ready, {admin}/metrics");
    if format != Format::Table {
        print_line(&Addresses { admin })?;
    }
    let ended = tokio::select! {
        interrupted = broker::interrupted() => interrupted,
        ended = part.ended() => ended,
    };
    say!("stopping");
    stop.cancel();
    draining.await.context("the drain stopped early")?;
    ended?;
    part.close().await?;
    Ok(Outcome::Fine)
}

/// Drains what dead processes left, and reports, until `stop`.
pub(super) async fn drain(settings: Settings, reports: watch::Sender<Report>, stop: CancellationToken) {
    let (shares, mut shared) = watch::channel(None);
    let sharing = share(settings.clone(), shares, stop.clone());
    tokio::pin!(sharing);
    let mut is_sharing = true;
    let (standings, mut told) = watch::channel(Vec::new());
    let config = drain_standby::Config {
        directory: standby::directory(&settings),
        settings: Arc::new(move |name, directory| {
            let mut settings = settings.clone();
            name.clone_into(&mut settings.publish.application);
            let mut config = sdk::config(&settings, Vec::new());
            config.registry = None;
            directory.clone_into(&mut config.directory);
            config
        }),
    };
    let drain = drain_standby::run(config, standings, stop);
    tokio::pin!(drain);
    loop {
        tokio::select! {
            () = &mut drain => break,
            () = &mut sharing, if is_sharing => is_sharing = false,
            Ok(()) = told.changed() => {}
            Ok(()) = shared.changed() => {}
        }
        let shared = shared.borrow_and_update().clone();
        let parked = told
            .borrow_and_update()
            .iter()
            .chain(&shared)
            .map(parked)
            .collect();
        reports.send_replace(Report { ready: true, parked });
    }
    if is_sharing {
        sharing.await;
    }
}

/// Takes part in draining the store that the application's processes share, where there is one, and reports how it stands.
async fn share(settings: Settings, shares: watch::Sender<Option<Standing>>, stop: CancellationToken) {
    if settings.standby.url.reveal().is_empty() {
        return;
    }
    let mut publisher = None;
    while !stop.is_cancelled() {
        if publisher.is_none() {
            match sdk::publisher(&settings, Vec::new()).await {
                Ok(started) => publisher = Some(started),
                Err(error) => tracing::error!(
                    error = format!("{error:#}"),
                    "the shared standby store is not drained yet"
                ),
            }
        }
        if let Some(publisher) = &publisher
            && let Ok(places) = publisher.standby().open_places().await
        {
            let (events, bytes, oldest) = applications::total(&places);
            // The publisher drains nothing as long as it does not know them either.
            let holds = publisher.holds().await.unwrap_or_default();
            let directory = sdk::directory(&settings, &settings.publish.application);
            shares.send_replace(Some(Standing {
                application: settings.publish.application.clone(),
                events,
                bytes,
                oldest,
                places_held: places
                    .iter()
                    .filter(|held| holds.of(&held.place).is_some())
                    .count() as u64,
                drained: publisher.drained(),
                alarms: Alarms::read(&directory).unwrap_or_default(),
                ..Standing::default()
            }));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SHARED_EVERY) => {}
        }
    }
    if let Some(publisher) = publisher {
        publisher.close(SHARED_CLOSE_WITHIN).await;
    }
}

fn parked(standing: &Standing) -> Parked {
    let alarms = standing.alarms.all();
    let count = |kind: AlarmKind| {
        let count = alarms.iter().filter(|alarm| alarm.kind == kind).count();
        (kind.as_str(), count as u64)
    };
    let refused = standing.alarms.refused().iter();
    Parked {
        application: standing.application.clone(),
        events: standing.events,
        bytes: standing.bytes,
        oldest: standing.oldest,
        places_held: standing.places_held,
        drained: standing.drained,
        events_per_second: standing.events_per_second,
        refused: refused.map(|(cause, events)| (cause.clone(), *events)).collect(),
        alarms: AlarmKind::ALL.into_iter().map(count).collect(),
    }
}
