//! Several publishers share a standby store and publish the same keys: what was called later, after an earlier call had
//! returned, comes later (invariant **in-order**), whoever it was that published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::config::Fleet;
use evenkeel::publish::{Lane, Receipt};
use evenkeel::{Config, Publisher};
use evenkeel_broker::Cluster;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::diversion::{Diversion, Lease, Process};
use evenkeel_store::{Holds, MemoryStandby, Place, Scope, SharedStandby};

use crate::stage::{PARTITIONS, PATIENCE, Stage, check_lanes, event, order, orders};

/// The settings of a process with this name, which shares `store`.
fn shared(stage: &Stage, name: &str, store: &Arc<dyn SharedStandby>) -> Config {
    let mut config = stage.config();
    config.directory = stage.path(name);
    config.fleet = Some(Fleet {
        lease: Duration::from_secs(2),
        poll_every: Duration::from_millis(50),
        ..Fleet::new(store.clone())
    });
    config
}

/// A store, and two processes that share it.
async fn pair(stage: &Stage) -> (Arc<dyn SharedStandby>, Publisher, Publisher) {
    let store: Arc<dyn SharedStandby> = Arc::new(MemoryStandby::new(1 << 30));
    let [one, two] = pair_on(stage, &store).await;
    (store, one, two)
}

/// Two processes that share `store`.
async fn pair_on(stage: &Stage, store: &Arc<dyn SharedStandby>) -> [Publisher; 2] {
    let one = Publisher::start(shared(stage, "one", store)).await.unwrap();
    let two = Publisher::start(shared(stage, "two", store)).await.unwrap();
    [one, two]
}

async fn publish(publisher: &Publisher, key: &str, number: usize) -> Receipt {
    publisher
        .publish_json(&event(key, number), &order(number))
        .await
        .unwrap()
}

/// Publishes the events `numbers` of one customer by turns, each when the one before it has returned.
async fn by_turns(publishers: &[&Publisher], numbers: std::ops::Range<usize>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for number in numbers {
        receipts.push(publish(publishers[number % publishers.len()], "ann", number).await);
    }
    receipts
}

