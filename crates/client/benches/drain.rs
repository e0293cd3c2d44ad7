//! Draining what was parked, beside raw produce of the same bytes, with live traffic beside both. Run:
//! `cargo bench -p evenkeel --bench drain -- [BROKER]`; without an address an embedded broker is started in a process of
//! its own. Raw produce keeps five batches under way per partition, as the drain may.

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel::{Kafka, Publisher, TopicName};
use evenkeel_broker::batch::{self, Builder, Compression};
use evenkeel_broker::{Cluster, Outgoing};
use evenkeel_event::TopicPartition;
use evenkeel_event::clock::{Clock as _, SystemClock};
use evenkeel_flow::{Answer, Stamp};
use evenkeel_store::Place;
use futures_util::StreamExt as _;
use stage::{PARTITIONS, Side, median, percentile};

const ROUNDS: usize = 5;
const EVENTS: usize = 200_000;
const BYTES: usize = 500;
const CHUNK: usize = 2_000;
/// As large as what the drain sends.
const BATCH_BYTES: usize = 128 << 10;
const UNDER_WAY: usize = 5;
/// A live event every so often.
const LIVE_EVERY: Duration = Duration::from_millis(5);

fn main() {
    stage::serve_if_told();
    let given = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let mut side = Side::start(given.as_deref());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&mut side));
}

/// What one round came to.
#[derive(Debug)]
struct Round {
    raw: f64,
    drain: f64,
    /// Live waits at p99, ms: alone, beside raw produce, beside the drain.
    live: [f64; 3],
    begins: Duration,
}

async fn measure(side: &mut Side) {
    let directory = tempfile::tempdir().expect("a directory");
    let (parked, live) = (stage::topic("drained"), stage::topic("live"));
    let registry = stage::serve_registry().await;
    let path = |name: &str| directory.path().join(name);
    let publisher = stage::publisher(&side.weak, &registry, &path("weak"), &parked).await;
    let beside = stage::publisher(&side.open, &registry, &path("live"), &live).await;
    // Both topics are there and known before anything is measured.
    stage::publish(&publisher, &[stage::event(&parked, 0, 0, BYTES)]).await;
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let alone = Live::start(&beside, &live);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let alone = alone.stop().await;
        side.cut();
        park(&publisher, &parked, round).await;
        let batches = batches(&publisher, &parked).await;
        let traffic = Live::start(&beside, &live);
        let raw = produce(&side.open, &stage::topic(&format!("raw-{round}")), batches).await;
        let beside_raw = traffic.stop().await;
        let traffic = Live::start(&beside, &live);
        let start = Instant::now();
        side.restore();
        let (begins, drain) = drained(&publisher, start).await;
        let beside_drain = traffic.stop().await;
        let round_seen = Round {
            raw,
            drain,
            live: [alone, beside_raw, beside_drain],
            begins,
        };
        println!("round {round}: {round_seen:?}");
        // The first one warms up.
        if round > 0 {
            rounds.push(round_seen);
        }
    }
    report(&rounds);
    assert!(publisher.close(Duration::from_secs(60)).await);
    assert!(beside.close(Duration::from_secs(60)).await);
}

fn report(rounds: &[Round]) {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    println!(
        "{EVENTS} events of {BYTES} bytes, median of {ROUNDS}: raw produce {:.0}/s, drain {:.0}/s, ratio {:.2}; begins after {:.0} ms",
        of(|round| round.raw),
        of(|round| round.drain),
        of(|round| round.drain / round.raw),
        of(|round| round.begins.as_secs_f64() * 1e3),
    );
    println!(
        "live traffic at p99: alone {:.2} ms, beside raw produce {:.2} ms, beside the drain {:.2} ms ({:.2} of alone)",
        of(|round| round.live[0]),
        of(|round| round.live[1]),
        of(|round| round.live[2]),
        of(|round| round.live[2] / round.live[0]),
    );
}

async fn park(publisher: &Publisher, topic: &TopicName, round: usize) {
    for from in (0..EVENTS).step_by(CHUNK) {
        let chunk: Vec<_> = (from..from + CHUNK)
            .map(|number| stage::event(topic, round + 1, number, BYTES))
            .collect();
        stage::publish(publisher, &chunk).await;
    }
    let parked = publisher.parked().await.expect("its store").events;
    assert!(
        parked * 10 >= EVENTS as u64 * 9,
        "only {parked} events are parked"
    );
}

