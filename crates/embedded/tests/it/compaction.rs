//! Compacted topics: the latest record of each key stays, wherever the broker is killed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use bytes::Bytes;
use tempfile::TempDir;

use crate::{
    client::Client,
    crash::files,
    produce::{Batch, Entry, PLAIN, gzipped, stamped},
    retention::{OFTEN, until},
    served::{Served, Spawned},
};

/// Every batch is a segment of its own, and all of them are compacted as soon as they are sealed.
const EAGER: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "14"),
    ("min.cleanable.dirty.ratio", "0"),
];

fn compacting(more: &[(&str, &str)]) -> (Served, Client) {
    let served = Served::with(|config| config.cleanup_interval = OFTEN);
    let mut client = served.client();
    let settings = [&EAGER[..], more].concat();
    assert_eq!(client.create("t", 1, &settings), 0);
    (served, client)
}

fn put(client: &mut Client, batch: Bytes) -> i64 {
    let answer = client.produce("t", 0, batch);
    assert_eq!(answer.error_code, 0);
    answer.base_offset
}

fn pair(key: &str, value: &str) -> Bytes {
    PLAIN.pairs(&[(Some(key), Some(value))])
}

fn tombstone(key: &str) -> Bytes {
    PLAIN.pairs(&[(Some(key), None)])
}

/// Offset, key and value of everything there.
fn all(client: &mut Client) -> Vec<(i64, String, Option<String>)> {
    let entries = client.entries("t", 0, 0).into_iter();
    entries
        .map(|entry| (entry.offset, entry.key, entry.value))
        .collect()
}

fn offsets(client: &mut Client) -> Vec<i64> {
    client
        .entries("t", 0, 0)
        .iter()
        .map(|entry| entry.offset)
        .collect()
}

#[test]
fn the_latest_of_each_key_stays_at_its_offset() {
    let (mut served, mut client) = compacting(&[]);
    for round in 0..5 {
        for key in ["a", "b"] {
            put(&mut client, pair(key, &format!("{key}{round}")));
        }
    }
    put(&mut client, pair("c", "written to"));
    let expected = [(8, "a", "a4"), (9, "b", "b4"), (10, "c", "written to")]
        .map(|(offset, key, value)| (offset, key.to_owned(), Some(value.to_owned())));
    until("it is compacted", || all(&mut client) == expected);
    assert_eq!(client.offset("t", 0, -2).0, 0, "the log begins where it did");
    assert_eq!(
        client.read("t", 0, 3).len(),
        3,
        "a read in a gap finds what is behind it"
    );
    assert_eq!(client.read("t", 0, 9).len(), 2);
    until("the files go", || {
        files(served.directory.path(), "log").len() == 2
    });
    served.restart();
    let mut client = served.client();
    assert_eq!(all(&mut client), expected);
    assert_eq!(put(&mut client, pair("a", "a5")), 11);
}

#[test]
fn the_segment_that_is_written_to_is_never_touched() {
    let (_served, mut client) = compacting(&[("segment.bytes", "100000")]);
    let batch = PLAIN.pairs(&[(Some("a"), Some("1")), (Some("a"), Some("2"))]);
    put(&mut client, batch.clone());
    put(&mut client, batch);
    // A pass over another partition comes after one over this.
    client.create("u", 1, &EAGER);
    for _ in 0..3 {
        client.produce("u", 0, pair("a", "x"));
    }
    until("the other is compacted", || client.entries("u", 0, 0).len() == 2);
    assert_eq!(offsets(&mut client), [0, 1, 2, 3]);
}