fn is_parked(receipt: &Receipt) -> bool {
    matches!(receipt, Receipt::Parked { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_share_a_store_keep_the_order_of_a_key_through_an_outage() {
    let mut stage = Stage::new().await;
    let (store, one, two) = pair(&stage).await;
    let both = [&one, &two];
    let before = by_turns(&both, 0..4).await;
    assert!(!before.iter().any(is_parked), "{before:?}");

    stage.stop_broker().await;
    let during = by_turns(&both, 4..20).await;
    assert!(during.iter().all(is_parked), "{during:?}");
    assert_eq!(store.stats().await.unwrap().events, 16);

    stage.start_broker().await;
    let mut count = 20;
    let begun = Instant::now();
    while by_turns(&both, count..count + 4).await.iter().any(is_parked) {
        assert!(begun.elapsed() < PATIENCE, "they go direct again");
        count += 4;
    }
    check_lanes(&stage.read(&orders()).await, &["ann"], count + 4);
    assert_eq!(store.stats().await.unwrap().events, 0);
    assert!(one.close(PATIENCE).await && two.close(PATIENCE).await);
    until("who leaves is not waited for", async || {
        store.leases().await.unwrap().is_empty()
    })
    .await;
}

/// Waits until it is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_died_is_waited_for_and_its_drain_is_taken_over() {
    let mut stage = Stage::new().await;
    let (store, one, two) = pair(&stage).await;
    by_turns(&[&one, &two], 0..4).await;
    let dead = Process(7);
    let lease = Lease {
        process: dead,
        renewal: 1,
        duration: Duration::from_secs(2),
        acknowledged: BTreeMap::new(),
    };
    assert!(store.renew(lease, true).await.unwrap());
    stage.stop_broker().await;
    let during = by_turns(&[&one, &two], 4..10).await;
    assert!(during.iter().all(is_parked), "{during:?}");
    let leases = store.leases().await.unwrap();
    assert!(
        leases.iter().all(|lease| lease.process != dead),
        "it might still publish: {leases:?}"
    );
    let place = store.diversions().await.unwrap()[0].place.clone();
    let term = claim(&*store, &place, dead).await;
    stage.start_broker().await;
    until("its drain is taken over", async || {
        store.diversions().await.unwrap().is_empty()
    })
    .await;
    assert!(store.lane(&place).await.unwrap().diversion.record.term > term);
    by_turns(&[&one, &two], 10..14).await;
    until("all is sent", async || store.stats().await.unwrap().events == 0).await;
    check_lanes(&stage.read(&orders()).await, &["ann"], 14);
}

/// Makes `process` the drainer of a place, and returns its term.
async fn claim(store: &dyn SharedStandby, place: &Place, process: Process) -> u64 {
    loop {
        let found = store.lane(place).await.unwrap().diversion;
        let claimed = Diversion {
            drainer: Some(process),
            term: found.record.term + 1,
            ..found.record
        };
        let put = store.put_diversion(place, found.version, None, claimed).await;
        if put.unwrap().is_some() {
            return claimed.term;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_sent_by_no_process_until_it_is_released() {
    let mut stage = Stage::new().await;
    let store: Arc<dyn SharedStandby> = Arc::new(MemoryStandby::new(1 << 30));
    let (nothing, mut holds) = (Holds::default(), Holds::default());
    let scope = Scope {
        topic: Some(orders()),
        partition: Some(0),
    };
    holds.keep(scope, Timestamp::from_millis(0), "").unwrap();
    assert!(store.put_holds(&nothing, &holds).await.unwrap());
    let [one, two] = pair_on(&stage, &store).await;
    let keys = ["ann", "bob", "cid", "dot", "eve", "fay"];
    let round = async |number: usize| {
        for (turn, key) in keys.iter().enumerate() {
            publish(
                if (turn + number).is_multiple_of(2) {
                    &one
                } else {
                    &two
                },
                key,
                number,
            )
            .await;
        }
    };
    round(0).await;
    stage.stop_broker().await;
    round(1).await;
    let parked = store.open_places().await.unwrap();
    assert!(parked.len() > 1, "{parked:?}");
    let held = parked.into_iter().find(|held| held.place.partition == Some(0));
    let held = held.expect("one of the keys is in partition 0");
    stage.start_broker().await;
    until("the others are sent", async || {
        let diverted = store.diversions().await.unwrap();
        diverted.iter().all(|listed| listed.place == held.place)
    })
    .await;
    // What comes meanwhile waits behind it.
    round(2).await;
    let left = store.open_places().await.unwrap();
    let behind = left.iter().find(|left| left.place == held.place);
    assert_eq!(behind.map(|left| left.events), Some(2 * held.events), "{left:?}");
    assert!(store.put_holds(&holds, &nothing).await.unwrap());
    until("all is sent", async || store.stats().await.unwrap().events == 0).await;
    check_lanes(&stage.read(&orders()).await, &keys, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_when_all_processes_are_gone_is_sent_by_the_next_one() {
    let mut stage = Stage::new().await;
    let store: Arc<dyn SharedStandby> = Arc::new(MemoryStandby::new(1 << 30));
    let one = Publisher::start(shared(&stage, "one", &store)).await.unwrap();
    by_turns(&[&one], 0..1).await;
    stage.stop_broker().await;
    let during = by_turns(&[&one], 1..9).await;
    assert!(during.iter().all(is_parked), "{during:?}");
    drop(one);
    // The next one starts while Kafka is still gone, and parks behind what is there.
    let two = Publisher::start(shared(&stage, "two", &store)).await.unwrap();
    let behind = by_turns(&[&two], 9..12).await;
    assert!(behind.iter().all(is_parked), "{behind:?}");
    stage.start_broker().await;
    until("all is sent", async || store.stats().await.unwrap().events == 0).await;
    check_lanes(&stage.read(&orders()).await, &["ann"], 12);
    assert!(two.close(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_parked_at_one_partition_though_one_process_has_not_heard_that_its_topic_grew() {
    parks_at_one_partition(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_parked_at_one_partition_though_another_process_has_not_heard_that_its_topic_grew() {
    parks_at_one_partition(true).await;
}

/// Two processes place a key differently, because one of them has not heard of new partitions. It parks first, or the other one.
async fn parks_at_one_partition(newer_first: bool) {
    let mut stage = Stage::new().await;
    let store: Arc<dyn SharedStandby> = Arc::new(MemoryStandby::new(1 << 30));
    let older = Publisher::start(shared(&stage, "older", &store)).await.unwrap();
    by_turns(&[&older], 0..1).await;
    let cluster = Cluster::connect(stage.kafka()).await.unwrap();
    cluster
        .create_partitions(&orders(), 2 * PARTITIONS + 1)
        .await
        .unwrap();
    let newer = Publisher::start(shared(&stage, "newer", &store)).await.unwrap();
    let mut keys = (0..).map(|number| format!("customer{number}"));
    let (key, moved_to) = loop {
        let key = keys.next().unwrap();
        let placed = [publish(&older, &key, 0).await, publish(&newer, &key, 1).await].map(partition_of);
        if placed[0] != placed[1] {
            break (key, placed[1]);
        }
    };

    stage.stop_broker().await;
    let mut turns = [&older, &newer];
    if newer_first {
        turns.reverse();
    }
    let mut partitions = BTreeSet::new();
    for number in 2..10 {
        let receipt = publish(turns[number % 2], &key, number).await;
        assert!(is_parked(&receipt), "{receipt:?}");
        partitions.insert(partition_of(receipt));
    }
    assert_eq!(partitions.len(), 1, "{partitions:?}");
    stage.start_broker().await;
    until("all is sent", async || store.stats().await.unwrap().events == 0).await;
    let seen = stage.read(&orders()).await;
    let ids: Vec<&str> = seen
        .iter()
        .filter(|record| {
            record.key.as_deref() == Some(key.as_bytes()) && partitions.contains(&record.partition)
        })
        .map(|record| record.id.as_str())
        .filter(|id| !id.ends_with("-0") && !id.ends_with("-1"))
        .collect();
    let expected: Vec<String> = (2..10).map(|number| format!("{key}-{number}")).collect();
    assert_eq!(ids, expected);
    for (publisher, from) in [(&older, 100), (&newer, 10_000)] {
        let mut number = from;
        let begun = Instant::now();
        while partition_of(publish(publisher, &key, number).await) != moved_to {
            assert!(
                begun.elapsed() < PATIENCE,
                "it is placed by the new partitions in the end"
            );
            number += 1;
        }
    }
}

fn partition_of(receipt: Receipt) -> i32 {
    match receipt {
        Receipt::Published { partition, .. }
        | Receipt::Parked {
            lane: Lane {
                partition: Some(partition),
                ..
            },
            ..
        } => partition,
        other => panic!("{other:?}"),
    }
}
