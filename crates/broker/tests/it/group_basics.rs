//! A consumer group when nothing fails: one member, two, commits, restarts, positions.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_broker::Cluster;
use evenkeel_broker::group::{Claim, Consumer, Delivery, Event, Mark, Options, Reset};
use evenkeel_event::clock::SystemClock;
use evenkeel_event::{Record, TopicName, TopicPartition};
use tokio::time::timeout;

use crate::brokers::{Bench, PATIENCE, name, on_every_broker};

on_every_broker!(
    a_member_reads_on_where_it_committed,
    two_members_share_and_a_close_hands_over_at_once,
    positions_of_ended_claims_are_refused,
    partitions_pause_seek_and_tell_their_lag,
    a_group_begins_where_the_options_say_and_tells_of_deleted_records,
    a_static_member_comes_back_unnoticed_and_its_name_is_its_own,
);

/// Sessions as short as a broker allows, so that nothing waits long.
pub(crate) fn options() -> Options {
    Options {
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(500),
        ..Options::default()
    }
}

pub(crate) async fn write(cluster: &Cluster, topic: &TopicName, partition: i32, values: &[String]) {
    let records: Vec<Record> = values
        .iter()
        .map(|value| Record {
            topic: topic.clone(),
            partition: Some(partition),
            key: None,
            value: Some(value.clone().into()),
            headers: Vec::new(),
        })
        .collect();
    let partition = TopicPartition::new(topic.clone(), partition);
    cluster
        .append(&partition, &records, &SystemClock::default(), PATIENCE)
        .await
        .unwrap();
}

pub(crate) async fn next(consumer: &mut Consumer) -> Event {
    let event = timeout(PATIENCE, consumer.next())
        .await
        .expect("an event in time");
    event.unwrap().expect("the consumer is open")
}

pub(crate) async fn assigned(consumer: &mut Consumer) -> Vec<Claim> {
    loop {
        if let Event::Assigned { claims, .. } = next(consumer).await {
            return claims;
        }
    }
}

/// The next records; whatever else comes is passed over.
async fn delivery(consumer: &mut Consumer) -> Delivery {
    loop {
        if let Event::Records(delivery) = next(consumer).await {
            return delivery;
        }
    }
}

/// Reads until `count` values are there; by partition, in order. Commits each batch if asked to.
pub(crate) async fn read(consumer: &mut Consumer, count: usize, commit: bool) -> BTreeMap<i32, Vec<String>> {
    let mut values: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    while values.values().map(Vec::len).sum::<usize>() < count {
        let delivery = delivery(consumer).await;
        let list = values.entry(delivery.claim().partition.partition).or_default();
        list.extend(
            delivery
                .records()
                .map(|record| String::from_utf8_lossy(record.value.unwrap()).into_owned()),
        );
        if commit {
            consumer
                .commit(vec![(delivery.claim().clone(), delivery.end())])
                .await
                .unwrap();
        }
    }
    values
}

