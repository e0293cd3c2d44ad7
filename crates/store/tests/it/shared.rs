//! What every shared standby store must do beside the suite of all: its conditional writes. Each implementation runs all
//! of it over its own factory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_event::TopicId;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::diversion::{Diversion, Lease, Phase, Process, Versioned};
use evenkeel_store::{
    AppendId, AppendIn, BoxFuture, Error, Holds, Lane, Listed, Place, Scope, SharedStandby, Span,
};

use crate::rows::{append_id, place, rows, stamped, texts};

/// Opens stores; what one call's store held, the next call's holds when `again` is true.
pub(crate) trait Factory: Sync {
    fn open_shared(&self, again: bool) -> BoxFuture<'_, Arc<dyn SharedStandby>>;
}

pub(crate) async fn run(factory: &dyn Factory) {
    a_record_is_kept_whole(factory).await;
    a_record_is_written_over_the_version_that_was_seen(factory).await;
    only_one_of_many_writers_wins(factory).await;
    an_append_keeps_the_record_from_being_opened(factory).await;
    what_is_not_open_is_listed(factory).await;
    appends_name_the_epoch(factory).await;
    an_append_that_was_made_is_found_in_any_epoch(factory).await;
    no_append_lands_behind_an_opening(factory).await;
    stamps_name_the_term(factory).await;
    leases_are_renewed_upwards(factory).await;
    a_revoked_lease_stays_away_until_it_joins(factory).await;
    what_is_held_is_replaced_where_it_was_seen(factory).await;
}

fn process(number: u128) -> Process {
    Process(number)
}

fn diverted(epoch: u64, phase: Phase) -> Diversion {
    Diversion {
        epoch,
        phase,
        ..Diversion::default()
    }
}

fn lease(number: u128, renewal: u64) -> Lease<Place> {
    Lease {
        process: process(number),
        renewal,
        duration: Duration::from_secs(5),
        acknowledged: BTreeMap::new(),
    }
}

async fn put(store: &dyn SharedStandby, at: &Place, diversion: Diversion) -> u64 {
    let seen = store.lane(at).await.unwrap().diversion.version;
    store
        .put_diversion(at, seen, None, diversion)
        .await
        .unwrap()
        .unwrap()
}

async fn a_record_is_kept_whole(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    let (at, topic) = (place("orders", Some(0)), place("orders", None));
    assert_eq!(store.lane(&at).await.unwrap(), Lane::default());
    let full = Diversion {
        epoch: 1 << 40,
        phase: Phase::Closing,
        topic_id: TopicId([9; 16]),
        partition_count: 300,
        drainer: Some(process(u128::MAX - 1)),
        term: 7,
    };
    let version = put(&*store, &at, full).await;
    let placed = Diversion {
        topic_id: TopicId([9; 16]),
        partition_count: 12,
        ..Diversion::default()
    };
    put(&*store, &topic, placed).await;
    drop(store);
    let store = factory.open_shared(true).await;
    let found = store.lane(&at).await.unwrap();
    let expected = Versioned {
        version,
        record: full,
    };
    assert_eq!(found.diversion, expected);
    assert_eq!(store.lane(&topic).await.unwrap().diversion.record, placed);
    assert_eq!(
        store.lane(&place("orders", Some(1))).await.unwrap(),
        Lane::default()
    );
    for phase in [Phase::Open, Phase::Diverting, Phase::Diverted] {
        put(&*store, &at, diverted(3, phase)).await;
        assert_eq!(
            store.lane(&at).await.unwrap().diversion.record,
            diverted(3, phase)
        );
    }
}

async fn a_record_is_written_over_the_version_that_was_seen(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    let at = place("orders", Some(0));
    let (one, other) = (diverted(0, Phase::Diverting), diverted(9, Phase::Diverted));
    let first = store.put_diversion(&at, 0, None, one).await.unwrap().unwrap();
    assert!(first > 0);
    for stale in [0, first + 1] {
        assert_eq!(store.put_diversion(&at, stale, None, other).await.unwrap(), None);
    }
    assert_eq!(store.lane(&at).await.unwrap().diversion.record, one);
    let second = store.put_diversion(&at, first, None, one).await.unwrap().unwrap();
    assert!(second > first, "the same again is another version");
    assert_eq!(store.put_diversion(&at, first, None, other).await.unwrap(), None);
}

async fn only_one_of_many_writers_wins(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    let at = place("orders", Some(0));
    let mut writers = Vec::new();
    for writer in 0..16 {
        let (store, at) = (store.clone(), at.clone());
        writers.push(tokio::spawn(async move {
            let drainer = Some(process(writer));
            let claim = Diversion {
                drainer,
                ..diverted(0, Phase::Diverted)
            };
            (
                drainer,
                store.put_diversion(&at, 0, None, claim).await.unwrap().is_some(),
            )
        }));
    }
    let mut winners = Vec::new();
    for writer in writers {
        let (drainer, won) = writer.await.unwrap();
        winners.extend(won.then_some(drainer));
    }
    let stands = store.lane(&at).await.unwrap().diversion.record.drainer;
    assert_eq!(winners, [stands]);
}

