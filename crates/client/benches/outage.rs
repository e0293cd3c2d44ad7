//! A publisher through an outage: memory, and how long callers wait, at 10,000 events/s of 500 bytes. Run:
//! `cargo bench -p evenkeel --bench outage -- [SECONDS]`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a bench panics to fail, and prints what it measures"
)]

mod stage;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel::publish::Receipt;
use evenkeel::{Publisher, TopicName};
use stage::{percentile, resident_mib};

const BYTES: usize = 500;
const TICK: Duration = Duration::from_millis(5);
/// Published at each tick: 10,000 a second.
const PER_TICK: usize = 50;

/// What was seen in one part of the run.
#[derive(Debug, Default)]
struct Phase {
    waits: Vec<Duration>,
    parked: usize,
    failed: usize,
}

fn main() {
    stage::serve_if_told();
    let seconds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(60);
    let mut side = stage::Side::start(None);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(&mut side, seconds));
}

async fn run(side: &mut stage::Side, seconds: u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let (topic, registry) = (stage::topic("outage"), stage::serve_registry().await);
    let publisher = stage::publisher(&side.weak, &registry, directory.path(), &topic).await;
    println!("seconds  state    events  parked  failed  p50 ms  p99 ms  most ms  memory MiB (least..most)");
    let mut number = 0;
    for (state, length) in [("up", 5), ("cut", 2), ("out", 8), ("out", seconds), ("drain", 20)] {
        match state {
            "cut" => side.cut(),
            "drain" => side.restore(),
            _ => {}
        }
        // The memory of a long part is shown tenth by tenth.
        let parts = if length >= 20 { 10 } else { 1 };
        for _ in 0..parts {
            let time = Duration::from_secs(length) / parts;
            show(state, time, phase(&publisher, &topic, &mut number, time).await);
        }
    }
    while publisher.parked().await.expect("its store").events > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("all drained; memory {:.1} MiB", resident_mib());
    assert!(publisher.close(Duration::from_secs(60)).await);
}

async fn phase(
    publisher: &Publisher,
    topic: &TopicName,
    number: &mut usize,
    time: Duration,
) -> (Phase, f64, f64) {
    let seen = Arc::new(Mutex::new(Phase::default()));
    let (mut least, mut most) = (f64::MAX, 0.0_f64);
    let start = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let mut tasks = tokio::task::JoinSet::new();
    while start.elapsed() < time {
        tick.tick().await;
        for _ in 0..PER_TICK {
            *number += 1;
            tasks.spawn(one(publisher.clone(), topic.clone(), *number, seen.clone()));
        }
        while tasks.try_join_next().is_some() {}
        least = least.min(resident_mib());
        most = most.max(resident_mib());
    }
    while tasks.join_next().await.is_some() {}
    let phase = std::mem::take(&mut *seen.lock().expect("a lock"));
    (phase, least, most)
}

async fn one(publisher: Publisher, topic: TopicName, number: usize, seen: Arc<Mutex<Phase>>) {
    let (event, order) = stage::event(&topic, 0, number, BYTES);
    let start = Instant::now();
    let receipt = publisher.publish(&event, &order).await;
    let wait = start.elapsed();
    let mut seen = seen.lock().expect("a lock");
    seen.waits.push(wait);
    match receipt {
        Ok(Receipt::Parked { .. }) => seen.parked += 1,
        Ok(_) => {}
        Err(_) => seen.failed += 1,
    }
}

fn show(state: &str, time: Duration, (mut phase, least, most): (Phase, f64, f64)) {
    phase.waits.sort_unstable();
    println!(
        "{:>7.1}  {state:<6} {:>8} {:>7} {:>7} {:>7.2} {:>7.2} {:>8.2}  {least:.1}..{most:.1}",
        time.as_secs_f64(),
        phase.waits.len(),
        phase.parked,
        phase.failed,
        percentile(&phase.waits, 50),
        percentile(&phase.waits, 99),
        percentile(&phase.waits, 100),
    );
}
