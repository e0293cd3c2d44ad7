//! Torn and damaged files (invariants **owned**, **valid**, **restartable**).

use std::path::{Path, PathBuf};

use evenkeel_store::Standby;
use tempfile::TempDir;

use crate::disk::open;
use crate::rows::{append_id, place, rows, texts};

const LIMIT: u64 = 1 << 30;

pub(crate) fn log(directory: &Path) -> PathBuf {
    directory.join(format!("{:016}.log", 1))
}

/// A store that held "a" to "e", one append each, and its log.
async fn filled() -> (TempDir, Vec<u8>) {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), LIMIT);
    let at = place("orders", Some(0));
    for (number, text) in (0..).zip(["a-row", "b-row", "c-row", "d-row", "e-row"]) {
        store.append(&at, append_id(number), rows(&[text])).await.unwrap();
    }
    drop(store);
    let bytes = std::fs::read(log(directory.path())).unwrap();
    (directory, bytes)
}

pub(crate) fn find(bytes: &[u8], text: &str) -> usize {
    let ends: Vec<usize> = bytes
        .windows(text.len())
        .enumerate()
        .filter(|(_, window)| *window == text.as_bytes())
        .map(|(at, _)| at)
        .collect();
    *ends.last().unwrap()
}

#[tokio::test]
async fn any_torn_tail_is_cut_off_and_what_is_before_it_stays() {
    let (directory, bytes) = filled().await;
    let end_of_d = find(&bytes, "d-row") + 5;
    for length in end_of_d..bytes.len() {
        std::fs::write(log(directory.path()), &bytes[..length]).unwrap();
        let store = open(directory.path(), LIMIT);
        let at = place("orders", Some(0));
        assert_eq!(
            texts(&store, &at).await,
            ["a-row", "b-row", "c-row", "d-row"],
            "cut at {length}"
        );
        let id = append_id(u64::MAX - length as u64);
        store.append(&at, id, rows(&["f-row"])).await.unwrap();
        drop(store);
        let store = open(directory.path(), LIMIT);
        assert_eq!(texts(&store, &at).await.last().unwrap(), "f-row");
    }
}

#[tokio::test]
async fn a_damaged_row_is_reported_and_kept_aside_and_the_others_live() {
    let (directory, bytes) = filled().await;
    let mut damaged = bytes.clone();
    damaged[find(&bytes, "c-row")] ^= 0x20;
    std::fs::write(log(directory.path()), &damaged).unwrap();
    let store = open(directory.path(), LIMIT);
    let at = place("orders", Some(0));
    for _ in 0..2 {
        assert_eq!(texts(&store, &at).await, ["a-row", "b-row", "d-row", "e-row"]);
        let reports = store.damaged().await.unwrap();
        assert_eq!(reports.len(), 1, "once");
        assert_eq!(reports[0].positions, Some(2..3));
        let kept = std::fs::read(&reports[0].kept_at).unwrap();
        assert!(kept.windows(5).any(|window| window == b"C-row"));
    }
}

#[tokio::test]
async fn no_flipped_bit_loses_a_neighbour_or_makes_up_a_row() {
    let (directory, bytes) = filled().await;
    let at = place("orders", Some(0));
    let all = ["a-row", "b-row", "c-row", "d-row", "e-row"];
    // The frames of "b" and "c" lie between the end of "a" and the end of "c".
    for byte in find(&bytes, "a-row") + 5..find(&bytes, "c-row") + 5 {
        let mut damaged = bytes.clone();
        damaged[byte] ^= 1 << (byte % 8);
        std::fs::write(log(directory.path()), &damaged).unwrap();
        let store = open(directory.path(), LIMIT);
        let found = texts(&store, &at).await;
        assert!(found.iter().all(|text| all.contains(&text.as_str())), "{found:?}");
        for kept in ["a-row", "d-row", "e-row"] {
            assert!(found.iter().any(|text| text == kept), "byte {byte}: {found:?}");
        }
        assert!(found.is_sorted() && found.len() >= 4, "byte {byte}: {found:?}");
        let reported = !store.damaged().await.unwrap().is_empty();
        assert!(found.len() == 5 || reported, "byte {byte}: {found:?}");
    }
}
