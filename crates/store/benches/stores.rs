//! 512-byte appends to the three standby stores at 1, 64 and 256 writers, and the drain of what they left; then four processes
//! that append to one place. Run: `cargo bench -p evenkeel-store --features aws,postgres --bench stores -- [SECONDS]`. PostgreSQL and DynamoDB local are
//! started for it; DynamoDB local keeps its table in memory, so its figures are those of the requests, not of a disk.

#![allow(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench panics to fail, and prints what it measures"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
use bytes::Bytes;
use evenkeel_event::TopicName;
use evenkeel_event::clock::Timestamp;
use evenkeel_store::dynamodb::{Config as DynamoConfig, DynamoKeeper};
use evenkeel_store::{
    AppendId, Config, DiskStandby, Kind, Place, Postgres, PostgresConfig, Row, ServerStandby, Standby,
};
use evenkeel_testkit::{DynamoDb, PostgresServer};

const PAYLOAD: [u8; 512] = [b'x'; 512];
const WRITERS: [u64; 3] = [1, 64, 256];
/// Each store takes its turn this often, so that all see the same load; the median counts.
const ROUNDS: usize = 3;
const PARTITIONS: i32 = 6;
/// Stores that are open at once when processes share a place, and how many append through each.
const PROCESSES: usize = 4;
const WRITERS_EACH: u64 = 16;
/// Bytes that a drain reads at once, as a publisher does.
const READ_BYTES: usize = 512 << 10;
const LIMIT_BYTES: u64 = 4 << 30;

/// What processes that share a place did in one round.
#[derive(Debug, Default)]
struct Shared {
    appends_per_second: f64,
    p50: f64,
    p99: f64,
    longest: f64,
    /// Appends of the process with the fewest, beside those of the one with the most.
    fairness: f64,
    refused: f64,
}

/// What one store did in one round.
#[derive(Debug, Default)]
struct Round {
    appends_per_second: f64,
    p50: f64,
    p99: f64,
    drained_per_second: f64,
}

fn main() {
    // Cargo hands `--bench` on.
    let seconds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(2);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(Duration::from_secs(seconds)));
}

async fn measure(time: Duration) {
    let postgres = PostgresServer::start(false, &[]);
    let dynamodb = DynamoDb::start();
    println!("512-byte appends, each waited for, medians of {ROUNDS} rounds of {time:?}");
    println!("writers  store       appends/s   p50 ms   p99 ms  drained/s");
    for (turn, writers) in WRITERS.into_iter().enumerate() {
        let mut rounds: [Vec<Round>; 3] = Default::default();
        for round in 0..ROUNDS {
            let name = format!("bench_{turn}_{round}");
            let directory = tempfile::tempdir().expect("a directory");
            let stores: [Arc<dyn Standby>; 3] = [
                Arc::new(DiskStandby::open(&Config::new(directory.path())).expect("a store on disk")),
                Arc::new(on_postgres(&postgres, &name).await),
                Arc::new(on_dynamodb(&dynamodb, &name, true).await),
            ];
            for (of_store, store) in rounds.iter_mut().zip(stores) {
                of_store.push(play(&store, writers, time).await);
            }
        }
        for (name, of_store) in ["disk", "postgresql", "dynamodb"].into_iter().zip(&rounds) {
            let figure = |of: fn(&Round) -> f64| median(of_store.iter().map(of).collect());
            println!(
                "{writers:>7}  {name:<10} {:>10.0} {:>8.2} {:>8.2} {:>10.0}",
                figure(|round| round.appends_per_second),
                figure(|round| round.p50),
                figure(|round| round.p99),
                figure(|round| round.drained_per_second),
            );
        }
    }
    println!("{PROCESSES} processes with {WRITERS_EACH} writers each, all to one place");
    println!("store       appends/s   p50 ms   p99 ms  longest ms  fewest/most  refused");
    let mut rounds: [Vec<Shared>; 2] = Default::default();
    for round in 0..ROUNDS {
        let name = format!("shared_{round}");
        let mut stores: [Vec<Arc<dyn Standby>>; 2] = Default::default();
        for process in 0..PROCESSES {
            stores[0].push(Arc::new(on_postgres(&postgres, &name).await));
            stores[1].push(Arc::new(on_dynamodb(&dynamodb, &name, process == 0).await));
        }
        for (of_store, stores) in rounds.iter_mut().zip(stores) {
            of_store.push(share(&stores, time).await);
        }
    }
    for (name, of_store) in ["postgresql", "dynamodb"].into_iter().zip(&rounds) {
        let figure = |of: fn(&Shared) -> f64| median(of_store.iter().map(of).collect());
        println!(
            "{name:<10} {:>10.0} {:>8.2} {:>8.2} {:>11.2} {:>12.2} {:>8.0}",
            figure(|round| round.appends_per_second),
            figure(|round| round.p50),
            figure(|round| round.p99),
            figure(|round| round.longest),
            figure(|round| round.fairness),
            figure(|round| round.refused),
        );
    }
}

