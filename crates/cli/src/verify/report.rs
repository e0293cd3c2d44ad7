//! What a run is reported as.

use std::collections::BTreeMap;

use serde::Serialize;

use super::judge::Findings;
use super::ledger::{Fate, Ledger};
use super::scenario::{Phase, Place};

/// Everything that a run measured, and what broke.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) scenario: String,
    pub(super) place: Place,
    /// Plays the same run again.
    pub(super) seed: u64,
    pub(super) topic: String,
    /// Seconds, the drain included.
    seconds: f64,
    events: Events,
    /// How often a publisher was killed.
    kills: u64,
    /// Those that came at a point of an event's path, by its name.
    kills_at: BTreeMap<String, u64>,
    findings: Findings,
    /// Milliseconds from the mending of what was broken to the first parked event that left; absent when none was parked then.
    first_redelivery_ms: Option<u64>,
    /// Milliseconds from the mending to the last.
    drain_ms: Option<u64>,
    /// How long receipts took, by part of the run.
    latency: Vec<Latency>,
    memory: Option<Memory>,
    /// Why events were refused, the first few causes.
    refusals: Vec<String>,
    /// The promises that were broken; empty when all held.
    pub(super) violations: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Events {
    handed_over: u64,
    published: u64,
    parked: u64,
    dead_lettered: u64,
    refused: u64,
    /// Without a final answer at the end.
    open: u64,
    /// Handed over again, because their process was killed or did not know their fate.
    again: u64,
    /// Most that were parked at one time.
    parked_at_once: u64,
}

#[derive(Debug, Serialize)]
struct Latency {
    phase: Phase,
    receipts: u64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
}

/// Memory of the publisher that took most, bytes.
#[derive(Debug, Serialize)]
struct Memory {
    before_bytes: u64,
    most_bytes: u64,
}

/// What the run was.
pub(super) struct Run {
    pub(super) scenario: String,
    pub(super) place: Place,
    pub(super) seed: u64,
    pub(super) topic: String,
    pub(super) may_mark: bool,
    pub(super) may_refuse: bool,
}

impl Report {
    pub(super) fn of(run: Run, ledger: &Ledger, findings: Findings) -> Self {
        let events = Events::of(ledger);
        let violations = violations(&run, ledger, &events, &findings);
        Self {
            scenario: run.scenario,
            place: run.place,
            seed: run.seed,
            topic: run.topic,
            seconds: (ledger.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            events,
            kills: ledger.kills,
            kills_at: ledger.kills_at.clone(),
            findings,
            first_redelivery_ms: ledger.first_redelivery().map(millis),
            drain_ms: ledger.drained().map(millis),
            latency: latency(ledger),
            memory: ledger.memory_of_largest().map(|(before, most)| Memory {
                before_bytes: before,
                most_bytes: most,
            }),
            refusals: ledger.causes.clone(),
            violations,
        }
    }

    /// The report as a person reads it.
    pub(super) fn text(&self) -> String {
        let mut lines = self.counted();
        lines.extend(self.measured());
        let refusals = self.refusals.iter().map(|cause| ("refused", cause.clone()));
        let examples = self
            .findings
            .examples
            .iter()
            .map(|found| ("example", found.clone()));
        lines.extend(refusals.chain(examples));
        let aligned = lines.iter().map(|(name, value)| format!("{name:<18}{value}\n"));
        aligned.collect()
    }

    /// What became of the events.
    fn counted(&self) -> Vec<(&'static str, String)> {
        let (events, found) = (&self.events, &self.findings);
        let mut lines = vec![
            (
                "events",
                format!(
                    "{}: {} published, {} parked (at most {} at once), {} dead-lettered, {} refused, {} open",
                    events.handed_over,
                    events.published,
                    events.parked,
                    events.parked_at_once,
                    events.dead_lettered,
                    events.refused,
                    events.open
                ),
            ),
            (
                "kills",
                format!("{} ({} events handed over again)", self.kills, events.again),
            ),
        ];
        let kills_at = self.kills_at.iter();
        lines.extend(kills_at.map(|(point, kills)| ("", format!("{kills} at {point}"))));
        lines.extend([
            ("lost", with_excused(found)),
            ("out of order", found.out_of_order.to_string()),
            (
                "doubles",
                format!(
                    "{} unmarked, {} marked, {} after the inbox; {} of those that were handed over again",
                    found.doubles_unmarked,
                    found.doubles_marked,
                    found.doubles_after_inbox,
                    found.doubles_own
                ),
            ),
            ("of nobody", found.strangers.to_string()),
        ]);
        lines
    }

    /// How long it took, and what it needed.
    fn measured(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        if let (Some(first), Some(drained)) = (self.first_redelivery_ms, self.drain_ms) {
            lines.push((
                "drain",
                format!("first event after {first} ms, last after {drained} ms"),
            ));
        }
        lines.extend(self.latency.iter().map(|phase| {
            (
                name(phase.phase),
                format!(
                    "{} receipts: p50 {} ms, p99 {} ms, longest {} ms",
                    phase.receipts,
                    thousandths(phase.p50_us),
                    thousandths(phase.p99_us),
                    thousandths(phase.max_us)
                ),
            )
        }));
        if let Some(memory) = &self.memory {
            let (before, most) = (memory.before_bytes >> 20, memory.most_bytes >> 20);
            lines.push(("memory", format!("{before} MiB before, at most {most} MiB")));
        }
        lines
    }
}

impl Events {
    fn of(ledger: &Ledger) -> Self {
        Self {
            handed_over: ledger.handed_over(),
            published: ledger.count(Fate::Published),
            parked: ledger.count(Fate::Parked),
            dead_lettered: ledger.count(Fate::DeadLettered),
            refused: ledger.count(Fate::Refused),
            open: ledger.count(Fate::Unknown),
            again: ledger.again(),
            parked_at_once: ledger.parked_max(),
        }
    }
}

fn violations(run: &Run, ledger: &Ledger, events: &Events, findings: &Findings) -> Vec<String> {
    let mut violations = findings.violations(run.may_mark);
    if events.refused > 0 && !run.may_refuse {
        violations.push(format!("{} events were refused", events.refused));
    }
    let late = ledger.refused_at_the_end();
    if late > 0 && run.may_refuse {
        violations.push(format!(
            "{late} of the last events were refused, when nothing was broken any more"
        ));
    }
    if events.open > 0 {
        violations.push(format!("{} events have no final answer", events.open));
    }
    if ledger.parked_now() > 0 {
        violations.push(format!("{} events are still parked", ledger.parked_now()));
    }
    violations
}

fn latency(ledger: &Ledger) -> Vec<Latency> {
    let phases = ledger.latencies().into_iter();
    phases
        .filter(|(_, latencies)| latencies.count() > 0)
        .map(|(phase, latencies)| Latency {
            phase,
            receipts: latencies.count(),
            p50_us: latencies.quantile(0.5),
            p99_us: latencies.quantile(0.99),
            max_us: latencies.most(),
        })
        .collect()
}

fn with_excused(found: &Findings) -> String {
    match found.lost_by_broker {
        0 => found.lost.to_string(),
        gone => format!(
            "{} (and {gone} that the broker acknowledged and lost)",
            found.lost
        ),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

fn thousandths(micros: u64) -> String {
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}

const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before",
        Phase::During => "during",
        Phase::After => "after",
    }
}
