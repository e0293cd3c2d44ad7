//! What an invocation is answered.

use evenkeel_event::clock::{Clock as _, SystemClock};
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::{Value, json};

use crate::deadline::Deadline;
use crate::drain::{Drained, Ended, drain};
use crate::metrics::{self, Measured};
use crate::settings::Settings;
use crate::trigger::{Payload, Trigger};

/// What whoever asks is told.
#[derive(Debug, Serialize)]
struct Report<'drained> {
    application: &'drained str,
    /// Events that this function has sent on.
    drained: u64,
    /// Events that are still parked.
    left: u64,
    /// Of those: dead letters that their own topic refuses.
    aside: u64,
    /// Of those: what an operator holds back.
    held: u64,
    /// Age of the oldest of them; absent where nothing is parked.
    oldest_age_ms: Option<u64>,
    ended: Ended,
    alarms: &'drained [String],
}

/// Drains, prints the metrics, and answers in the form of whoever invoked the function.
///
/// # Errors
/// What the table in the README says.
pub(crate) async fn answer(
    settings: &Settings,
    payload: &Payload,
    killed_at_ms: u64,
) -> Result<Value, Diagnostic> {
    let trigger = payload.trigger().map_err(|error| {
        tracing::error!(%error, "the event is refused");
        diagnostic("ForeignEvent", error.to_string())
    })?;
    let outcome = attempt(settings, killed_at_ms).await;
    if let Err(error) = &outcome {
        tracing::error!(
            error = error.error_message,
            kind = error.error_type,
            "parked events stay where they are"
        );
    }
    match trigger {
        Trigger::Asked => outcome,
        // An error would bring the same records again and again, until they expire: they hold nothing that is not in the
        // table, and the schedule looks there.
        Trigger::Woken => Ok(json!({"batchItemFailures": []})),
    }
}

async fn attempt(settings: &Settings, killed_at_ms: u64) -> Result<Value, Diagnostic> {
    let drained = drain(settings, Deadline::of(killed_at_ms))
        .await
        .map_err(|error| diagnostic("StandbyStore", format!("{error:#}")))?;
    let now = SystemClock::default().now();
    let oldest_age_ms = drained
        .left
        .oldest
        .map(|oldest| u64::try_from(now.since(oldest).as_millis()).unwrap_or(u64::MAX));
    metrics::tell(Measured {
        application: &settings.application,
        at: now,
        oldest_age_ms: oldest_age_ms.unwrap_or(0),
        parked: drained.left.events,
        drained: drained.drained,
    });
    if drained.is_standstill() {
        let age_s = oldest_age_ms.unwrap_or(0) / 1_000;
        return Err(diagnostic("NothingMoves", standstill(settings, &drained, age_s)));
    }
    let report = Report {
        application: &settings.application,
        drained: drained.drained,
        left: drained.left.events,
        aside: drained.left.aside,
        held: drained.left.held,
        oldest_age_ms,
        ended: drained.ended,
        alarms: &drained.alarms,
    };
    let report = json!(report);
    tracing::info!(%report, "the drain has ended");
    Ok(report)
}

fn standstill(settings: &Settings, drained: &Drained, age_s: u64) -> String {
    let reasons: Vec<&str> = drained
        .reason
        .iter()
        .chain(&drained.alarms)
        .map(String::as_str)
        .collect();
    let why = match reasons.as_slice() {
        [] => "Kafka answers; another process may hold the drain, or this one was given too little time (its timeout is best \
               60 s or more)"
            .to_owned(),
        reasons => reasons.join("; "),
    };
    format!(
        "{} events of {} stay parked, the oldest for {age_s} s, and none could be sent on: {why}. They are safe, and are tried \
         again at the next invocation; see that the brokers in EVENKEEL_KAFKA__BROKERS run, and that the function reaches them",
        drained.left.waiting(),
        settings.application
    )
}

fn diagnostic(error_type: &str, error_message: String) -> Diagnostic {
    Diagnostic {
        error_type: error_type.to_owned(),
        error_message,
    }
}
