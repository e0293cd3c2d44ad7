//! What every standby store must do. Each implementation runs all of it over its own factory.

use std::sync::Arc;

use evenkeel_event::clock::Timestamp;
use evenkeel_flow::Stamping;
use evenkeel_flow::session::ProducerEpoch;
use evenkeel_store::{AppendId, BoxFuture, Error, Kind, Row, Span, Standby};

use crate::rows::{append_id, batch, place, read_all, row, rows, stamped, stamping, texts};

/// Opens stores; what one call's store held, the next call's holds when `again` is true.
pub(crate) trait Factory: Sync {
    fn open(&self, again: bool) -> BoxFuture<'_, Arc<dyn Standby>>;
}

pub(crate) async fn run(factory: &dyn Factory) {
    appends_in_order_and_apart(factory).await;
    keeps_all_of_a_row(factory).await;
    a_retried_append_is_one(factory).await;
    stamps_replace_what_they_overlap(factory).await;
    a_stamp_does_not_outlive_a_part_of_its_rows(factory).await;
    the_highest_epochs_outlive_their_records(factory).await;
    reading_is_bounded(factory).await;
    removing_is_final_and_positions_go_on(factory).await;
    placing_moves_in_one_step(factory).await;
    one_move_goes_to_as_many_places_as_the_store_says(factory).await;
    reports_the_oldest_place_first(factory).await;
    many_writers_are_all_served(factory).await;
}

async fn appends_in_order_and_apart(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let (one, other) = (place("orders", Some(0)), place("orders", Some(1)));
    let first = vec![batch("abc", 3), row("d")];
    assert_eq!(store.append(&one, append_id(0), first).await.unwrap(), 0);
    assert_eq!(store.append(&other, append_id(1), rows(&["x"])).await.unwrap(), 0);
    assert_eq!(store.append(&one, append_id(2), rows(&["e"])).await.unwrap(), 4);
    drop(store);
    let store = factory.open(true).await;
    assert_eq!(texts(&*store, &one).await, ["abc", "d", "e"]);
    let positions: Vec<u64> = read_all(&*store, &one)
        .await
        .iter()
        .map(|row| row.position)
        .collect();
    assert_eq!(positions, [0, 3, 4]);
    assert_eq!(texts(&*store, &other).await, ["x"]);
    assert!(texts(&*store, &place("orders", None)).await.is_empty());
    for nothing in [Vec::new(), vec![batch("", 0)]] {
        let refused = store.append(&one, append_id(3), nothing).await;
        assert!(matches!(refused, Err(Error::NoRows { .. })));
    }
}

async fn keeps_all_of_a_row(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let at = place("orders-api.publish.dlt", None);
    let full = Row {
        kind: Kind::Letter,
        count: 3,
        appended_at: Timestamp::from_millis(-5),
        stamping: Some(Stamping {
            search_from: None,
            possible_double: true,
            ..stamping(i32::MAX, 3)
        }),
        ..row("")
    };
    store.append(&at, append_id(0), vec![full.clone()]).await.unwrap();
    drop(store);
    let mut found = factory.open(true).await.read(&at, 0, 0).await.unwrap();
    assert_eq!(found.stamps[0].position, 0);
    found.rows[0].row.stamping = Some(found.stamps[0].stamping);
    assert_eq!(found.rows[0].row, full);
}

async fn a_retried_append_is_one(factory: &dyn Factory) {
    let mut store = factory.open(false).await;
    let at = place("orders", Some(0));
    store.append(&at, append_id(9), rows(&["a"])).await.unwrap();
    let position = store.append(&at, append_id(0), rows(&["b"])).await.unwrap();
    for again in [false, true] {
        if again {
            drop(store);
            store = factory.open(true).await;
        }
        let retried = store.append(&at, append_id(0), rows(&["b"])).await.unwrap();
        assert_eq!(retried, position);
    }
    let process = AppendId {
        process: 2,
        ..append_id(0)
    };
    store.append(&at, process, rows(&["c"])).await.unwrap();
    assert_eq!(texts(&*store, &at).await, ["a", "b", "c"]);
    store.remove(&at, u64::MAX).await.unwrap();
    let retried = store.append(&at, append_id(0), rows(&["b"])).await.unwrap();
    assert_eq!(retried, position, "also when it is removed");
    assert!(texts(&*store, &at).await.is_empty());
}

