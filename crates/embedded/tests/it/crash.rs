//! kill -9, torn tails, a full disk: what was acknowledged stays, once and in order.

use std::{
    fs::{self, OpenOptions},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use evenkeel_embedded::Error;
use tempfile::TempDir;

use crate::{
    client::Client,
    produce::{PLAIN, stamped},
    served::{Served, Spawned, config},
};

const PARTITIONS: i32 = 3;

/// Every file below a directory with that extension.
pub(crate) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A producer of one partition that goes on where it was: the next sequence, and what was acknowledged.
#[derive(Clone, Default)]
struct Producer {
    partition: i32,
    next: i32,
    acknowledged: Vec<i64>,
}

impl Producer {
    /// Sends until the connection breaks; a batch without an answer is sent again first, with its stamp.
    fn run(&mut self, address: SocketAddr, acknowledged: &AtomicU64) {
        // The broker may be killed before this one has connected.
        let Ok(mut client) = Client::try_connect(address) else {
            return;
        };
        loop {
            let batch = stamped(1_000 + i64::from(self.partition), 0, self.next).of(&[self.next.to_string()]);
            let request = crate::client::produce("t", &[(self.partition, batch)]);
            let Ok(response) = client.try_call(9, &request) else {
                return;
            };
            let answer = &response.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, 0, "sequence {}", self.next);
            self.acknowledged.push(answer.base_offset);
            self.next += 1;
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Kills the broker after so many acknowledgements and checks everything after its restart.
fn play(seed: u64, rounds: u64) {
    let directory = TempDir::new().unwrap();
    let mut producers: Vec<_> = (0..PARTITIONS)
        .map(|partition| Producer {
            partition,
            ..Producer::default()
        })
        .collect();
    for round in 0..rounds {
        let broker = Spawned::start(directory.path(), "");
        if round == 0 {
            assert_eq!(Client::connect(broker.address).create("t", PARTITIONS, &[]), 0);
        }
        let until = 1 + (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).wrapping_mul(round + 1) % 300;
        let acknowledged = AtomicU64::new(0);
        let (count, address) = (&acknowledged, broker.address);
        thread::scope(|scope| {
            for producer in &mut producers {
                scope.spawn(move || producer.run(address, count));
            }
            while acknowledged.load(Ordering::SeqCst) < until {
                thread::yield_now();
            }
            broker.kill();
        });
        let broker = Spawned::start(directory.path(), "");
        let mut client = Client::connect(broker.address);
        for producer in &producers {
            check(seed, producer, &client.read("t", producer.partition, 0));
        }
        drop(broker);
    }
}

fn check(seed: u64, producer: &Producer, found: &[(i64, String)]) {
    let expected: Vec<_> = (0..)
        .zip(0..found.len())
        .map(|(offset, value)| (offset, value.to_string()))
        .collect();
    assert_eq!(found, expected, "seed {seed}: in order and once");
    let sent = usize::try_from(producer.next).unwrap();
    assert!(
        (sent..=sent + 1).contains(&found.len()),
        "seed {seed}: {} of {sent}",
        found.len()
    );
    let offsets: Vec<_> = (0..i64::from(producer.next)).collect();
    assert_eq!(
        producer.acknowledged, offsets,
        "seed {seed}: each was acknowledged at its offset"
    );
}

#[test]
fn what_is_acknowledged_survives_kill_9_at_random_moments() {
    for seed in 0..4 {
        play(seed, 3);
    }
}

/// A stopped broker whose topic has three batches and no checkpoint, as after a kill.
fn three_batches() -> (Served, PathBuf, u64) {
    let mut served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[]);
    for value in ["a", "b", "c"] {
        client.produce("t", 0, PLAIN.of(&[value]));
    }
    served.stop();
    for checkpoint in files(served.directory.path(), "checkpoint") {
        fs::remove_file(checkpoint).unwrap();
    }
    let log = files(served.directory.path(), "log").remove(0);
    let length = fs::metadata(&log).unwrap().len();
    (served, log, length)
}

#[test]
fn a_torn_last_batch_is_cut_off_wherever_it_is_torn() {
    let (mut served, log, length) = three_batches();
    let whole = fs::read(&log).unwrap();
    for cut in length * 2 / 3..length {
        fs::write(&log, &whole[..usize::try_from(cut).unwrap()]).unwrap();
        served.start_again();
        let mut client = served.client();
        assert_eq!(client.read("t", 0, 0).len(), 2, "cut at {cut}");
        assert_eq!(client.produce("t", 0, PLAIN.of(&["new"])).base_offset, 2);
        assert_eq!(client.read("t", 0, 2), [(2, "new".to_owned())]);
        served.stop();
        for checkpoint in files(served.directory.path(), "checkpoint") {
            fs::remove_file(checkpoint).unwrap();
        }
    }
}

#[test]
fn garbage_behind_the_last_batch_is_cut_off() {
    let batch = PLAIN.of(&["never acknowledged"]);
    let garbage: [&[u8]; 5] = [&[0; 5_000], &[0xff; 61], b"short", &batch[..40], &batch];
    for garbage in garbage {
        let (mut served, log, length) = three_batches();
        let mut bytes = fs::read(&log).unwrap();
        bytes.extend(garbage);
        fs::write(&log, bytes).unwrap();
        served.start_again();
        assert_eq!(served.client().read("t", 0, 0).len(), 3);
        assert_eq!(fs::metadata(&log).unwrap().len(), length);
    }
}

#[test]
fn sound_batches_behind_a_torn_one_are_saved_aside() {
    let (mut served, log, length) = three_batches();
    let mut bytes = fs::read(&log).unwrap();
    let third = usize::try_from(length / 3).unwrap();
    bytes[third + 30] ^= 1;
    fs::write(&log, &bytes).unwrap();
    served.start_again();
    assert_eq!(served.client().read("t", 0, 0), [(0, "a".to_owned())]);
    let saved = log.with_extension(format!("torn-{third}"));
    assert_eq!(fs::read(saved).unwrap(), bytes[third..]);
}

#[test]
fn acknowledged_bytes_that_are_missing_are_reported_and_nothing_is_changed() {
    let mut served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[]);
    client.produce("t", 0, PLAIN.of(&["a"]));
    served.stop();
    let log = files(served.directory.path(), "log").remove(0);
    let length = fs::metadata(&log).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(length - 1)
        .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime
        .block_on(evenkeel_embedded::start(config(served.directory.path())))
        .unwrap_err();
    assert!(
        matches!(&error, Error::Damaged { path, .. } if *path == log),
        "{error}"
    );
    assert_eq!(fs::metadata(&log).unwrap().len(), length - 1);
}

#[test]
fn a_torn_catalog_entry_is_cut_off() {
    let mut served = Served::start();
    served.client().create("t", 1, &[]);
    served.stop();
    let catalog = served.directory.path().join("catalog.journal");
    let whole = fs::read(&catalog).unwrap();
    for tail in [&[0, 0, 0, 90][..], &[0; 300], &whole[..50]] {
        let mut bytes = whole.clone();
        bytes.extend(tail);
        fs::write(&catalog, bytes).unwrap();
        served.start_again();
        assert_eq!(served.client().offset("t", 0, -1).0, 0);
        served.stop();
    }
}

#[test]
fn a_full_disk_is_an_answer_and_costs_nothing_that_was_acknowledged() {
    let directory = TempDir::new().unwrap();
    let value = "x".repeat(1_000);
    // A file may have 64 KiB, and whoever writes more is told.
    let broker = Spawned::start(directory.path(), "trap '' XFSZ\nulimit -f 64");
    let mut client = Client::connect(broker.address);
    client.create("t", 2, &[]);
    let mut acknowledged = 0;
    loop {
        let answer = client.produce("t", 0, stamped(5, 0, acknowledged).of(&[&value]));
        if answer.error_code != 0 {
            assert_eq!(answer.error_code, 56);
            break;
        }
        acknowledged += 1;
        assert!(acknowledged < 100, "the disk is never full");
    }
    assert!(acknowledged > 50);
    let batch_bytes = stamped(5, 0, 0).of(&[&value]).len() as u64;
    let kept: u64 = files(directory.path(), "log")
        .iter()
        .map(|log| fs::metadata(log).unwrap().len())
        .sum();
    assert_eq!(
        kept,
        batch_bytes * acknowledged as u64,
        "what was written of the failed round is cut off again"
    );
    assert_eq!(
        client
            .produce("t", 0, stamped(5, 0, acknowledged).of(&[&value]))
            .error_code,
        56
    );
    assert_eq!(
        client
            .produce("t", 1, PLAIN.of(&["other partitions go on"]))
            .error_code,
        0
    );
    let expected = usize::try_from(acknowledged).unwrap();
    assert_eq!(client.read("t", 0, 0).len(), expected);
    broker.kill();
    let broker = Spawned::start(directory.path(), "");
    let mut client = Client::connect(broker.address);
    assert_eq!(client.read("t", 0, 0).len(), expected);
    let answer = client.produce("t", 0, stamped(5, 0, acknowledged).of(&[&value]));
    assert_eq!(
        (answer.error_code, answer.base_offset),
        (0, i64::from(acknowledged))
    );
}
