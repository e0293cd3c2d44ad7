//! Is it alive, is it ready, what does it count?

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::domains;
use crate::registry::Registry;

/// Requests by the class of their answer: 2xx, 3xx, 4xx, 5xx.
#[derive(Debug, Default)]
pub(in crate::registry) struct Metrics {
    answers: [AtomicU64; 4],
}

impl Metrics {
    pub(super) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(2);
        if let Some(counter) = self.answers.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub(super) async fn live() -> &'static str {
    "live\n"
}

pub(super) async fn ready(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    if registry.is_loaded() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "still reading the topics\n")
    }
}

/// The counters in Prometheus' text format 0.0.4.
pub(super) async fn metrics(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text(&registry),
    )
}

fn text(registry: &Registry) -> String {
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, kind: &str, value: u64| {
        // Writing to a string cannot fail.
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}").ok();
    };
    let (subjects, schemas, skipped, conflicts) = registry.read(|state| {
        (
            state.subjects(false).count(),
            state.schema_count(),
            state.skipped(),
            state.conflicts(),
        )
    });
    let (domains, foreign) = registry
        .core
        .domains
        .read(|state: &domains::State| (state.domains().count(), state.skipped()));
    gauge(
        "evenkeel_registry_subjects",
        "Subjects with a live version.",
        "gauge",
        subjects as u64,
    );
    gauge(
        "evenkeel_registry_schemas",
        "Schemas with an id.",
        "gauge",
        schemas as u64,
    );
    gauge(
        "evenkeel_registry_skipped_records",
        "Records of the schema topic that were left aside.",
        "gauge",
        skipped,
    );
    gauge(
        "evenkeel_registry_conflicts",
        "Records that gave an id to a second schema.",
        "gauge",
        conflicts,
    );
    gauge("evenkeel_domains", "Domains.", "gauge", domains as u64);
    gauge(
        "evenkeel_domains_skipped_records",
        "Records of the platform's topic that were left aside.",
        "gauge",
        foreign,
    );
    out.push_str("# HELP evenkeel_registry_requests_total Requests by class of answer.\n# TYPE evenkeel_registry_requests_total counter\n");
    for (class, counter) in ["2xx", "3xx", "4xx", "5xx"].iter().zip(&registry.metrics.answers) {
        let count = counter.load(Ordering::Relaxed);
        writeln!(
            out,
            "evenkeel_registry_requests_total{{status=\"{class}\"}} {count}"
        )
        .ok();
    }
    out
}