async fn an_append_keeps_the_record_from_being_opened(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    let at = place("orders", Some(0));
    put(&*store, &at, diverted(0, Phase::Diverting)).await;
    let seen = store.lane(&at).await.unwrap();
    assert_eq!(seen.span, Span { head: 0, tail: 0 });
    let made = store.append_in(&at, 0, append_id(0), rows(&["a"])).await.unwrap();
    assert_eq!(made, AppendIn::Made(0));
    let version = seen.diversion.version;
    let open = diverted(1, Phase::Open);
    let opened = store.put_diversion(&at, version, Some(0), open).await;
    assert_eq!(opened.unwrap(), None);
    let settled = diverted(0, Phase::Diverted);
    let settled = store.put_diversion(&at, version, None, settled).await.unwrap();
    let version = settled.expect("appends do not stand against what does not depend on them");
    store.remove(&at, 1).await.unwrap();
    let seen = store.lane(&at).await.unwrap();
    assert_eq!(seen.span, Span { head: 1, tail: 1 });
    for stale in [(version, 0), (version, 2), (version - 1, 1)] {
        let opened = store.put_diversion(&at, stale.0, Some(stale.1), open).await;
        assert_eq!(opened.unwrap(), None);
    }
    let opened = store.put_diversion(&at, version, Some(1), open).await;
    assert!(opened.unwrap().is_some());
}

async fn what_is_not_open_is_listed(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    let (one, other) = (place("orders", Some(0)), place("orders", Some(1)));
    assert!(store.diversions().await.unwrap().is_empty());
    put(&*store, &one, diverted(4, Phase::Diverting)).await;
    put(&*store, &other, diverted(5, Phase::Open)).await;
    let listed = store.diversions().await.unwrap();
    let stands = store.lane(&one).await.unwrap().diversion;
    let expected = Listed {
        place: one.clone(),
        diversion: stands,
    };
    assert_eq!(listed, [expected]);
    let topic = place("orders", None);
    put(&*store, &topic, diverted(0, Phase::Diverting)).await;
    put(&*store, &one, diverted(5, Phase::Open)).await;
    let places: Vec<Place> = store
        .diversions()
        .await
        .unwrap()
        .into_iter()
        .map(|listed| listed.place)
        .collect();
    assert_eq!(places, [topic]);
}

async fn appends_name_the_epoch(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    let at = place("orders", Some(0));
    let append = async |epoch, number| {
        store
            .append_in(&at, epoch, append_id(number), rows(&["x"]))
            .await
            .unwrap()
    };
    assert_eq!(append(0, 0).await, AppendIn::Passed, "it is open");
    let taking = [Phase::Diverting, Phase::Diverted, Phase::Closing];
    for (number, phase) in (0..).zip(taking) {
        put(&*store, &at, diverted(2, phase)).await;
        assert_eq!(append(2, 10 + number).await, AppendIn::Made(number), "{phase:?}");
        assert_eq!(append(1, 20).await, AppendIn::Passed);
        assert_eq!(append(3, 20).await, AppendIn::Passed);
    }
    put(&*store, &at, diverted(3, Phase::Open)).await;
    assert_eq!(append(3, 20).await, AppendIn::Passed);
    assert_eq!(texts(&*store, &at).await, ["x", "x", "x"]);
}

async fn an_append_that_was_made_is_found_in_any_epoch(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    let at = place("orders", Some(0));
    put(&*store, &at, diverted(0, Phase::Diverting)).await;
    let made = store
        .append_in(&at, 0, append_id(5), rows(&["a", "b"]))
        .await
        .unwrap();
    store.remove(&at, 2).await.unwrap();
    put(&*store, &at, diverted(1, Phase::Open)).await;
    drop(store);
    let store = factory.open_shared(true).await;
    let again = store
        .append_in(&at, 0, append_id(5), rows(&["a", "b"]))
        .await
        .unwrap();
    assert_eq!(again, made);
    assert!(texts(&*store, &at).await.is_empty());
}