pub(crate) fn numbers(range: std::ops::Range<i32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

pub(crate) fn group() -> String {
    name("group").to_string()
}

async fn a_member_reads_on_where_it_committed(bootstrap: &'static str) {
    let bench = Bench::with(bootstrap, "positions", 2, 1, &[]).await;
    let (cluster, topic) = (&bench.cluster, &bench.topic);
    write(cluster, topic, 0, &numbers(0..500)).await;
    write(cluster, topic, 1, &numbers(500..600)).await;
    let group = group();
    let mut consumer = Consumer::join(cluster, &group, vec![topic.clone()], options());
    let values = read(&mut consumer, 600, true).await;
    assert_eq!(
        values,
        BTreeMap::from([(0, numbers(0..500)), (1, numbers(500..600))])
    );
    consumer.close().await.unwrap();
    write(cluster, topic, 0, &numbers(600..700)).await;
    let mut again = Consumer::join(cluster, &group, vec![topic.clone()], options());
    assert_eq!(
        read(&mut again, 100, false).await,
        BTreeMap::from([(0, numbers(600..700))])
    );
    again.close().await.unwrap();
    let mut once_more = Consumer::join(cluster, &group, vec![topic.clone()], options());
    assert_eq!(
        read(&mut once_more, 100, false).await,
        BTreeMap::from([(0, numbers(600..700))])
    );
    drop(once_more);
}

async fn two_members_share_and_a_close_hands_over_at_once(bootstrap: &'static str) {
    let bench = Bench::with(bootstrap, "shared", 4, 1, &[]).await;
    let (cluster, topic, group) = (&bench.cluster, &bench.topic, group());
    let mut first = Consumer::join(cluster, &group, vec![topic.clone()], options());
    assert_eq!(assigned(&mut first).await.len(), 4);
    let mut second = Consumer::join(cluster, &group, vec![topic.clone()], options());
    let gives = async {
        loop {
            if let Event::Revoked(revoked) = next(&mut first).await {
                break revoked.claims().len();
            }
        }
    };
    let gets = async {
        loop {
            let claims = assigned(&mut second).await;
            if !claims.is_empty() {
                break claims.len();
            }
        }
    };
    let (given, got) = tokio::join!(gives, gets);
    assert_eq!((given, got), (2, 2));
    second.close().await.unwrap();
    // Far less than the session: the closed member has told the coordinator.
    let back = timeout(Duration::from_secs(5), async {
        loop {
            let claims = assigned(&mut first).await;
            if !claims.is_empty() {
                break claims.len();
            }
        }
    });
    assert_eq!(back.await.expect("the partitions come back at once"), 2);
    first.close().await.unwrap();
}

async fn positions_of_ended_claims_are_refused(bootstrap: &'static str) {
    let bench = Bench::new(bootstrap, "ended").await;
    write(&bench.cluster, &bench.topic, 0, &numbers(0..10)).await;
    let mut consumer = Consumer::join(&bench.cluster, &group(), vec![bench.topic.clone()], options());
    let delivery = delivery(&mut consumer).await;
    let stale = Claim {
        number: delivery.claim().number + 1,
        ..delivery.claim().clone()
    };
    let refused = consumer.commit(vec![(stale, delivery.end())]).await.unwrap_err();
    assert!(refused.is_lost(), "{refused}");
    consumer
        .commit(vec![(delivery.claim().clone(), delivery.after(4))])
        .await
        .unwrap();
    let control = consumer.control();
    consumer.close().await.unwrap();
    let refused = control
        .commit(vec![(delivery.claim().clone(), delivery.end())])
        .await
        .unwrap_err();
    assert!(refused.is_lost(), "{refused}");
}

async fn partitions_pause_seek_and_tell_their_lag(bootstrap: &'static str) {
    let bench = Bench::with(bootstrap, "steered", 2, 1, &[]).await;
    let mut consumer = Consumer::join(&bench.cluster, &group(), vec![bench.topic.clone()], options());
    let control = consumer.control();
    let claims = assigned(&mut consumer).await;
    control.pause(&claims[0]);
    write(&bench.cluster, &bench.topic, 0, &numbers(0..10)).await;
    write(&bench.cluster, &bench.topic, 1, &numbers(10..20)).await;
    assert_eq!(
        read(&mut consumer, 10, false).await,
        BTreeMap::from([(1, numbers(10..20))])
    );
    control.resume(&claims[0]);
    assert_eq!(
        read(&mut consumer, 10, false).await,
        BTreeMap::from([(0, numbers(0..10))])
    );
    let lag: BTreeMap<Claim, i64> = control.lag().into_iter().collect();
    assert_eq!(lag.into_values().collect::<Vec<_>>(), [0, 0]);
    control.seek(&claims[1], 4);
    assert_eq!(
        read(&mut consumer, 6, false).await,
        BTreeMap::from([(1, numbers(14..20))])
    );
    consumer.close().await.unwrap();
}

async fn a_group_begins_where_the_options_say_and_tells_of_deleted_records(bootstrap: &'static str) {
    let bench = Bench::new(bootstrap, "begins").await;
    let (cluster, topic) = (&bench.cluster, &bench.topic);
    write(cluster, topic, 0, &numbers(0..10)).await;
    let latest = Options {
        reset: Reset::Latest,
        ..options()
    };
    let mut consumer = Consumer::join(cluster, &group(), vec![topic.clone()], latest);
    let claim = assigned(&mut consumer).await.remove(0);
    let control = consumer.control();
    // The end is learned after the assignment: written before that, the records would be passed over.
    while control.lag().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    write(cluster, topic, 0, &numbers(10..20)).await;
    assert_eq!(
        read(&mut consumer, 10, false).await,
        BTreeMap::from([(0, numbers(10..20))])
    );
    cluster.delete_records(&bench.partition(0), 15).await.unwrap();
    control.seek(&claim, 3);
    loop {
        if let Event::Moved { from, to, .. } = next(&mut consumer).await {
            assert_eq!((from, to), (3, 15));
            break;
        }
    }
    assert_eq!(
        read(&mut consumer, 5, false).await,
        BTreeMap::from([(0, numbers(15..20))])
    );
    consumer
        .commit(vec![(
            claim,
            Mark {
                offset: 20,
                leader_epoch: -1,
            },
        )])
        .await
        .unwrap();
    consumer.close().await.unwrap();
}

async fn a_static_member_comes_back_unnoticed_and_its_name_is_its_own(bootstrap: &'static str) {
    let bench = Bench::with(bootstrap, "static", 4, 1, &[]).await;
    let (cluster, topic, group) = (&bench.cluster, &bench.topic, group());
    let named = || Options {
        instance: Some("one".to_owned()),
        session_timeout: Duration::from_secs(30),
        ..options()
    };
    let mut dynamic = Consumer::join(cluster, &group, vec![topic.clone()], options());
    assert_eq!(assigned(&mut dynamic).await.len(), 4);
    let mut first = Consumer::join(cluster, &group, vec![topic.clone()], named());
    let shared = async {
        loop {
            let claims = assigned(&mut first).await;
            if !claims.is_empty() {
                break claims;
            }
        }
    };
    let given = async {
        // The second generation is over when the other has its partitions.
        for _ in 0..2 {
            assigned(&mut dynamic).await;
        }
    };
    let (mine, ()) = tokio::join!(shared, given);
    first.close().await.unwrap();
    let mut again = Consumer::join(cluster, &group, vec![topic.clone()], named());
    let back = assigned(&mut again).await;
    let places = |claims: &[Claim]| {
        claims
            .iter()
            .map(|claim| claim.partition.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(places(&back), places(&mine));
    let unnoticed = timeout(Duration::from_secs(2), assigned(&mut dynamic)).await;
    assert!(unnoticed.is_err(), "the others had to divide anew");

    let mut thief = Consumer::join(cluster, &group, vec![topic.clone()], named());
    let fenced = timeout(PATIENCE, async {
        loop {
            match again.next().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        }
    });
    let error = fenced.await.unwrap().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("another process runs as the static member \"one\""),
        "{error}"
    );
    assert!(again.next().await.unwrap().is_none());
    assert_eq!(places(&assigned(&mut thief).await), places(&mine));
    // A static member keeps its place when it closes: the group is left by both in the background.
    drop((thief, dynamic));
}
