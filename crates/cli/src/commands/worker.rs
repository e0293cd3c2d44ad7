//! `evenkeel worker`: sends on what processes that died left parked, for as long as it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use evenkeel::Publisher;
use evenkeel_event::TopicName;
use evenkeel_event::clock::{Clock as _, SystemClock};
use evenkeel_server::admin::{self, Parked, Report};
use evenkeel_store::{Alarm, AlarmKind, Alarms};
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
    if !settings.standby.url.reveal().is_empty() {
        let application = &settings.publish.application;
        say!("      and what the processes of {application} share (standby.url)");
    }
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
        let parked = merged(told.borrow_and_update().iter().chain(&shared).map(parked));
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
    // Why there is none yet, so that it is said once.
    let mut trouble = None;
    let mut standing = Standing {
        application: settings.publish.application.clone(),
        ..Standing::default()
    };
    while !stop.is_cancelled() {
        if publisher.is_none() {
            match sdk::publisher(&settings, Vec::new()).await {
                Ok(started) => publisher = Some(started),
                Err(error) => {
                    let error = format!("{error:#}");
                    if trouble.as_ref() != Some(&error) {
                        tracing::error!(error, "the shared standby store is not drained yet");
                    }
                    trouble = Some(error);
                }
            }
        }
        let directory = sdk::directory(&settings, &standing.application);
        standing.alarms = Alarms::read(&directory).unwrap_or_default();
        let is_known = match &publisher {
            Some(publisher) => look_into(publisher, &mut standing).await,
            None => false,
        };
        if !is_known {
            blame_store(&mut standing);
        }
        shares.send_replace(Some(standing.clone()));
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SHARED_EVERY) => {}
        }
    }
    if let Some(publisher) = publisher {
        publisher.close(SHARED_CLOSE_WITHIN).await;
    }
}

/// What lies in the store that is shared. False: it does not answer.
async fn look_into(publisher: &Publisher, standing: &mut Standing) -> bool {
    let Ok(places) = publisher.standby().open_places().await else {
        return false;
    };
    let Some(holds) = publisher.holds().await else {
        return false;
    };
    (standing.events, standing.bytes, standing.oldest) = applications::total(&places);
    standing.places_held = applications::held(&places, &holds);
    standing.drained = publisher.drained();
    true
}

/// The figures are the last known ones.
fn blame_store(standing: &mut Standing) {
    if let Ok(topic) = TopicName::publish_letters(&standing.application) {
        standing.alarms.raise(Alarm {
            kind: AlarmKind::StandbyUnreachable,
            topic,
            partition: None,
            since: SystemClock::default().now(),
            message: "the shared standby store does not answer".to_owned(),
        });
    }
}

/// One entry an application: what it has parked on this machine and what its processes share.
fn merged(all: impl Iterator<Item = Parked>) -> Vec<Parked> {
    let mut merged: Vec<Parked> = Vec::new();
    for parked in all {
        let Some(known) = merged
            .iter_mut()
            .find(|known| known.application == parked.application)
        else {
            merged.push(parked);
            continue;
        };
        known.events += parked.events;
        known.bytes += parked.bytes;
        known.oldest = known.oldest.into_iter().chain(parked.oldest).min();
        known.places_held += parked.places_held;
        known.drained += parked.drained;
        known.events_per_second += parked.events_per_second;
        // Both read the same file of alarms.
        for ((_, count), (_, other)) in known.alarms.iter_mut().zip(parked.alarms) {
            *count = (*count).max(other);
        }
    }
    merged
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(application: &str, events: u64, unreachable: bool) -> Parked {
        let mut standing = Standing {
            application: application.to_owned(),
            events,
            ..Standing::default()
        };
        if unreachable {
            blame_store(&mut standing);
        }
        parked(&standing)
    }

    #[test]
    fn an_application_is_told_once_with_what_lies_in_both_of_its_stores() {
        let all = [of("shop", 2, false), of("bills", 1, false), of("shop", 3, true)];
        let merged = merged(all.into_iter());
        let told: Vec<(&str, u64)> = merged
            .iter()
            .map(|parked| (parked.application.as_str(), parked.events))
            .collect();
        assert_eq!(told, [("shop", 5), ("bills", 1)]);
        let unreachable = |parked: &Parked| {
            let kind = AlarmKind::StandbyUnreachable.as_str();
            parked.alarms.contains(&(kind, 1))
        };
        assert!(merged.first().is_some_and(unreachable), "{merged:?}");
        assert!(!merged.last().is_some_and(unreachable), "{merged:?}");
    }
}
