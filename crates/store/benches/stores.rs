//! 512-byte appends to the three standby stores at 1, 64 and 256 writers, and the drain of what they left. Run:
//! `cargo bench -p evenkeel-store --features aws,postgres --bench stores -- [SECONDS]`. PostgreSQL and DynamoDB local are
//! started for it; DynamoDB local keeps its table in memory, so its figures are those of the requests, not of a disk.

#![allow(
    clippy::cast_precision_loss,
    clippy::expect_used,
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
/// Bytes that a drain reads at once, as a publisher does.
const READ_BYTES: usize = 512 << 10;
const LIMIT_BYTES: u64 = 4 << 30;

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
                Arc::new(on_dynamodb(&dynamodb, &name).await),
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
}

async fn on_postgres(server: &PostgresServer, schema: &str) -> ServerStandby<Postgres> {
    let config = PostgresConfig {
        schema: schema.to_owned(),
        ..PostgresConfig::new(&server.url())
    };
    let keeper = Postgres::connect(&config).await.expect("a schema");
    ServerStandby::new(keeper, LIMIT_BYTES)
}

async fn on_dynamodb(server: &DynamoDb, table: &str) -> ServerStandby<DynamoKeeper> {
    let settings = || {
        Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("bench", "bench", None, None, "bench"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(server.endpoint())
    };
    let config = DynamoConfig::new(table);
    DynamoKeeper::create_table_with(&config, settings())
        .await
        .expect("a new table");
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
        waits.extend(task.await.expect("a writer"));
    }
    let appended = start.elapsed();
    waits.sort();
    let percentile = |percent: usize| {
        let at = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
        waits.get(at).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    };
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
        p50: percentile(50),
        p99: percentile(99),
        drained_per_second: drained as f64 / start.elapsed().as_secs_f64(),
    }
}

fn place(partition: i32) -> Place {
    Place {
        topic: TopicName::new("orders").expect("a name"),
        partition: Some(partition),
    }
}

/// Appends one row after the other until `end`; how long each took.
async fn append(store: Arc<dyn Standby>, writer: u64, end: Instant) -> Vec<Duration> {
    let at = place((writer % PARTITIONS.unsigned_abs() as u64) as i32);
    let mut waits = Vec::new();
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
        store.append(&at, id, vec![row]).await.expect("an append");
        waits.push(start.elapsed());
    }
    waits
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
