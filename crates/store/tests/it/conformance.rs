//! What every standby store must do. Each implementation runs all of it over its own factory.

use std::sync::Arc;

use evenkeel_event::TopicId;
use evenkeel_event::clock::Timestamp;
use evenkeel_store::{AppendId, BoxFuture, Error, Kind, Parked, Row, Standby};

use crate::rows::{append_id, place, read_all, row, rows, stamp, text, texts};

/// Opens stores; what one call's store held, the next call's holds when `again` is true.
pub(crate) trait Factory: Sync {
    fn open(&self, again: bool) -> BoxFuture<'_, Arc<dyn Standby>>;
}

pub(crate) async fn run(factory: &dyn Factory) {
    appends_in_order_and_apart(factory).await;
    keeps_all_of_a_row(factory).await;
    a_retried_append_is_one(factory).await;
    stamps_and_marks_are_kept(factory).await;
    reading_is_bounded(factory).await;
    removing_is_final_and_numbers_go_on(factory).await;
    a_replacement_keeps_the_place_in_the_order(factory).await;
    placing_moves_in_one_step(factory).await;
    reports_the_oldest_place_first(factory).await;
    many_writers_are_all_served(factory).await;
}

async fn appends_in_order_and_apart(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let (one, other) = (place("orders", Some(0)), place("orders", Some(1)));
    let first = store.append(&one, append_id(0), rows(&["a", "b"])).await.unwrap();
    store.append(&other, append_id(1), rows(&["x"])).await.unwrap();
    let second = store.append(&one, append_id(2), rows(&["c"])).await.unwrap();
    assert!(first.first < first.last && first.last < second.first);
    drop(store);
    let store = factory.open(true).await;
    assert_eq!(texts(&*store, &one).await, ["a", "b", "c"]);
    assert_eq!(texts(&*store, &other).await, ["x"]);
    let mut recreated = one.clone();
    recreated.topic_id = TopicId([8; 16]);
    assert!(texts(&*store, &recreated).await.is_empty());
    let refused = store.append(&one, append_id(3), Vec::new()).await;
    assert!(matches!(refused, Err(Error::NoRows { .. })));
}

async fn keeps_all_of_a_row(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let at = place("orders-api.publish.dlt", None);
    let full = Row {
        kind: Kind::Letter,
        events: 3,
        ids: ["a", "ä", &"x".repeat(255)]
            .map(|id| evenkeel_event::EventId::new(id).unwrap())
            .to_vec(),
        appended_at: Timestamp::from_millis(-5),
        stamp: Some(stamp(i32::MAX)),
        possible_double: true,
        ..row("")
    };
    let parked = store.append(&at, append_id(0), vec![full.clone()]).await.unwrap();
    drop(store);
    let found = read_all(&*factory.open(true).await, &at).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].row, full);
    assert_eq!(found[0].stamped_to, Some(parked.first));
}

async fn a_retried_append_is_one(factory: &dyn Factory) {
    let mut store = factory.open(false).await;
    let at = place("orders", Some(0));
    let parked = store.append(&at, append_id(0), rows(&["a"])).await.unwrap();
    for again in [false, true] {
        if again {
            drop(store);
            store = factory.open(true).await;
        }
        let retried = store.append(&at, append_id(0), rows(&["a"])).await.unwrap();
        assert_eq!(retried, parked);
    }
    let process = AppendId {
        process: 2,
        ..append_id(0)
    };
    store.append(&at, process, rows(&["b"])).await.unwrap();
    assert_eq!(texts(&*store, &at).await, ["a", "b"]);
    store.remove(&at, u64::MAX).await.unwrap();
    assert_eq!(
        store.append(&at, append_id(0), rows(&["a"])).await.unwrap(),
        parked,
        "also when its rows are gone"
    );
    assert!(texts(&*store, &at).await.is_empty());
}

async fn stamps_and_marks_are_kept(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let at = place("orders", Some(0));
    let Parked { first, last } = store
        .append(&at, append_id(0), rows(&["a", "b", "c"]))
        .await
        .unwrap();
    store
        .stamp(&at, first..=first + 1, stamp(0), false)
        .await
        .unwrap();
    store
        .stamp(&at, first + 1..=first + 1, stamp(7), true)
        .await
        .unwrap();
    store.stamp(&at, last..=last, stamp(2), false).await.unwrap();
    drop(store);
    let store = factory.open(true).await;
    let found = read_all(&*store, &at).await;
    let seen: Vec<_> = found
        .iter()
        .map(|row| (row.row.stamp, row.stamped_to, row.row.possible_double))
        .collect();
    assert_eq!(
        seen,
        [
            (None, None, false),
            (Some(stamp(7)), Some(first + 1), true),
            (Some(stamp(2)), Some(last), false)
        ],
        "a stamp over part of another's rows replaces it"
    );
    let refused = store.stamp(&at, last..=last + 1, stamp(0), false).await;
    assert!(matches!(refused, Err(Error::NoRows { .. })));
}

