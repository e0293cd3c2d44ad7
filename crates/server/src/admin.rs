//! Health of a process and its counters, over HTTP.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use evenkeel_event::clock::{Clock, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What a process says of itself; it sends a new one whenever something changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Everything that it consists of is up.
    pub ready: bool,
    /// What is parked, one entry an application.
    pub parked: Vec<Parked>,
}

/// What one application has parked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parked {
    /// The application's name.
    pub application: String,
    /// Parked events; the last known number while another process holds the store.
    pub events: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// When the oldest of them was parked; `None` when there are none.
    pub oldest: Option<Timestamp>,
    /// Places that an operator holds, and that hold something.
    pub places_held: u64,
    /// Parked events that this process has sent on since its start.
    pub drained: u64,
    /// Parked events that this process sends on a second.
    pub events_per_second: f64,
    /// Events that the application could not keep, since the file of its alarms was begun, by cause.
    pub refused: Vec<(String, u64)>,
    /// How often each kind of alarm stands: every kind, 0 where it does not.
    pub alarms: Vec<(&'static str, u64)>,
}

#[derive(Debug, Clone)]
struct Shared {
    reports: watch::Receiver<Report>,
    clock: Arc<dyn Clock>,
}

/// Serves `/health/live`, `/health/ready` and `/metrics` until `stop` is ready.
///
/// # Errors
/// When connections can no longer be accepted.
pub async fn serve(
    listener: TcpListener,
    reports: watch::Receiver<Report>,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(reports, clock))
        .with_graceful_shutdown(stop)
        .await
}

/// The routes, for a server of one's own or for tests.
pub fn router(reports: watch::Receiver<Report>, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Shared { reports, clock })
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    if shared.reports.borrow().ready {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let text = text(&shared.reports.borrow(), shared.clock.now());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// What is told of each application by one number: name, type, help, value.
type Number = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Parked, Timestamp) -> f64,
);

/// The age of the oldest parked event comes first.
const NUMBERS: [Number; 6] = [
    (
        "evenkeel_standby_oldest_age_seconds",
        "gauge",
        "Age of the oldest parked event; 0 when none is parked.",
        |parked, now| {
            parked
                .oldest
                .map_or(0.0, |oldest| now.since(oldest).as_secs() as f64)
        },
    ),
    (
        "evenkeel_standby_events",
        "gauge",
        "Parked events.",
        |parked, _| parked.events as f64,
    ),
    (
        "evenkeel_standby_bytes",
        "gauge",
        "Bytes of the parked events' records.",
        |parked, _| parked.bytes as f64,
    ),
    (
        "evenkeel_standby_places_held",
        "gauge",
        "Partitions with parked events that an operator holds.",
        |parked, _| parked.places_held as f64,
    ),
    (
        "evenkeel_standby_drained_events_total",
        "counter",
        "Parked events that this process has sent on.",
        |parked, _| parked.drained as f64,
    ),
    (
        "evenkeel_standby_drain_events_per_second",
        "gauge",
        "Parked events that this process sends on a second.",
        |parked, _| parked.events_per_second,
    ),
];

/// The counters in Prometheus' text format 0.0.4.
fn text(report: &Report, now: Timestamp) -> String {
    let mut out = String::new();
    for (name, kind, help, value) in NUMBERS {
        head(&mut out, name, kind, help);
        for parked in &report.parked {
            let application = escaped(&parked.application);
            let value = value(parked, now);
            // Writing to a string cannot fail.
            writeln!(out, "{name}{{application=\"{application}\"}} {value}").ok();
        }
    }
    let name = "evenkeel_standby_alarms";
    head(
        &mut out,
        name,
        "gauge",
        "What only an operator can mend, by kind.",
    );
    for parked in &report.parked {
        let counts = parked.alarms.iter().map(|(kind, count)| (*kind, *count));
        labelled(&mut out, name, parked, "kind", counts);
    }
    let name = "evenkeel_standby_refused_events_total";
    head(
        &mut out,
        name,
        "counter",
        "Events that no durable place has taken, by cause.",
    );
    for parked in &report.parked {
        let counts = parked
            .refused
            .iter()
            .map(|(cause, count)| (cause.as_str(), *count));
        labelled(&mut out, name, parked, "cause", counts);
    }
    head(&mut out, "evenkeel_ready", "gauge", "1 when everything is up.");
    writeln!(out, "evenkeel_ready {}", u8::from(report.ready)).ok();
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
}

fn labelled<'count>(
    out: &mut String,
    name: &str,
    parked: &Parked,
    label: &str,
    counts: impl Iterator<Item = (&'count str, u64)>,
) {
    let application = escaped(&parked.application);
    for (value, count) in counts {
        let value = escaped(value);
        writeln!(
            out,
            "{name}{{application=\"{application}\",{label}=\"{value}\"}} {count}"
        )
        .ok();
    }
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_the_oldest_parked_event_comes_first() {
        let parked = Parked {
            application: "sh\"op".to_owned(),
            events: 3,
            bytes: 512,
            oldest: Some(Timestamp::from_millis(4_000)),
            places_held: 1,
            drained: 12,
            events_per_second: 1.5,
            refused: vec![("standby-full".to_owned(), 4)],
            alarms: vec![("topic-missing", 1), ("damaged-rows", 0)],
        };
        let report = Report {
            ready: true,
            parked: vec![parked],
        };
        let text = text(&report, Timestamp::from_millis(11_500));
        let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            values,
            [
                "evenkeel_standby_oldest_age_seconds{application=\"sh\\\"op\"} 7",
                "evenkeel_standby_events{application=\"sh\\\"op\"} 3",
                "evenkeel_standby_bytes{application=\"sh\\\"op\"} 512",
                "evenkeel_standby_places_held{application=\"sh\\\"op\"} 1",
                "evenkeel_standby_drained_events_total{application=\"sh\\\"op\"} 12",
                "evenkeel_standby_drain_events_per_second{application=\"sh\\\"op\"} 1.5",
                "evenkeel_standby_alarms{application=\"sh\\\"op\",kind=\"topic-missing\"} 1",
                "evenkeel_standby_alarms{application=\"sh\\\"op\",kind=\"damaged-rows\"} 0",
                "evenkeel_standby_refused_events_total{application=\"sh\\\"op\",cause=\"standby-full\"} 4",
                "evenkeel_ready 1",
            ]
        );
    }
}