/// What is parked, as batches like those that the drain sends.
async fn batches(publisher: &Publisher, topic: &TopicName) -> Vec<Vec<(Bytes, i32)>> {
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let place = Place {
            topic: topic.clone(),
            partition: Some(partition),
        };
        let span = publisher.standby().span(&place).await.expect("its span");
        let (mut from, mut own, mut builder) = (span.head, Vec::new(), Builder::new(usize::MAX));
        while from < span.tail {
            let piece = publisher
                .standby()
                .read(&place, from, 1 << 20)
                .await
                .expect("rows");
            for row in piece.rows {
                from = row.position + u64::from(row.row.count);
                let read = batch::Batch::read(row.row.records).expect("a batch");
                let records = read.open(1 << 26).expect("its records");
                let now = SystemClock::default().now();
                for record in records.iter() {
                    builder.push_copy(&record, &[], now).expect("room");
                }
                if builder.bytes() > BATCH_BYTES || from >= span.tail {
                    let full = std::mem::replace(&mut builder, Builder::new(usize::MAX));
                    let count = full.count();
                    let encoded = full.finish(Compression::None).expect("a batch");
                    own.push((encoded.unstamped().expect("a batch"), count));
                }
            }
        }
        all.push(own);
    }
    all
}

/// Events per second of raw stamped produce.
async fn produce(broker: &str, topic: &TopicName, batches: Vec<Vec<(Bytes, i32)>>) -> f64 {
    let cluster = Cluster::connect(Kafka::at(broker)).await.expect("a cluster");
    let new = evenkeel_broker::admin::NewTopic {
        name: topic.clone(),
        partitions: PARTITIONS,
        replication: 1,
        configs: Vec::new(),
    };
    let topic_id = cluster.create_topic(&new).await.expect("a topic");
    let mut lines = Vec::new();
    for partition in 0..PARTITIONS {
        let at = TopicPartition::new(topic.clone(), partition);
        lines.push((partition, cluster.leader(&at).await.expect("a leader")));
    }
    let producer = cluster.init_producer_id().await.expect("an identity").0;
    let events: i32 = batches.iter().flatten().map(|(_, count)| count).sum();
    let start = Instant::now();
    let tasks: Vec<_> = lines
        .into_iter()
        .zip(batches)
        .map(|((partition, leader), own)| {
            let (cluster, topic) = (cluster.clone(), topic.clone());
            tokio::spawn(async move {
                let mut sequence = 0;
                let sends = own.into_iter().map(|(bytes, count)| {
                    let stamp = Stamp {
                        producer_id: producer,
                        epoch: 0,
                        base_sequence: sequence,
                        count,
                    };
                    sequence += count;
                    let now = SystemClock::default().now();
                    let header = batch::stamped_header(&bytes, &stamp, now).expect("a header");
                    let mut outgoing = Outgoing::new(topic.clone(), topic_id, partition, bytes);
                    outgoing.header = Some(header);
                    let cluster = cluster.clone();
                    async move {
                        let sent = cluster.send(leader, &[outgoing], Duration::from_secs(30)).await;
                        assert!(
                            matches!(sent.outcomes[0].answer, Answer::Appended { .. }),
                            "{sent:?}"
                        );
                    }
                });
                let mut sends = futures_util::stream::iter(sends).buffered(UNDER_WAY);
                while sends.next().await.is_some() {}
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("all is sent");
    }
    f64::from(events) / start.elapsed().as_secs_f64()
}

/// Waits until nothing is parked: when the first event left, and how many a second from then on.
async fn drained(publisher: &Publisher, start: Instant) -> (Duration, f64) {
    let parked = || async { publisher.parked().await.expect("its store").events };
    let all = parked().await;
    let mut begun = None;
    loop {
        let left = parked().await;
        if left < all && begun.is_none() {
            begun = Some((Instant::now(), left));
        }
        if let (0, Some((begun, of))) = (left, begun) {
            return (begun - start, of as f64 / begun.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Events that are published one by one at a steady rate.
struct Live {
    over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<Duration>>,
}

impl Live {
    fn start(publisher: &Publisher, topic: &TopicName) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (publisher, topic, stop) = (publisher.clone(), topic.clone(), over.clone());
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(LIVE_EVERY);
            let mut tasks = tokio::task::JoinSet::new();
            while !stop.load(Ordering::Relaxed) {
                tick.tick().await;
                let (publisher, topic) = (publisher.clone(), topic.clone());
                tasks.spawn(async move {
                    let (event, order) = stage::event(&topic, 98, tick_number(), 190);
                    let start = Instant::now();
                    publisher.publish(&event, &order).await.expect("a receipt");
                    start.elapsed()
                });
            }
            tasks.join_all().await
        });
        Self { over, task }
    }

    /// The wait at p99, ms.
    async fn stop(self) -> f64 {
        self.over.store(true, Ordering::Relaxed);
        let mut waits = self.task.await.expect("live traffic");
        waits.sort_unstable();
        percentile(&waits, 99)
    }
}

/// A number that no other live event has.
fn tick_number() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
