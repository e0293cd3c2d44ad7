//! `evenkeel publish` is killed at random moments before, during and after an outage, and a script goes on with what it
//! still owns: every line whose receipt was not printed.
//!
//! `EVENKEEL_KILL_SEEDS` says how many seeds are played, `EVENKEEL_KILL_SEED` plays a single one.

mod course;
pub(crate) mod ground;
mod script;
mod verdict;

use anyhow::Context as _;

use crate::kafka;
use course::Summary;
use ground::Place;

pub(crate) fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("EVENKEEL_KILL_SEED") {
        return vec![seed];
    }
    let in_ci = std::env::var("CI").as_deref() == Ok("true");
    let count = number("EVENKEEL_KILL_SEEDS").unwrap_or(if in_ci { 20 } else { 5 });
    (0..count).collect()
}

/// Plays every seed and fails with those that broke a promise.
async fn play(place: Place) {
    let registry = crate::registry::empty().await;
    let (mut total, mut failures) = (Summary::default(), Vec::new());
    for seed in seeds() {
        let played = course::play(seed, &place, &registry).await;
        match played.with_context(|| format!("EVENKEEL_KILL_SEED={seed}")) {
            Ok(summary) => {
                eprintln!("{place}, seed {seed}: {summary}");
                total += summary;
            }
            Err(failure) => {
                eprintln!("{place}: {failure:#}");
                failures.push(format!("{failure:#}"));
            }
        }
    }
    eprintln!("{place}, all seeds: {total}");
    assert!(failures.is_empty(), "on {place}:\n{}", failures.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_a_receipt_survives_kill_9_on_the_embedded_broker() {
    play(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_a_receipt_survives_kill_9_on_apache_kafka() {
    let kafka = tokio::task::spawn_blocking(kafka::shared).await.unwrap();
    let Some(kafka) = kafka else { return };
    play(Place::Kafka(kafka.bootstrap())).await;
}