/// Many append at one epoch while one opens: whatever was made stood in the lane before it was opened.
async fn no_append_lands_behind_an_opening(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    let at = place("orders", Some(0));
    put(&*store, &at, diverted(0, Phase::Closing)).await;
    let mut writers = Vec::new();
    for process in 0..8 {
        let (store, at) = (store.clone(), at.clone());
        writers.push(tokio::spawn(async move {
            let mut made = 0;
            for number in 0..10 {
                let id = AppendId { process, number };
                let answer = store.append_in(&at, 0, id, rows(&["x"])).await.unwrap();
                made += u64::from(answer != AppendIn::Passed);
            }
            made
        }));
    }
    loop {
        let seen = store.lane(&at).await.unwrap();
        store.remove(&at, seen.span.tail).await.unwrap();
        let open = diverted(1, Phase::Open);
        let (version, tail) = (seen.diversion.version, seen.span.tail);
        let opened = store.put_diversion(&at, version, Some(tail), open).await;
        if opened.unwrap().is_some() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let opened_at = store.lane(&at).await.unwrap().span;
    let mut made = 0;
    for writer in writers {
        made += writer.await.unwrap();
    }
    let span = store.lane(&at).await.unwrap().span;
    assert_eq!((span, made), (opened_at, span.tail));
    assert!(span.is_empty());
}

async fn stamps_name_the_term(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    let at = place("orders", Some(0));
    let claimed = |term| Diversion {
        term,
        drainer: Some(process(1)),
        ..diverted(0, Phase::Diverted)
    };
    put(&*store, &at, claimed(1)).await;
    store
        .append_in(&at, 0, append_id(0), rows(&["a", "b"]))
        .await
        .unwrap();
    let seen = store.lane(&at).await.unwrap().diversion.version;
    let store_stamps = async |term, position| {
        let stamps = vec![stamped(position, 0, 1)];
        store.store_stamps_in(&at, term, stamps).await.unwrap()
    };
    assert!(store_stamps(1, 0).await);
    store.put_diversion(&at, seen, None, claimed(2)).await.unwrap();
    assert!(!store_stamps(1, 1).await);
    assert!(store_stamps(2, 1).await);
    let stamps = store.read(&at, 0, usize::MAX).await.unwrap().stamps;
    assert_eq!(stamps, [stamped(0, 0, 1), stamped(1, 0, 1)]);
}

async fn leases_are_renewed_upwards(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    assert!(store.leases().await.unwrap().is_empty());
    assert!(
        !store.renew(lease(1, 1), false).await.unwrap(),
        "none stands that could be renewed"
    );
    assert!(store.renew(lease(1, 1), true).await.unwrap());
    let mut full = lease(1, 3);
    full.acknowledged.insert(place("orders", Some(0)), 5);
    full.acknowledged.insert(place("orders", None), 0);
    assert!(store.renew(full.clone(), false).await.unwrap());
    for late in [2, 3] {
        assert!(!store.renew(lease(1, late), false).await.unwrap());
        assert!(!store.renew(lease(1, late), true).await.unwrap());
    }
    drop(store);
    let store = factory.open_shared(true).await;
    assert_eq!(store.leases().await.unwrap(), [full]);
    assert!(store.renew(lease(1, 4), false).await.unwrap());
    assert_eq!(store.leases().await.unwrap(), [lease(1, 4)]);
}

async fn a_revoked_lease_stays_away_until_it_joins(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    assert!(!store.revoke(process(1), 0).await.unwrap());
    for number in [1, 2] {
        assert!(store.renew(lease(number, 5), true).await.unwrap());
    }
    for seen in [4, 6] {
        assert!(!store.revoke(process(1), seen).await.unwrap());
    }
    assert!(store.revoke(process(1), 5).await.unwrap());
    assert_eq!(store.leases().await.unwrap(), [lease(2, 5)]);
    assert!(!store.renew(lease(1, 6), false).await.unwrap());
    assert!(store.renew(lease(1, 7), true).await.unwrap());
    let mut standing = store.leases().await.unwrap();
    standing.sort_by_key(|lease| lease.process);
    assert_eq!(standing, [lease(1, 7), lease(2, 5)]);
}

async fn what_is_held_is_replaced_where_it_was_seen(factory: &dyn Factory) {
    let store = factory.open_shared(false).await;
    let held = |topics: &[&str]| {
        let mut holds = Holds::default();
        for topic in topics {
            let scope = Scope {
                topic: Some(place(topic, None).topic),
                partition: None,
            };
            holds.keep(scope, Timestamp::from_millis(1_000), "wrong").unwrap();
        }
        holds
    };
    assert_eq!(until_known(|| store.holds()).await, Holds::default());
    let put = async |expected: &[&str], new: &[&str]| {
        let (expected, new) = (held(expected), held(new));
        until_known(|| store.put_holds(&expected, &new)).await
    };
    // Another process may come between.
    let make = async |expected: &[&str], new: &[&str]| while !put(expected, new).await {};
    assert!(!put(&["bills"], &["orders"]).await, "nothing is held");
    make(&[], &["orders"]).await;
    assert_eq!(until_known(|| store.holds()).await, held(&["orders"]));
    assert!(!put(&[], &["bills"]).await, "orders are held by now");
    make(&["orders"], &["orders", "bills"]).await;
    let other = factory.open_shared(true).await;
    assert_eq!(until_known(|| other.holds()).await, held(&["orders", "bills"]));
    assert_eq!(
        until_known(|| other.open_places()).await,
        [],
        "nothing is parked there"
    );
    assert_eq!(until_known(|| other.diversions()).await, []);
    make(&["orders", "bills"], &[]).await;
    assert_eq!(until_known(|| other.holds()).await, Holds::default());
}

/// Asks until the server answers, as an operator does.
async fn until_known<'store, T>(ask: impl Fn() -> BoxFuture<'store, Result<T, Error>>) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_outage(), "{error}"),
        }
    }
}
