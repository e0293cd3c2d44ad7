//! A process that appends, stamps and removes is killed with -9 at random moments (invariant **restartable**).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use evenkeel_store::{AppendId, Standby};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;

use crate::disk::open;
use crate::rows::{place, row, text};

const DIRECTORY: &str = "STANDBY_KILL_DIRECTORY";
const ROUND: &str = "STANDBY_KILL_ROUND";
const PARTITIONS: i32 = 3;
/// Small, so that files are begun and deleted all the time.
const LIMIT: u64 = 4 << 20;

/// The child: not a test of its own, it does nothing unless a parent test asks.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(directory), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) else {
        return;
    };
    let store: std::sync::Arc<dyn Standby> = std::sync::Arc::new(open(Path::new(&directory), LIMIT));
    let process: u128 = round.parse().unwrap();
    let mut writers = Vec::new();
    for partition in 0..PARTITIONS {
        let store = store.clone();
        writers.push(tokio::spawn(write(store, partition, process)));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Appends without end; says `+ partition number text` when a row is acknowledged and `- partition number` when what is
/// below a number is removed.
pub(crate) async fn write(store: std::sync::Arc<dyn Standby>, partition: i32, process: u128) {
    let at = place("orders", Some(partition));
    let mut seed =
        StdRng::seed_from_u64(u64::try_from(process).unwrap() * 10 + u64::try_from(partition).unwrap());
    for number in 0.. {
        let id = AppendId {
            process: process * 10 + u128::try_from(partition).unwrap(),
            number,
        };
        let text = format!("{process}.{number}.{}", "x".repeat(seed.random_range(0..2_000)));
        let position = store.append(&at, id, vec![row(&text)]).await.unwrap();
        say(&format!("+ {partition} {position} {text}"));
        if seed.random_ratio(1, 8) {
            let retried = store.append(&at, id, vec![row(&text)]).await.unwrap();
            assert_eq!(retried, position);
        }
        if seed.random_ratio(1, 20) {
            let below = position.saturating_sub(seed.random_range(0..30));
            say(&format!("? {partition} {below}"));
            store.remove(&at, below).await.unwrap();
            say(&format!("- {partition} {below}"));
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// What the killed children said of one partition.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) acknowledged: BTreeMap<u64, String>,
    removed: u64,
    maybe_removed: u64,
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for seed in 0..4_u64 {
        let directory = TempDir::new().unwrap();
        let mut random = StdRng::seed_from_u64(seed);
        let mut said = BTreeMap::<i32, Said>::new();
        for round in 1..=8 {
            let lines = random.random_range(1..600);
            run_and_kill(directory.path(), seed * 100 + round, lines, &mut said);
            runtime.block_on(check(directory.path(), &said));
        }
        assert!(said.values().any(|said| !said.acknowledged.is_empty()));
    }
}

fn run_and_kill(directory: &Path, round: u64, lines: usize, said: &mut BTreeMap<i32, Said>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for line in output.by_ref().lines().take(lines) {
        note(&line.unwrap(), said);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died, whole lines only: the last may be cut. A whole one counts, or a removal that it
    // announces would go unnoticed.
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    for line in rest
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
    {
        note(line, said);
    }
}

pub(crate) fn note(line: &str, said: &mut BTreeMap<i32, Said>) {
    let mut words = line.split(' ');
    let (kind, partition, number) = (words.next(), words.next(), words.next());
    let (Some(kind @ ("+" | "?" | "-")), Some(partition), Some(number)) = (kind, partition, number) else {
        return;
    };
    let said = said.entry(partition.parse().unwrap()).or_default();
    let number: u64 = number.parse().unwrap();
    match kind {
        "+" => {
            said.acknowledged.insert(number, words.next().unwrap().to_owned());
        }
        "?" => said.maybe_removed = said.maybe_removed.max(number),
        _ => said.removed = said.removed.max(number),
    }
}

async fn check(directory: &Path, said: &BTreeMap<i32, Said>) {
    check_store(&open(directory, LIMIT), said).await;
}

/// What was acknowledged is there, once and in order; what was removed is not.
pub(crate) async fn check_store(store: &dyn Standby, said: &BTreeMap<i32, Said>) {
    assert!(store.damaged().await.unwrap().is_empty());
    for (partition, said) in said {
        let found = crate::rows::read_all(store, &place("orders", Some(*partition))).await;
        let numbers: Vec<u64> = found.iter().map(|row| row.position).collect();
        assert!(
            numbers.is_sorted_by(|one, next| one < next),
            "none twice, in order"
        );
        let found: BTreeMap<u64, String> = found.iter().map(|row| (row.position, text(row))).collect();
        let begun: Vec<&str> = found
            .values()
            .map(|text| &text[..text.rfind('.').unwrap()])
            .collect();
        let mut once = begun.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), begun.len(), "a retried append is one");
        assert!(
            found.keys().all(|number| *number >= said.removed),
            "removed rows stay removed"
        );
        for (number, text) in said.acknowledged.range(said.removed.max(said.maybe_removed)..) {
            assert_eq!(found.get(number), Some(text), "row {number} was acknowledged");
        }
    }
}