async fn on_postgres(server: &PostgresServer, schema: &str) -> ServerStandby<Postgres> {
    let config = PostgresConfig {
        schema: schema.to_owned(),
        ..PostgresConfig::new(&server.url())
    };
    let keeper = Postgres::connect(&config).await.expect("a schema");
    ServerStandby::new(keeper, LIMIT_BYTES)
}

async fn on_dynamodb(server: &DynamoDb, table: &str, is_new: bool) -> ServerStandby<DynamoKeeper> {
    let settings = || {
        Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("bench", "bench", None, None, "bench"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(server.endpoint())
    };
    let config = DynamoConfig::new(table);
    if is_new {
        DynamoKeeper::create_table_with(&config, settings())
            .await
            .expect("a new table");
    }
    let keeper = DynamoKeeper::connect_with(&config, settings())
        .await
        .expect("the table");
    ServerStandby::new(keeper, LIMIT_BYTES)
}

/// Appends for `time`, then drains all of it.
async fn play(store: &Arc<dyn Standby>, writers: u64, time: Duration) -> Round {
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| tokio::spawn(append(store.clone(), writer, start + time)))
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.expect("a writer").0);
    }
    let appended = start.elapsed();
    waits.sort();
    let start = Instant::now();
    let drains: Vec<_> = (0..PARTITIONS)
        .map(|partition| tokio::spawn(drain(store.clone(), partition)))
        .collect();
    let mut drained = 0;
    for task in drains {
        drained += task.await.expect("a drain");
    }
    assert_eq!(drained, waits.len() as u64, "what was appended is drained");
    Round {
        appends_per_second: waits.len() as f64 / appended.as_secs_f64(),
        p50: percentile(&waits, 50),
        p99: percentile(&waits, 99),
        drained_per_second: drained as f64 / start.elapsed().as_secs_f64(),
    }
}

/// Appends for `time` through each of the stores to the same place.
async fn share(stores: &[Arc<dyn Standby>], time: Duration) -> Shared {
    let start = Instant::now();
    let tasks: Vec<_> = (0..)
        .zip(stores)
        .flat_map(|(process, store)| (0..WRITERS_EACH).map(move |writer| (process, writer, store)))
        .map(|(process, writer, store)| {
            let number = (process * WRITERS_EACH + writer) * PARTITIONS.unsigned_abs() as u64;
            (process, tokio::spawn(append(store.clone(), number, start + time)))
        })
        .collect();
    let (mut waits, mut refused, mut of_process) = (Vec::new(), 0_u32, [0_usize; PROCESSES]);
    for (process, task) in tasks {
        let (made, failed) = task.await.expect("a writer");
        of_process[process as usize] += made.len();
        waits.extend(made);
        refused += failed;
    }
    let appended = start.elapsed();
    waits.sort();
    let fewest = of_process.iter().min().copied().unwrap_or_default();
    let most = of_process.iter().max().copied().unwrap_or_default();
    Shared {
        appends_per_second: waits.len() as f64 / appended.as_secs_f64(),
        p50: percentile(&waits, 50),
        p99: percentile(&waits, 99),
        longest: percentile(&waits, 100),
        fairness: fewest as f64 / most.max(1) as f64,
        refused: f64::from(refused),
    }
}

/// Milliseconds; `waits` are sorted.
fn percentile(waits: &[Duration], percent: usize) -> f64 {
    let at = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
    waits.get(at).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
}

fn place(partition: i32) -> Place {
    Place {
        topic: TopicName::new("orders").expect("a name"),
        partition: Some(partition),
    }
}

/// Appends one row after the other until `end`; how long each took, and how many were refused.
async fn append(store: Arc<dyn Standby>, writer: u64, end: Instant) -> (Vec<Duration>, u32) {
    let at = place((writer % PARTITIONS.unsigned_abs() as u64) as i32);
    let (mut waits, mut refused) = (Vec::new(), 0);
    while Instant::now() < end {
        let row = Row {
            kind: Kind::Event,
            records: Bytes::from_static(&PAYLOAD),
            count: 1,
            appended_at: Timestamp::from_millis(0),
            stamping: None,
        };
        let id = AppendId {
            process: u128::from(writer),
            number: waits.len() as u64,
        };
        let start = Instant::now();
        match store.append(&at, id, vec![row]).await {
            Ok(_) => waits.push(start.elapsed()),
            Err(evenkeel_store::Error::Throttled { .. }) => refused += 1,
            Err(error) => panic!("an append: {error}"),
        }
    }
    (waits, refused)
}

/// Reads and removes piece by piece, and counts the rows.
async fn drain(store: Arc<dyn Standby>, partition: i32) -> u64 {
    let at = place(partition);
    let mut from = 0;
    loop {
        let piece = store.read(&at, from, READ_BYTES).await.expect("a read");
        let Some(last) = piece.rows.last() else {
            return from;
        };
        from = last.position + u64::from(last.row.count);
        store.remove(&at, from).await.expect("a removal");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
