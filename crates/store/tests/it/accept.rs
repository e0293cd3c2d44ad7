//! Losses that an operator accepts by name (invariants **owned**, **once**).

use std::path::Path;

use evenkeel_event::clock::Timestamp;
use evenkeel_store::{DiskStandby, NotAccepted, Standby};
use tempfile::TempDir;

use crate::damage::{find, log};
use crate::disk::open;
use crate::rows::{append_id, place, rows, stamped, texts};

const LIMIT: u64 = 1 << 30;
const ALL: [&str; 5] = ["a-row", "b-row", "c-row", "d-row", "e-row"];

/// A store of five rows in which those of `damaged` cannot be read, when `before` has been done to it.
async fn damaged(directory: &Path, damaged: &[&str], before: impl AsyncFn(&DiskStandby)) -> DiskStandby {
    let store = open(directory, LIMIT);
    let at = place("orders", Some(0));
    for (number, text) in (0..).zip(ALL) {
        store.append(&at, append_id(number), rows(&[text])).await.unwrap();
    }
    before(&store).await;
    drop(store);
    let mut bytes = std::fs::read(log(directory)).unwrap();
    for text in damaged {
        let at = find(&bytes, text);
        bytes[at] ^= 0x20;
    }
    std::fs::write(log(directory), &bytes).unwrap();
    open(directory, LIMIT)
}

#[tokio::test]
async fn what_cannot_be_read_goes_when_it_is_named_exactly_and_has_come_to_the_front() {
    let directory = TempDir::new().unwrap();
    let store = damaged(directory.path(), &["b-row", "c-row"], async |_| {}).await;
    let at = place("orders", Some(0));
    assert_eq!(store.unreadable(&at).await.unwrap(), None);
    let early = store.accept_loss(&at, 1..3).await.unwrap_err();
    assert!(matches!(early, NotAccepted::Readable { head: 0 }), "{early}");

    store.remove(&at, 1).await.unwrap();
    let found = store.unreadable(&at).await.unwrap().unwrap();
    assert_eq!(found.positions, 1..3);
    assert!(found.damages.iter().all(|damage| damage.kept_at.is_file()) && !found.damages.is_empty());
    for named in [1..2, 2..3, 1..4, 0..3] {
        let others = store.accept_loss(&at, named).await.unwrap_err();
        assert!(others.to_string().contains("1..3"), "{others}");
    }
    assert_eq!(store.span(&at).await.unwrap().head, 1);

    store.accept_loss(&at, 1..3).await.unwrap();
    assert_eq!(texts(&store, &at).await, ["d-row", "e-row"]);
    assert_eq!(store.unreadable(&at).await.unwrap(), None);
    drop(store);
    let store = open(directory.path(), LIMIT);
    assert_eq!(texts(&store, &at).await, ["d-row", "e-row"]);
    let again = store.accept_loss(&at, 1..3).await.unwrap_err();
    assert!(matches!(again, NotAccepted::Readable { head: 3 }), "{again}");
    assert!(found.damages.iter().all(|damage| damage.kept_at.is_file()));
}

#[tokio::test]
async fn the_last_records_may_be_the_lost_ones() {
    let directory = TempDir::new().unwrap();
    let store = damaged(directory.path(), &["e-row"], async |store| {
        store.remove(&place("orders", Some(0)), 4).await.unwrap();
    })
    .await;
    let at = place("orders", Some(0));
    store.accept_loss(&at, 4..5).await.unwrap();
    assert!(store.open_places().await.unwrap().is_empty());
    assert_eq!(
        store.append(&at, append_id(9), rows(&["f-row"])).await.unwrap(),
        5
    );
}

/// The batch "b" to "d" may have landed: the rest of it must be searched for, under what is left of its stamp.
#[tokio::test]
async fn what_was_stamped_together_with_the_lost_is_left_undecided() {
    let directory = TempDir::new().unwrap();
    let store = damaged(directory.path(), &["b-row"], async |store| {
        let at = place("orders", Some(0));
        store.remove(&at, 1).await.unwrap();
        store.store_stamps(&at, vec![stamped(1, 7, 3)]).await.unwrap();
    })
    .await;
    let at = place("orders", Some(0));
    store.accept_loss(&at, 1..2).await.unwrap();
    let mut rest = stamped(2, 8, 2);
    rest.stamping.at = Timestamp::from_millis(0);
    let piece = store.read(&at, 2, 1 << 20).await.unwrap();
    assert_eq!(piece.stamps, [rest]);
    assert_eq!(piece.rows.len(), 3);
}