async fn reading_is_bounded(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let at = place("orders", Some(0));
    let big = "x".repeat(1_000);
    for number in 0..10 {
        store
            .append(&at, append_id(number), vec![row(&big)])
            .await
            .unwrap();
    }
    let piece = store.read(&at, 0, 1).await.unwrap();
    assert_eq!(piece.len(), 1, "one even when it is larger");
    let piece = store.read(&at, piece[0].number, 5_000).await.unwrap();
    assert_eq!(piece.len(), 4, "records and ids of 1 kB each");
    assert_eq!(read_all(&*store, &at).await.len(), 10);
}

async fn removing_is_final_and_numbers_go_on(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let at = place("orders", Some(0));
    let parked = store
        .append(&at, append_id(0), rows(&["a", "b", "c"]))
        .await
        .unwrap();
    store.remove(&at, parked.first + 1).await.unwrap();
    store.remove(&at, parked.first).await.unwrap();
    assert_eq!(texts(&*store, &at).await, ["c"]);
    store.remove(&at, u64::MAX).await.unwrap();
    drop(store);
    let store = factory.open(true).await;
    assert!(store.open_places().await.unwrap().is_empty());
    store.remove(&at, u64::MAX).await.unwrap();
    let later = store.append(&at, append_id(1), rows(&["d"])).await.unwrap();
    assert!(later.first > parked.last);
    assert_eq!(texts(&*store, &at).await, ["d"]);
}

async fn a_replacement_keeps_the_place_in_the_order(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let at = place("orders", Some(0));
    let parked = store
        .append(&at, append_id(0), rows(&["a", "b", "c", "d"]))
        .await
        .unwrap();
    let half = Row {
        stamp: Some(stamp(3)),
        possible_double: true,
        ..row("half of b and c")
    };
    let rows = parked.first + 1..=parked.first + 2;
    store.stamp(&at, rows.clone(), stamp(0), false).await.unwrap();
    store.replace(&at, rows, half.clone()).await.unwrap();
    drop(store);
    let store = factory.open(true).await;
    let found = read_all(&*store, &at).await;
    let seen: Vec<_> = found.iter().map(text).collect();
    assert_eq!(seen, ["a", "half of b and c", "d"]);
    assert_eq!(found[1].number, parked.first + 2);
    assert_eq!(found[1].row, half);
    assert_eq!(store.stats().await.unwrap().events, 3);
    store.remove(&at, found[1].number).await.unwrap();
    assert_eq!(texts(&*store, &at).await, ["d"]);
    assert_eq!(store.stats().await.unwrap().events, 1);
}

async fn placing_moves_in_one_step(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let unplaced = place("orders", None);
    let (zero, one) = (place("orders", Some(0)), place("orders", Some(1)));
    let parked = store
        .append(&unplaced, append_id(0), rows(&["a", "b", "c", "d"]))
        .await
        .unwrap();
    let placed = vec![
        (zero.clone(), row("a")),
        (one.clone(), row("b")),
        (zero.clone(), row("c")),
    ];
    store.place(&unplaced, parked.first + 2, placed).await.unwrap();
    drop(store);
    let store = factory.open(true).await;
    assert_eq!(texts(&*store, &unplaced).await, ["d"]);
    assert_eq!(texts(&*store, &zero).await, ["a", "c"]);
    assert_eq!(texts(&*store, &one).await, ["b"]);
}

async fn reports_the_oldest_place_first(factory: &dyn Factory) {
    let store = factory.open(false).await;
    assert_eq!(store.stats().await.unwrap().oldest, None);
    let (young, old) = (place("orders", Some(0)), place("returns", Some(0)));
    let aged = |millis| Row {
        events: 2,
        appended_at: Timestamp::from_millis(millis),
        ..row("ab")
    };
    store
        .append(&young, append_id(0), vec![aged(20), aged(21)])
        .await
        .unwrap();
    let parked = store
        .append(&old, append_id(1), vec![aged(10), aged(30)])
        .await
        .unwrap();
    let order: Vec<_> = store
        .open_places()
        .await
        .unwrap()
        .into_iter()
        .map(|open| open.place)
        .collect();
    assert_eq!(order, [old.clone(), young.clone()]);
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.events, stats.bytes, stats.places), (8, 8, 2));
    assert_eq!(stats.oldest, Some(Timestamp::from_millis(10)));
    assert!(stats.used_bytes > 0 && stats.limit_bytes > 0);
    store.remove(&old, parked.first).await.unwrap();
    let first = store.open_places().await.unwrap().remove(0);
    assert_eq!((first.place, first.events), (young, 4));
    assert_eq!(first.oldest, Timestamp::from_millis(20));
}

async fn many_writers_are_all_served(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let mut writers = Vec::new();
    for writer in 0..32_u64 {
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            let at = place("orders", Some(i32::try_from(writer % 4).unwrap()));
            for number in 0..20 {
                let id = AppendId {
                    process: u128::from(writer),
                    number,
                };
                let text = format!("{writer}:{number:02}");
                store.append(&at, id, vec![row(&text)]).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for partition in 0..4 {
        let found = texts(&*store, &place("orders", Some(partition))).await;
        assert_eq!(found.len(), 8 * 20);
        for writer in 0..32 {
            let prefix = format!("{writer}:");
            let own: Vec<_> = found.iter().filter(|text| text.starts_with(&prefix)).collect();
            assert!(own.is_sorted(), "a writer's rows are in its order");
        }
    }
}
