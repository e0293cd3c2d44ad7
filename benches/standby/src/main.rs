//! 512-byte appends, durable one by one, at 1, 16, 64 and 256 writers: the standby store beside what it could have been
//! built on. Run: `cargo run --release --manifest-path benches/standby/Cargo.toml -- [DIRECTORY] [MILLISECONDS]`.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel_event::TopicName;
use evenkeel_event::clock::Timestamp;
use evenkeel_store::{AppendId, Config, DiskStandby, Kind, Place, Row, Standby as _};

const PAYLOAD: [u8; 512] = [b'x'; 512];

/// Each is measured this often, in turn, so that all of them see the same load; the median counts.
const ROUNDS: usize = 9;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().unwrap_or_else(|| ".".to_owned());
    let millis = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(500);
    let time = Duration::from_millis(millis);
    println!("appends/s of 512 bytes, median of {ROUNDS} rounds of {millis} ms");
    println!(
        "{:>8} {:>12} {:>12} {:>14} {:>14} {:>14}",
        "writers", "fdatasync", "evenkeel", "redb grouped", "sqlite grouped", "sqlite each"
    );
    for writers in [1, 16, 64, 256] {
        let fresh = || tempfile::tempdir_in(&parent).expect("a scratch directory");
        let mut rounds: [Vec<f64>; 5] = Default::default();
        for round in 0..ROUNDS {
            // Whoever comes first pays for what the one before left to be written: each does in turn.
            for turn in 0..rounds.len() {
                let which = (round + turn) % rounds.len();
                let directory = fresh();
                rounds[which].push(match which {
                    0 => raw(directory.path(), writers, time),
                    1 => ours(directory.path(), writers, time),
                    2 => redb(directory.path(), writers, time),
                    3 => sqlite(directory.path(), writers, time),
                    _ => sqlite(directory.path(), 1, time),
                });
            }
        }
        print!("{writers:>8}");
        for (rates, width) in rounds.iter_mut().zip([12, 12, 14, 14, 14]) {
            rates.sort_by(f64::total_cmp);
            print!(" {:>width$.0}", rates[ROUNDS / 2]);
        }
        println!();
    }
}

/// Calls `commit` until the time is over; each call makes `appends` durable.
fn rate(appends: u64, time: Duration, mut commit: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut made = 0;
    while start.elapsed() < time {
        commit();
        made += appends;
    }
    made as f64 / start.elapsed().as_secs_f64()
}

/// The least that any log can do: one write of all that wait, one fdatasync.
fn raw(directory: &Path, writers: u64, time: Duration) -> f64 {
    let mut file = std::fs::File::create(directory.join("raw")).expect("a file");
    let block = PAYLOAD.repeat(writers as usize);
    rate(writers, time, || {
        file.write_all(&block).expect("a write");
        file.sync_data().expect("a sync");
    })
}

fn ours(directory: &Path, writers: u64, time: Duration) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .build()
        .expect("a runtime");
    let store = Arc::new(DiskStandby::open(&Config::new(directory)).expect("a store"));
    let made = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for writer in 0..writers {
            let (store, made) = (store.clone(), made.clone());
            tasks.push(tokio::spawn(async move {
                let place = Place {
                    topic: TopicName::new("orders").expect("a name"),
                    partition: Some((writer % 6) as i32),
                };
                let mut number = 0;
                while start.elapsed() < time {
                    let row = Row {
                        kind: Kind::Event,
                        records: Bytes::from_static(&PAYLOAD),
                        count: 1,
                        appended_at: Timestamp::from_millis(0),
                        stamping: None,
                    };
                    let id = AppendId {
                        process: u128::from(writer),
                        number,
                    };
                    store.append(&place, id, vec![row]).await.expect("an append");
                    number += 1;
                    made.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        for task in tasks {
            task.await.expect("a task");
        }
    });
    made.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

fn redb(directory: &Path, writers: u64, time: Duration) -> f64 {
    const TABLE: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("rows");
    let database = redb::Database::create(directory.join("redb")).expect("a database");
    let mut number = 0;
    rate(writers, time, || {
        let transaction = database.begin_write().expect("a transaction");
        {
            let mut table = transaction.open_table(TABLE).expect("a table");
            for _ in 0..writers {
                table.insert(number, PAYLOAD.as_slice()).expect("an insert");
                number += 1;
            }
        }
        transaction.commit().expect("a commit");
    })
}

fn sqlite(directory: &Path, grouped: u64, time: Duration) -> f64 {
    let mut connection = rusqlite::Connection::open(directory.join("sqlite")).expect("a database");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE rows (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL);",
        )
        .expect("a table");
    rate(grouped, time, || {
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO rows (bytes) VALUES (?1)")
                .expect("a statement");
            for _ in 0..grouped {
                insert.execute([PAYLOAD.as_slice()]).expect("an insert");
            }
        }
        transaction.commit().expect("a commit");
    })
}
