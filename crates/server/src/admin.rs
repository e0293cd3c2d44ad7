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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything that it consists of is up.
    pub ready: bool,
    /// What is parked, one entry an application.
    pub parked: Vec<Parked>,
}

/// What one application has parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The application's name.
    pub application: String,
    /// Parked events; the last known number while another process holds the store.
    pub events: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// When the oldest of them was parked; `None` when there are none.
    pub oldest: Option<Timestamp>,
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

/// The counters in Prometheus' text format 0.0.4, the age of the oldest parked event first.
fn text(report: &Report, now: Timestamp) -> String {
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&Parked) -> u64| {
        // Writing to a string cannot fail.
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge").ok();
        for parked in &report.parked {
            let application = escaped(&parked.application);
            writeln!(out, "{name}{{application=\"{application}\"}} {}", value(parked)).ok();
        }
    };
    gauge(
        "evenkeel_standby_oldest_age_seconds",
        "Age of the oldest parked event; 0 when none is parked.",
        &|parked| parked.oldest.map_or(0, |oldest| now.since(oldest).as_secs()),
    );
    gauge("evenkeel_standby_events", "Parked events.", &|parked| {
        parked.events
    });
    gauge(
        "evenkeel_standby_bytes",
        "Bytes of the parked events' records.",
        &|parked| parked.bytes,
    );
    writeln!(
        out,
        "# HELP evenkeel_ready 1 when everything is up.\n# TYPE evenkeel_ready gauge\nevenkeel_ready {}",
        u8::from(report.ready)
    )
    .ok();
    out
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
                "evenkeel_ready 1",
            ]
        );
    }
}
