//! Two processes that append to the same places, stamp and remove are killed with -9 at random moments (invariant
//! **restartable**).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use evenkeel_store::Standby;
use evenkeel_store::dynamodb::{Config, DynamoStandby};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{connect, create, endpoint, fresh};
use crate::kill::{Said, check_store, note, write};

const ENDPOINT: &str = "STANDBY_DYNAMODB_ENDPOINT";
const TABLE: &str = "STANDBY_DYNAMODB_TABLE";
const PROCESS: &str = "STANDBY_DYNAMODB_PROCESS";
const PARTITIONS: i32 = 3;
const LIMIT: u64 = 1 << 30;

/// The child: not a test of its own, it does nothing unless a parent test asks.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(endpoint), Ok(table), Ok(process)) = (
        std::env::var(ENDPOINT),
        std::env::var(TABLE),
        std::env::var(PROCESS),
    ) else {
        return;
    };
    let keeper = connect(&endpoint, &Config::new(table)).await;
    let store: std::sync::Arc<dyn Standby> = std::sync::Arc::new(DynamoStandby::new(keeper, LIMIT));
    let process: u128 = process.parse().unwrap();
    let mut writers = Vec::new();
    for partition in 0..PARTITIONS {
        writers.push(tokio::spawn(write(store.clone(), partition, process)));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

fn start(endpoint: &str, table: &str, process: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dynamodb::kill::child", "--nocapture"])
        .env(ENDPOINT, endpoint)
        .env(TABLE, table)
        .env(PROCESS, process.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs two processes until they have said so many lines, then kills both.
fn run_and_kill(endpoint: &str, table: &str, round: u64, lines: usize, said: &mut BTreeMap<i32, Said>) {
    let mut children = [2 * round, 2 * round + 1].map(|process| start(endpoint, table, process));
    let (sender, heard) = mpsc::channel();
    let listeners: Vec<_> = children
        .iter_mut()
        .map(|child| {
            let (mut output, sender) = (BufReader::new(child.stdout.take().unwrap()), sender.clone());
            std::thread::spawn(move || {
                let mut line = String::new();
                // Only whole lines count: the last may be cut.
                while output.by_ref().read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
                    sender.send(std::mem::take(&mut line)).unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    for line in heard.iter().take(lines) {
        note(line.trim_end(), said);
    }
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for line in heard {
        note(line.trim_end(), said);
    }
    for listener in listeners {
        listener.join().unwrap();
    }
}

#[test]
fn what_two_processes_acknowledged_is_there_after_kill_9() {
    let Some(endpoint) = endpoint() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = fresh();
    runtime.block_on(create(endpoint, &config));
    let (mut random, mut said) = (StdRng::seed_from_u64(1), BTreeMap::new());
    for round in 1..=6 {
        let lines = random.random_range(1..200);
        run_and_kill(endpoint, &config.table, round, lines, &mut said);
        runtime.block_on(async {
            let keeper = connect(endpoint, &config).await;
            check_store(&DynamoStandby::new(keeper, LIMIT), &said).await;
        });
    }
    assert!(said.values().any(|said| !said.acknowledged.is_empty()));
}
