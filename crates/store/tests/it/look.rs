//! A look into a store that somebody else holds: it sees what is there, and writes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel_store::{Config, DiskLook, DiskStandby, Piece, Place, Standby};
use tempfile::TempDir;

use crate::rows::{append_id, place, row, rows, stamped, text};

/// Files so small that nearly every commit begins one.
fn small(directory: &Path) -> Config {
    Config {
        segment_bytes: 1_000,
        ..Config::new(directory)
    }
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

fn seen(piece: &Piece) -> Vec<(u64, String)> {
    piece.rows.iter().map(|row| (row.position, text(row))).collect()
}

/// Everything that a look shows of a place.
fn all(look: &mut DiskLook, at: &Place) -> Vec<(u64, String)> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let piece = look.read(at, from, 100).unwrap();
        let Some(last) = piece.rows.last() else {
            return all;
        };
        from = last.position + u64::from(last.row.count);
        all.extend(seen(&piece));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_what_the_owner_sees_and_leaves_every_file_as_it_is() {
    let directory = TempDir::new().unwrap();
    let store = DiskStandby::open(&small(directory.path())).unwrap();
    let (orders, bills) = (place("orders", Some(3)), place("bills", None));
    for number in 0..60 {
        let at = if number % 3 == 0 { &bills } else { &orders };
        let text = format!("row-{number:03}-{}", "x".repeat(120));
        store.append(at, append_id(number), rows(&[&text])).await.unwrap();
    }
    store
        .store_stamps(&orders, vec![stamped(30, 7, 2)])
        .await
        .unwrap();
    store.remove(&orders, 11).await.unwrap();
    let aside = Place::aside(orders.topic.clone());
    store
        .append(&aside, append_id(1_000), rows(&["aside"]))
        .await
        .unwrap();
    // Drained files are deleted behind the answer of a step, or while the store opens: after that nothing is under way.
    drop(store);
    let store = DiskStandby::open(&small(directory.path())).unwrap();
    for list in files(directory.path())
        .keys()
        .filter(|name| name.ends_with(".blocks"))
        .take(3)
    {
        std::fs::remove_file(directory.path().join(list)).unwrap();
    }
    let before = files(directory.path());
    let mut look = DiskLook::open(&small(directory.path())).unwrap();
    assert!(look.is_in_use());
    assert_eq!(look.open_places().unwrap(), store.open_places().await.unwrap());
    for at in [&orders, &bills, &aside] {
        let theirs = store.read(at, 0, usize::MAX).await.unwrap();
        assert_eq!(look.read(at, 0, usize::MAX).unwrap(), theirs);
        assert_eq!(all(&mut look, at), seen(&theirs));
    }
    assert_eq!(look.stats().unwrap().events, store.stats().await.unwrap().events);
    let lists = |name: &&String| !name.ends_with(".blocks");
    let after = files(directory.path());
    // The owner makes its missing lists again when it reads; nothing else has changed.
    assert!(before.keys().filter(lists).eq(after.keys().filter(lists)));
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes));

    drop(store);
    for list in after.keys().filter(|name| name.ends_with(".blocks")) {
        std::fs::remove_file(directory.path().join(list)).unwrap();
    }
    let before = files(directory.path());
    let mut look = DiskLook::open(&small(directory.path())).unwrap();
    assert!(!look.is_in_use());
    assert_eq!(all(&mut look, &orders).len(), 29);
    assert_eq!(all(&mut look, &aside), [(0, "aside".to_owned())]);
    assert_eq!(files(directory.path()), before);
    assert!(!directory.path().join("damaged").exists());
}

#[tokio::test]
async fn a_torn_end_is_left_out_and_damage_in_the_middle_is_told_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let store = DiskStandby::open(&Config::new(directory.path())).unwrap();
    let at = place("orders", Some(0));
    for (number, text) in (0..).zip(["a-row", "b-row", "c-row"]) {
        store.append(&at, append_id(number), rows(&[text])).await.unwrap();
    }
    drop(store);
    let log = directory.path().join(format!("{:016}.log", 1));
    let whole = std::fs::read(&log).unwrap();
    let find = |text: &str| {
        whole
            .windows(5)
            .rposition(|window| window == text.as_bytes())
            .unwrap()
    };
    let look = || DiskLook::open(&Config::new(directory.path())).unwrap();
    for length in find("b-row") + 5..whole.len() {
        std::fs::write(&log, &whole[..length]).unwrap();
        let texts: Vec<String> = all(&mut look(), &at).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["a-row", "b-row"], "cut at {length}");
        assert_eq!(std::fs::read(&log).unwrap().len(), length, "nothing is mended");
    }
    let mut damaged = whole.clone();
    damaged[find("b-row")] ^= 1;
    std::fs::write(&log, &damaged).unwrap();
    let mut look = look();
    let texts: Vec<String> = all(&mut look, &at).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["a-row", "c-row"]);
    assert_eq!(look.damaged().len(), 1);
    assert!(!directory.path().join("damaged").exists());
    assert_eq!(std::fs::read(&log).unwrap(), damaged);
}

#[test]
fn looks_beside_a_busy_owner_see_neighbouring_rows_only() {
    let directory = TempDir::new().unwrap();
    let store = DiskStandby::open(&small(directory.path())).unwrap();
    let at = place("orders", Some(0));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(append_and_remove(&store, &at));
            is_over.store(true, Ordering::Release);
        });
        while !is_over.load(Ordering::Acquire) {
            let mut look = DiskLook::open(&small(directory.path())).unwrap();
            look.open_places().unwrap();
            let positions: Vec<u64> = all(&mut look, &at).iter().map(|(at, _)| *at).collect();
            // What was sent and deleted since the look began may be missing from the front.
            assert!(positions.is_sorted(), "{positions:?}");
            assert_eq!(look.damaged(), []);
        }
    });
}

async fn append_and_remove(store: &DiskStandby, at: &Place) {
    for number in 0..400_u64 {
        let rows = vec![row(&"y".repeat(90))];
        store.append(at, append_id(number), rows).await.unwrap();
        if number % 5 == 0 {
            store.remove(at, number.saturating_sub(20)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_opens_while_others_look() {
    let directory = TempDir::new().unwrap();
    drop(DiskStandby::open(&Config::new(directory.path())).unwrap());
    let held = std::fs::File::open(directory.path().join("lock")).unwrap();
    held.try_lock_shared().unwrap();
    let config = Config::new(directory.path());
    let opening = std::thread::spawn(move || DiskStandby::open(&config).map(drop));
    std::thread::sleep(std::time::Duration::from_millis(30));
    drop(held);
    opening.join().unwrap().unwrap();
}
