//! What publishing costs: events per second, CPU time of this process per event, and the wait of a lone event. Validation
//! and the standby store are on. Run: `cargo bench -p evenkeel --bench publish -- [BROKER]`; without an address an
//! embedded broker is started in a process of its own.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a bench panics to fail, and prints what it measures"
)]

mod stage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::{Event, Publisher};
use stage::{Order, cpu_time, lone, median, percentile, publish};

const EVENTS: usize = 1_000_000;
const ROUNDS: usize = 5;
const WRITERS: usize = 4;
const CHUNK: usize = 1_000;
/// How often a writer publishes the same events: making them is not measured.
const AGAIN: usize = 10;
const LONE: usize = 2_000;
const BYTES: usize = 190;

/// What one writer publishes.
type Chunks = Arc<[Vec<(Event, Order)>]>;

fn main() {
    stage::serve_if_told();
    // Cargo hands `--bench` on.
    let given = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let side = stage::Side::start(given.as_deref());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&side.direct));
}

async fn measure(broker: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let (topic, registry) = (stage::topic("bench"), stage::serve_registry().await);
    let publisher = stage::publisher(broker, &registry, directory.path(), &topic).await;
    let chunks: Vec<Chunks> = (0..WRITERS)
        .map(|writer| {
            let chunk = |from| {
                (0..CHUNK)
                    .map(|number| stage::event(&topic, writer, from + number, BYTES))
                    .collect()
            };
            (0..EVENTS / WRITERS / CHUNK / AGAIN)
                .map(|nth| chunk(nth * CHUNK))
                .collect::<Vec<_>>()
                .into()
        })
        .collect();
    publish(&publisher, &chunks[0][0]).await;
    let waits = lone(&publisher, &topic, WRITERS, LONE).await;
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (start, cpu) = (Instant::now(), cpu_time());
        let tasks: Vec<_> = chunks
            .iter()
            .map(|own| tokio::spawn(write(publisher.clone(), own.clone())))
            .collect();
        for task in tasks {
            task.await.expect("a writer");
        }
        // The first round warms up.
        if round > 0 {
            rates.push(EVENTS as f64 / start.elapsed().as_secs_f64());
            costs.push((cpu_time() - cpu).as_secs_f64() * 1e6 / EVENTS as f64);
        }
    }
    println!(
        "{EVENTS} events of {BYTES} bytes, median of {ROUNDS}: {:.0}/s, {:.3} us CPU each; a lone event {:.2} ms at p50, {:.2} ms at p99",
        median(rates),
        median(costs),
        percentile(&waits, 50),
        percentile(&waits, 99),
    );
    assert!(publisher.close(Duration::from_secs(60)).await);
}

async fn write(publisher: Publisher, own: Chunks) {
    for _ in 0..AGAIN {
        for chunk in own.iter() {
            publish(&publisher, chunk).await;
        }
    }
}