async fn stamps_replace_what_they_overlap(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let at = place("orders", Some(0));
    let own = Row {
        stamping: Some(stamping(0, 3)),
        ..batch("abc", 3)
    };
    let all = vec![own, batch("de", 2), row("f"), row("g")];
    store.append(&at, append_id(0), all).await.unwrap();
    let stamps = async |store: &dyn Standby| store.read(&at, 0, usize::MAX).await.unwrap().stamps;
    assert_eq!(stamps(&*store).await, [stamped(0, 0, 3)]);
    let more = vec![stamped(3, 3, 3), stamped(6, 6, 1)];
    store.store_stamps(&at, more).await.unwrap();
    let expected = [stamped(0, 0, 3), stamped(3, 3, 3), stamped(6, 6, 1)];
    assert_eq!(stamps(&*store).await, expected);
    store
        .store_stamps(&at, vec![stamped(1, 10, 3), stamped(4, 13, 1)])
        .await
        .unwrap();
    // What one of them covered in part is void as a whole.
    let expected = [stamped(1, 10, 3), stamped(4, 13, 1), stamped(6, 6, 1)];
    assert_eq!(stamps(&*store).await, expected);
    store.store_stamps(&at, vec![stamped(2, 20, 2)]).await.unwrap();
    drop(store);
    let store = factory.open(true).await;
    let expected = [stamped(2, 20, 2), stamped(4, 13, 1), stamped(6, 6, 1)];
    assert_eq!(
        stamps(&*store).await,
        expected,
        "the first row's own stamp does not count again"
    );
    for outside in [stamped(6, 0, 2), stamped(7, 0, 1), stamped(0, 0, 0)] {
        let stamps = vec![stamped(5, 50, 1), outside];
        let refused = store.store_stamps(&at, stamps).await;
        assert!(matches!(refused, Err(Error::NoRows { .. })));
    }
    assert_eq!(stamps(&*store).await, expected, "all or none");
}

async fn a_stamp_does_not_outlive_a_part_of_its_rows(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let at = place("orders", Some(0));
    let own = Row {
        stamping: Some(stamping(0, 3)),
        ..batch("abc", 3)
    };
    store.append(&at, append_id(0), vec![own]).await.unwrap();
    store.remove(&at, 1).await.unwrap();
    drop(store);
    let store = factory.open(true).await;
    let piece = store.read(&at, 1, 0).await.unwrap();
    assert_eq!(
        (piece.rows.len(), piece.rows[0].position),
        (1, 0),
        "a row is read whole"
    );
    assert!(piece.stamps.is_empty());
    assert_eq!(store.span(&at).await.unwrap(), Span { head: 1, tail: 3 });
    assert_eq!(store.stats().await.unwrap().events, 2);
}

/// The broker takes the same sequence with other content for a double, so that a process which sends on what another one
/// stamped must know every epoch that was used.
async fn the_highest_epochs_outlive_their_records(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let at = place("orders", Some(0));
    let sent = Row {
        stamping: Some(stamping(0, 1)),
        ..row("a")
    };
    let producer_id = stamping(0, 1).stamp.producer_id;
    let under = |epoch| {
        let mut range = stamped(1, 0, 1);
        range.stamping.stamp.epoch = epoch;
        range
    };
    let used = |epoch| vec![ProducerEpoch { producer_id, epoch }];
    store.append(&at, append_id(0), vec![sent]).await.unwrap();
    store.append(&at, append_id(1), rows(&["b", "c"])).await.unwrap();
    store.store_stamps(&at, vec![under(7)]).await.unwrap();
    store.store_stamps(&at, vec![under(3)]).await.unwrap();
    store.remove(&at, 2).await.unwrap();
    assert_eq!(store.open_places().await.unwrap()[0].epochs, used(7));
    drop(store);
    let store = factory.open(true).await;
    assert_eq!(store.open_places().await.unwrap()[0].epochs, used(7));
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
    let read = async |from, bytes_max| store.read(&at, from, bytes_max).await.unwrap().rows.len();
    assert_eq!(read(0, 1).await, 1, "one even when it is larger");
    assert_eq!(read(1, 5_000).await, 5, "records of 1 kB each");
    assert_eq!(read(8, usize::MAX).await, 2);
    assert_eq!(read(10, usize::MAX).await, 0);
    store.store_stamps(&at, vec![stamped(2, 0, 4)]).await.unwrap();
    assert_eq!(read(2, 1).await, 4, "what is stamped together is read together");
    assert_eq!(read_all(&*store, &at).await.len(), 10);
}

