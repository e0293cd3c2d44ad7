//! Four publishers that share a standby store, beside four with a disk each: how long the first event of a partition waits when
//! Kafka goes away, how long one after it, and how fast all is drained. Run:
//! `cargo bench -p evenkeel --features evenkeel-store/postgres --bench fleet -- [ADDRESS...]`. PostgreSQL is started for it;
//! `dynamodb:TABLE` is measured too where it is named and the build has the feature `evenkeel-store/aws`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a bench panics to fail, and prints what it measures"
)]

mod stage;

use std::time::{Duration, Instant};

use evenkeel::publish::Receipt;
use evenkeel::{Fleet, Publisher, TopicName};
use evenkeel_store::address;
use evenkeel_testkit::PostgresServer;
use futures_util::future::join_all;
use stage::{PARTITIONS, Side, median, percentile};

const ROUNDS: usize = 3;
const PROCESSES: usize = 4;
/// Events that each process parks, at once and one after the other.
const EVENTS: usize = 10_000;
const LONE: usize = 50;
const CHUNK: usize = 1_000;
const BYTES: usize = 500;
const LIMIT_BYTES: u64 = 4 << 30;
/// So many keys have one in each partition.
const KEYS: usize = 100;

/// What one round came to, ms and events a second.
#[derive(Debug)]
struct Round {
    first: f64,
    later: [f64; 2],
    drained: f64,
}

fn main() {
    stage::serve_if_told();
    let named = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let postgres = PostgresServer::start(false, &[]);
    let mut addresses = vec![None, Some(postgres.url())];
    addresses.extend(named.map(Some));
    println!("{PROCESSES} processes, {PARTITIONS} partitions, medians of {ROUNDS} rounds");
    println!("store       first park ms   later p50 ms   later p99 ms   drained/s");
    for address in addresses {
        // A broker of its own, so that no store finds what another one left.
        let mut side = Side::start(None);
        runtime.block_on(measure(&mut side, address.as_deref()));
    }
}

async fn measure(side: &mut Side, address: Option<&str>) {
    let directory = tempfile::tempdir().expect("a directory");
    let (topic, registry) = (stage::topic("shared"), stage::serve_registry().await);
    let mut publishers = Vec::new();
    for process in 0..PROCESSES {
        let path = directory.path().join(process.to_string());
        let mut config = stage::config(&side.weak, &registry, &path, &topic);
        if let Some(address) = address {
            address::create(address, "bench").await.expect("tables");
            let store = address::open(address, "bench", LIMIT_BYTES).await;
            config.fleet = Some(Fleet::new(store.expect("a store")));
        }
        publishers.push(Publisher::start(config).await.expect("a publisher"));
    }
    let mut rounds = Vec::new();
    // The first one warms up.
    for round in 0..=ROUNDS {
        let seen = play(side, &publishers, &topic, round).await;
        if round > 0 {
            rounds.push(seen);
        }
    }
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    println!(
        "{:<11} {:>13.1} {:>14.2} {:>14.2} {:>11.0}",
        address.map_or("disk", |address| address.split(':').next().unwrap_or(address)),
        of(|round| round.first),
        of(|round| round.later[0]),
        of(|round| round.later[1]),
        of(|round| round.drained),
    );
    for publisher in publishers {
        assert!(publisher.close(Duration::from_secs(60)).await);
    }
}

async fn play(side: &mut Side, publishers: &[Publisher], topic: &TopicName, round: usize) -> Round {
    let writer = |process: usize, part: usize| (round * 10 + part) * PROCESSES + process;
    for (process, publisher) in publishers.iter().enumerate() {
        stage::lone(publisher, topic, writer(process, 0), KEYS).await;
    }
    side.cut();
    let firsts = (0..KEYS).map(|number| parked(&publishers[0], topic, writer(0, 1), number));
    let first = join_all(firsts).await.into_iter().max().expect("an event");
    let mut later = Vec::new();
    for number in 0..LONE {
        let of_all = publishers.iter().enumerate();
        later.extend(
            join_all(of_all.map(|(process, publisher)| parked(publisher, topic, writer(process, 2), number)))
                .await,
        );
    }
    later.sort_unstable();
    let many = publishers.iter().enumerate().map(async |(process, publisher)| {
        for from in (0..EVENTS).step_by(CHUNK) {
            let chunk: Vec<_> = (from..from + CHUNK)
                .map(|number| stage::event(topic, writer(process, 3), number, BYTES))
                .collect();
            stage::publish(publisher, &chunk).await;
        }
    });
    join_all(many).await;
    let start = Instant::now();
    side.restore();
    while left(publishers).await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let events = KEYS + (LONE + EVENTS) * PROCESSES;
    Round {
        first: first.as_secs_f64() * 1e3,
        later: [percentile(&later, 50), percentile(&later, 99)],
        drained: f64::from(u32::try_from(events).expect("a count")) / start.elapsed().as_secs_f64(),
    }
}

/// Publishes an event that is to be parked, and tells how long that took.
async fn parked(publisher: &Publisher, topic: &TopicName, writer: usize, number: usize) -> Duration {
    let (event, order) = stage::event(topic, writer, number, BYTES);
    let start = Instant::now();
    let receipt = publisher.publish(&event, &order).await;
    assert!(matches!(receipt, Ok(Receipt::Parked { .. })), "{receipt:?}");
    start.elapsed()
}

/// Events that are parked by all, or of each.
async fn left(publishers: &[Publisher]) -> u64 {
    let mut left = 0;
    for publisher in publishers {
        left += publisher.parked().await.expect("its store").events;
    }
    left
}