#[test]
fn part_of_a_batch_stays_with_its_timestamps_and_headers() {
    let (_served, mut client) = compacting(&[]);
    let three = [
        (Some("a"), Some("1")),
        (Some("b"), Some("2")),
        (Some("c"), Some("3")),
    ];
    for batch in [
        PLAIN.pairs(&three),
        gzipped(&PLAIN.pairs(&three)),
        pair("b", "4"),
        pair("d", "5"),
    ] {
        put(&mut client, batch);
    }
    until("it is compacted", || offsets(&mut client) == [3, 5, 6, 7]);
    let entry = |offset, timestamp, key: &str, value: &str| Entry {
        offset,
        timestamp,
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    let expected = [
        entry(3, 1_000, "a", "1"),
        entry(5, 1_002, "c", "3"),
        entry(6, 1_000, "b", "4"),
        entry(7, 1_000, "d", "5"),
    ];
    assert_eq!(client.entries("t", 0, 0), expected);
    assert_eq!(client.offset("t", 0, 1_001), (5, 1_002), "found by its time");
    assert_eq!(client.offset("t", 0, -3), (5, 1_002), "the newest by time");
}

#[test]
fn tombstones_stay_for_their_time_and_then_go() {
    let (mut served, mut client) = compacting(&[("delete.retention.ms", "86400000")]);
    put(&mut client, pair("a", "1"));
    put(&mut client, pair("b", "1"));
    put(&mut client, tombstone("a"));
    put(&mut client, pair("c", "1"));
    until("what it deletes goes", || offsets(&mut client) == [1, 2, 3]);
    let kept = client.entries("t", 0, 2).swap_remove(0);
    assert_eq!(
        (kept.timestamp, kept.key.as_str(), kept.value),
        (1_000, "a", None)
    );
    served.restart();
    assert_eq!(offsets(&mut served.client()), [1, 2, 3]);
}

#[test]
fn a_tombstone_whose_time_is_over_goes_without_a_write() {
    let (mut served, mut client) = compacting(&[("delete.retention.ms", "0")]);
    put(&mut client, pair("a", "1"));
    put(&mut client, tombstone("a"));
    put(&mut client, pair("c", "1"));
    until("all of it goes", || offsets(&mut client) == [2]);
    served.restart();
    let mut client = served.client();
    assert_eq!(offsets(&mut client), [2]);
    assert_eq!(put(&mut client, pair("a", "again")), 3);
}

#[test]
fn producers_are_remembered_when_their_batches_are_gone() {
    let (mut served, mut client) = compacting(&[]);
    let batch = |sequence| {
        Batch {
            key: Some("a"),
            ..stamped(7, 0, sequence)
        }
        .of(&["v"])
    };
    for sequence in 0..6 {
        assert_eq!(put(&mut client, batch(sequence)), i64::from(sequence));
    }
    until("it is compacted", || offsets(&mut client) == [4, 5]);
    for _ in 0..2 {
        for sequence in 1..6 {
            assert_eq!(put(&mut client, batch(sequence)), i64::from(sequence));
        }
        assert_eq!(client.produce("t", 0, batch(7)).error_code, 45);
        served.restart();
        client = served.client();
    }
    assert_eq!(put(&mut client, batch(6)), 6);
}

#[test]
fn what_was_compacted_is_compacted_again_with_what_came_later() {
    let (served, mut client) = compacting(&[]);
    for round in 0..4 {
        for key in ["a", "b", "c"] {
            put(&mut client, pair(key, &round.to_string()));
        }
        put(&mut client, pair("last", &round.to_string()));
        let first = round * 4;
        let mut expected = vec![first, first + 1, first + 2, first + 3];
        // What supersedes it is still written to.
        expected.extend((round > 0).then(|| first - 1));
        expected.sort_unstable();
        until("it is compacted", || offsets(&mut client) == expected);
    }
    until("one file is left of all", || {
        files(served.directory.path(), "log").len() == 2
    });
}

#[test]
fn a_batch_that_cannot_be_unpacked_stops_compaction_and_nothing_else() {
    let (_served, mut client) = compacting(&[]);
    put(&mut client, pair("a", "1"));
    let mut packed = gzipped(&pair("a", "2")).to_vec();
    let last = packed.len() - 12;
    packed[last] ^= 0xff;
    put(&mut client, crate::produce::seal(&packed[21..]));
    put(&mut client, pair("a", "3"));
    client.create("u", 1, &EAGER);
    for _ in 0..3 {
        client.produce("u", 0, pair("a", "x"));
    }
    until("the other is compacted", || client.entries("u", 0, 0).len() == 2);
    assert_eq!(client.offset("t", 0, -1).0, 3);
    let first = client.fetch(&crate::client::fetch("t", 0, 0).with_max_bytes(1));
    let records = first.responses[0].partitions[0].records.clone().unwrap();
    assert_eq!(crate::produce::records(&records)[0], (0, "1".to_owned()));
}

/// Copies the files of the one partition.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A stopped broker after a compaction, its partition's directory, and a copy of how that was before.
fn before_and_after() -> (Served, PathBuf, TempDir) {
    let mut served = Served::start();
    let mut client = served.client();
    assert_eq!(client.create("t", 1, &EAGER), 0);
    for value in 0..4 {
        put(&mut client, pair("a", &value.to_string()));
    }
    served.stop();
    let log = files(served.directory.path(), "log").remove(0);
    let partition = log.parent().unwrap().to_owned();
    let before = TempDir::new().unwrap();
    copy(&partition, before.path());
    served.start_with(|config| config.cleanup_interval = OFTEN);
    until("the files go", || files(&partition, "log").len() == 2);
    served.stop();
    (served, partition, before)
}

#[test]
fn a_compaction_that_was_ended_before_it_counted_leaves_no_trace() {
    let (mut served, partition, before) = before_and_after();
    let compacted = files(&partition, "log").remove(0);
    fs::rename(&compacted, compacted.with_extension("compacting")).unwrap();
    copy(before.path(), &partition);
    served.start_again();
    assert_eq!(offsets(&mut served.client()), [0, 1, 2, 3]);
    served.stop();
    assert_eq!(names(&partition), names(before.path()));
}

#[test]
fn a_compaction_that_was_ended_after_it_counted_is_finished() {
    let (mut served, partition, before) = before_and_after();
    let after = names(&partition);
    let old = names(before.path());
    for kept in 1..old.len() {
        for name in &old[kept..] {
            if !after.contains(name) {
                fs::copy(before.path().join(name), partition.join(name)).unwrap();
            }
        }
        served.start_again();
        assert_eq!(
            offsets(&mut served.client()),
            [2, 3],
            "{kept} of the old files were gone"
        );
        served.stop();
        assert_eq!(names(&partition), after);
    }
}

#[test]
fn a_compacted_segment_without_its_checkpoint_is_read_anew() {
    let (mut served, partition, _before) = before_and_after();
    for checkpoint in files(&partition, "checkpoint") {
        fs::remove_file(checkpoint).unwrap();
    }
    served.start_again();
    let mut client = served.client();
    assert_eq!(offsets(&mut client), [2, 3]);
    assert_eq!(put(&mut client, pair("a", "4")), 4);
}

const KEYS: i32 = 7;

/// A producer that goes on where it was, and what it knows to be in the log: by key, the latest acknowledged.
#[derive(Default)]
struct Writer {
    next: i32,
    latest: BTreeMap<String, i64>,
}

impl Writer {
    fn run(&mut self, mut client: Client, acknowledged: &AtomicU64) {
        loop {
            let key = format!("k{}", self.next % KEYS);
            let value = self.next.to_string();
            let batch = stamped(9, 0, self.next).pairs(&[(Some(key.as_str()), Some(value.as_str()))]);
            let request = crate::client::produce("t", &[(0, batch)]);
            let Ok(response) = client.try_call(9, &request) else {
                return;
            };
            let answer = &response.responses[0].partition_responses[0];
            assert_eq!((answer.error_code, answer.base_offset), (0, i64::from(self.next)));
            self.latest.insert(key, answer.base_offset);
            self.next += 1;
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn check(&self, seed: u64, entries: &[Entry]) {
        assert!(
            entries.windows(2).all(|pair| pair[0].offset < pair[1].offset),
            "seed {seed}: in order"
        );
        let mut latest = BTreeMap::new();
        for entry in entries {
            let value = entry.value.as_deref().unwrap();
            assert_eq!(value, entry.offset.to_string(), "seed {seed}: at its offset");
            latest.insert(entry.key.clone(), entry.offset);
        }
        for (key, offset) in &self.latest {
            assert!(
                latest.get(key).is_some_and(|found| found >= offset),
                "seed {seed}: {key} was acknowledged at {offset}, found at {:?}",
                latest.get(key)
            );
        }
    }
}

#[test]
fn kill_9_in_the_middle_of_compaction_loses_nothing() {
    for seed in 0..6_u64 {
        let directory = TempDir::new().unwrap();
        let mut writer = Writer::default();
        for round in 0..4 {
            let broker = Spawned::cleaning(directory.path());
            let mut client = Client::connect(broker.address);
            if round == 0 {
                assert_eq!(client.create("t", 1, &EAGER), 0);
            }
            writer.check(seed, &client.entries("t", 0, 0));
            let until = 20 + (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).wrapping_mul(round + 1) % 150;
            let acknowledged = AtomicU64::new(0);
            let count = &acknowledged;
            thread::scope(|scope| {
                scope.spawn(|| writer.run(client, count));
                while acknowledged.load(Ordering::SeqCst) < until {
                    thread::yield_now();
                }
                broker.kill();
            });
        }
        let broker = Spawned::cleaning(directory.path());
        let mut client = Client::connect(broker.address);
        writer.check(seed, &client.entries("t", 0, 0));
        let most = usize::try_from(KEYS).unwrap() + 1;
        let _grown = client.produce(
            "t",
            0,
            stamped(9, 0, writer.next).pairs(&[(Some("k0"), Some("x"))]),
        );
        until("it is compacted", || client.entries("t", 0, 0).len() <= most);
    }
}