async fn removing_is_final_and_positions_go_on(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let at = place("orders", Some(0));
    store
        .append(&at, append_id(0), rows(&["a", "b", "c"]))
        .await
        .unwrap();
    store.remove(&at, 2).await.unwrap();
    store.remove(&at, 1).await.unwrap();
    assert_eq!(texts(&*store, &at).await, ["c"]);
    store.remove(&at, u64::MAX).await.unwrap();
    drop(store);
    let store = factory.open(true).await;
    assert!(store.open_places().await.unwrap().is_empty());
    assert_eq!(store.span(&at).await.unwrap(), Span { head: 3, tail: 3 });
    store.remove(&at, u64::MAX).await.unwrap();
    let position = store.append(&at, append_id(1), rows(&["d"])).await.unwrap();
    assert_eq!(position, 3);
    assert_eq!(texts(&*store, &at).await, ["d"]);
}

async fn placing_moves_in_one_step(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let unplaced = place("orders", None);
    let (zero, one) = (place("orders", Some(0)), place("orders", Some(1)));
    store
        .append(&unplaced, append_id(0), rows(&["a", "b", "c", "d"]))
        .await
        .unwrap();
    let placed = vec![
        (zero.clone(), row("a")),
        (one.clone(), row("b")),
        (zero.clone(), row("c")),
    ];
    store.place(&unplaced, 3, placed).await.unwrap();
    drop(store);
    let store = factory.open(true).await;
    assert_eq!(texts(&*store, &unplaced).await, ["d"]);
    assert_eq!(texts(&*store, &zero).await, ["a", "c"]);
    assert_eq!(texts(&*store, &one).await, ["b"]);
    assert_eq!(store.span(&zero).await.unwrap(), Span { head: 0, tail: 2 });
}

async fn one_move_goes_to_as_many_places_as_the_store_says(factory: &dyn Factory) {
    let store = factory.open(false).await;
    let unplaced = place("orders", None);
    let count = i32::try_from(store.places_max().min(50)).unwrap();
    let texts_of = |number: i32| format!("r{number}");
    for number in 0..count {
        let id = append_id(u64::try_from(number).unwrap());
        store
            .append(&unplaced, id, rows(&[&texts_of(number)]))
            .await
            .unwrap();
    }
    let placed = (0..count).map(|number| (place("orders", Some(number)), row(&texts_of(number))));
    let below = u64::try_from(count).unwrap();
    store.place(&unplaced, below, placed.collect()).await.unwrap();
    for number in 0..count {
        let at = place("orders", Some(number));
        assert_eq!(texts(&*store, &at).await, [texts_of(number)]);
    }
}

async fn reports_the_oldest_place_first(factory: &dyn Factory) {
    let store = factory.open(false).await;
    assert_eq!(store.stats().await.unwrap().oldest, None);
    let (young, old) = (place("orders", Some(0)), place("returns", Some(0)));
    let aged = |millis| Row {
        count: 2,
        appended_at: Timestamp::from_millis(millis),
        ..row("ab")
    };
    store
        .append(&young, append_id(0), vec![aged(20), aged(21)])
        .await
        .unwrap();
    store
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
    store.remove(&old, 2).await.unwrap();
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
