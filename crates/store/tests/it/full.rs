//! The embedded store on a disk that is full: what makes room goes on.

use std::path::Path;

use evenkeel_store::{Config, DiskStandby, Error, Place, Row, Standby, disk_faults};
use tempfile::TempDir;

use crate::rows::{append_id, place, row, stamped};

const SEGMENT_BYTES: u64 = 8 << 20;
const ROW_BYTES: usize = 256 << 10;
/// Rows that are placed in one step.
const STEP: u64 = 4;

fn open(directory: &Path) -> DiskStandby {
    let config = Config {
        segment_bytes: SEGMENT_BYTES,
        ..Config::new(directory)
    };
    DiskStandby::open(&config).unwrap()
}

/// A row that begins with its number.
fn numbered(number: u64) -> Row {
    row(&format!("{number}{}", " ".repeat(ROW_BYTES)))
}

fn number(records: &[u8]) -> u64 {
    std::str::from_utf8(records).unwrap().trim_end().parse().unwrap()
}

/// Appends rows to `place` until the disk takes no more.
async fn fill(store: &DiskStandby, place: &Place) -> u64 {
    for appended in 0.. {
        match store
            .append(place, append_id(appended), vec![numbered(appended)])
            .await
        {
            Ok(_) => {}
            Err(Error::DiskFull { .. }) => return appended,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

/// Moves the oldest rows under `from` to the partition of each.
async fn place_some(store: &DiskStandby, from: &Place) -> Result<(), Error> {
    let head = store.span(from).await?.head;
    let piece = store
        .read(from, head, usize::try_from(STEP).unwrap() * ROW_BYTES)
        .await?;
    let mut rows: Vec<(Place, Row)> = piece
        .rows
        .iter()
        .map(|stored| {
            let partition = i32::try_from(number(&stored.row.records) % 3).unwrap();
            (place("orders", Some(partition)), stored.row.clone())
        })
        .collect();
    rows.sort_by_key(|(place, _)| place.partition);
    store.place(from, head + piece.rows.len() as u64, rows).await
}

#[tokio::test]
async fn what_is_parked_under_a_topic_is_placed_on_a_full_disk() {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path());
    disk_faults::limit(directory.path(), Some(12 * SEGMENT_BYTES));
    let unplaced = place("orders", None);
    let appended = fill(&store, &unplaced).await;
    assert!(appended * ROW_BYTES as u64 > 7 * SEGMENT_BYTES, "{appended} rows");
    let (other, mut new) = (place("other", Some(0)), 1_000_000);
    let mut reopened = false;
    while !store.span(&unplaced).await.unwrap().is_empty() {
        place_some(&store, &unplaced).await.unwrap();
        // What is new takes none of the room that this needs.
        while store
            .append(&other, append_id(new), vec![numbered(new)])
            .await
            .is_ok()
        {
            new += 1;
        }
        if !reopened && store.span(&unplaced).await.unwrap().head > appended / 2 {
            drop(store);
            store = open(directory.path());
            reopened = true;
        }
    }
    for partition in 0..3 {
        let place = place("orders", Some(partition));
        let expected: Vec<u64> = (0..appended)
            .filter(|number| number % 3 == partition as u64)
            .collect();
        let mut found = Vec::new();
        while found.len() < expected.len() {
            let piece = store.read(&place, found.len() as u64, ROW_BYTES).await.unwrap();
            found.extend(piece.rows.iter().map(|stored| number(&stored.row.records)));
        }
        assert_eq!(found, expected);
        store.store_stamps(&place, vec![stamped(0, 0, 1)]).await.unwrap();
        store.remove(&place, expected.len() as u64).await.unwrap();
    }
    store
        .append(&other, append_id(new), vec![numbered(new)])
        .await
        .unwrap();
    disk_faults::limit(directory.path(), None);
}

#[tokio::test]
async fn an_append_that_is_asked_for_again_is_known_on_a_full_disk() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path());
    let place = place("orders", Some(0));
    let first = store
        .append(&place, append_id(7), vec![row("first")])
        .await
        .unwrap();
    let files = std::fs::read_dir(directory.path()).unwrap();
    let bytes = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    disk_faults::limit(directory.path(), Some(bytes));
    let new = store.append(&place, append_id(8), vec![row("second")]).await;
    assert!(matches!(new, Err(Error::DiskFull { .. })), "{new:?}");
    let again = store.append(&place, append_id(7), vec![row("first")]).await;
    assert_eq!(again.unwrap(), first);
    store.remove(&place, first + 1).await.unwrap();
    disk_faults::limit(directory.path(), None);
}
