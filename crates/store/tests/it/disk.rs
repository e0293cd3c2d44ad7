//! The embedded store passes the suite, and what is its own.

use std::path::Path;
use std::sync::Arc;

use evenkeel_store::{BoxFuture, Config, DiskStandby, Error, Standby};
use tempfile::TempDir;

use crate::conformance::{self, Factory};
use crate::rows::{append_id, place, row, rows, stamped, texts};

struct Disk {
    directory: tokio::sync::Mutex<TempDir>,
    limit_bytes: u64,
    segment_bytes: u64,
}

impl Factory for Disk {
    fn open(&self, again: bool) -> BoxFuture<'_, Arc<dyn Standby>> {
        Box::pin(async move {
            let mut directory = self.directory.lock().await;
            if !again {
                *directory = TempDir::new().unwrap();
            }
            let config = Config {
                segment_bytes: self.segment_bytes,
                ..config(directory.path(), self.limit_bytes)
            };
            Arc::new(DiskStandby::open(&config).unwrap()) as Arc<dyn Standby>
        })
    }
}

pub(crate) fn open(directory: &Path, limit_bytes: u64) -> DiskStandby {
    DiskStandby::open(&config(directory, limit_bytes)).unwrap()
}

fn config(directory: &Path, limit_bytes: u64) -> Config {
    Config {
        limit_bytes,
        ..Config::new(directory)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() {
    // With files of 64 MiB, and with files so small that nearly every commit begins one.
    for (limit_bytes, segment_bytes) in [(10 << 30, 64 << 20), (1 << 30, 1_000)] {
        let directory = tokio::sync::Mutex::new(TempDir::new().unwrap());
        conformance::run(&Disk {
            directory,
            limit_bytes,
            segment_bytes,
        })
        .await;
    }
}

#[tokio::test]
async fn at_its_limit_it_refuses_and_still_drains() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), 1 << 20);
    let at = place("orders", Some(0));
    let big = "x".repeat(10_000);
    let mut accepted = Vec::new();
    let refused = loop {
        let number = accepted.len() as u64;
        match store.append(&at, append_id(number), vec![row(&big)]).await {
            Ok(parked) => accepted.push(parked),
            Err(error) => break error,
        }
    };
    assert!(refused.is_full() && !refused.may_have_been_made(), "{refused}");
    assert!(store.stats().await.unwrap().used_bytes <= 1 << 20);
    store
        .store_stamps(&at, vec![stamped(accepted[0], 0, 1)])
        .await
        .unwrap();
    store.remove(&at, accepted[accepted.len() / 2]).await.unwrap();
    store
        .append(&at, append_id(1_000), vec![row(&big)])
        .await
        .expect("room again");
}

#[tokio::test]
async fn files_of_removed_rows_are_deleted() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), 1 << 20);
    let at = place("orders", Some(0));
    let big = "x".repeat(10_000);
    for number in 0..2_000 {
        let position = store
            .append(&at, append_id(number), vec![row(&big)])
            .await
            .unwrap();
        store.remove(&at, position + 1).await.unwrap();
    }
    let logs = std::fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|extension| extension == "log")
        })
        .count();
    assert!(logs <= 2, "20 MB went through, {logs} files are left");
}

#[tokio::test]
async fn one_store_at_a_time_uses_a_directory() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), 1 << 20);
    let second = DiskStandby::open(&Config::new(directory.path()));
    assert!(matches!(second, Err(Error::Locked { .. })));
    drop(store);
    open(directory.path(), 1 << 20);
}

#[test]
fn an_unknown_format_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path(), 1 << 20));
    std::fs::write(directory.path().join("format"), "evenkeel standby store 99").unwrap();
    let refused = DiskStandby::open(&Config::new(directory.path()));
    assert!(matches!(refused, Err(Error::Format { .. })));
}

#[tokio::test]
async fn lists_of_blocks_are_made_again() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), 1 << 20);
    let at = place("orders", Some(0));
    let expected: Vec<String> = (0..100).map(|number| format!("{number:02000}")).collect();
    for (number, text) in (0..).zip(&expected) {
        store.append(&at, append_id(number), rows(&[text])).await.unwrap();
    }
    drop(store);
    for (nth, entry) in std::fs::read_dir(directory.path()).unwrap().enumerate() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "blocks") {
            if nth % 2 == 0 {
                std::fs::remove_file(path).unwrap();
            } else {
                std::fs::write(path, b"damaged").unwrap();
            }
        }
    }
    assert_eq!(texts(&open(directory.path(), 1 << 20), &at).await, expected);
}
