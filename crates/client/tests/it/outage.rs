use std::time::Duration;

use evenkeel::publish::Receipt;

use crate::stage::{Stage, check_lanes, event, letters, order, orders, publish_all, restarted};

const KEYS: [&str; 5] = ["ann", "bob", "cyd", "dan", "eve"];
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn events_park_while_the_broker_is_down_and_drain_in_order_while_publishing_goes_on() {
    let mut stage = Stage::new().await;
    let publisher = stage.publisher().await;
    let before = publish_all(&publisher, &KEYS, 0..50).await;
    assert!(
        before
            .values()
            .all(|receipt| matches!(receipt, Receipt::Published { .. }))
    );
    stage.stop_broker().await;
    let during = publish_all(&publisher, &KEYS, 50..100).await;
    assert!(
        during
            .values()
            .all(|receipt| matches!(receipt, Receipt::Parked { .. }))
    );
    assert_eq!(publisher.parked().await.unwrap().events, 250);
    stage.start_broker().await;
    publish_all(&publisher, &KEYS, 100..150).await;
    stage.drained(&publisher).await;
    let after = publish_all(&publisher, &KEYS, 150..160).await;
    assert!(
        after
            .values()
            .all(|receipt| matches!(receipt, Receipt::Published { .. }))
    );
    check_lanes(&stage.read(&orders()).await, &KEYS, 160);
    assert!(publisher.close(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_sending_loses_and_doubles_nothing() {
    let mut stage = Stage::new().await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &KEYS, 0..1).await;
    let publishing = {
        let publisher = publisher.clone();
        tokio::spawn(async move { publish_all(&publisher, &KEYS, 1..400).await })
    };
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        stage.stop_broker().await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        stage.start_broker().await;
    }
    publishing.await.unwrap();
    stage.drained(&publisher).await;
    check_lanes(&stage.read(&orders()).await, &KEYS, 400);
    assert!(publisher.close(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_starts_without_kafka_parks_and_places_later() {
    let mut stage = Stage::dark().await;
    let publisher = stage.publisher().await;
    let parked = publish_all(&publisher, &KEYS, 0..20).await;
    for receipt in parked.values() {
        let Receipt::Parked { lane, .. } = receipt else {
            panic!("{receipt:?}");
        };
        assert_eq!((&lane.topic, lane.partition), (&orders(), None));
    }
    stage.start_broker().await;
    publish_all(&publisher, &KEYS, 20..40).await;
    stage.drained(&publisher).await;
    check_lanes(&stage.read(&orders()).await, &KEYS, 40);
    assert!(publisher.close(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_drains_what_the_last_one_parked() {
    let mut stage = Stage::new().await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &KEYS, 0..10).await;
    stage.stop_broker().await;
    publish_all(&publisher, &KEYS, 10..20).await;
    assert!(publisher.close(LIMIT).await);
    drop(publisher);
    // And one that finds no metadata either.
    let publisher = restarted(&stage).await;
    publish_all(&publisher, &KEYS, 20..30).await;
    assert_eq!(publisher.parked().await.unwrap().events, 100);
    assert!(publisher.close(LIMIT).await);
    drop(publisher);
    stage.start_broker().await;
    let publisher = restarted(&stage).await;
    publish_all(&publisher, &KEYS, 30..40).await;
    stage.drained(&publisher).await;
    check_lanes(&stage.read(&orders()).await, &KEYS, 40);
    assert!(publisher.close(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_sent_is_parked_bound_for_its_topic() {
    let mut stage = Stage::new().await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &["ann"], 0..1).await;
    stage.stop_broker().await;
    let wrong = br#"{"number":"two","note":"wrong"}"#;
    let receipt = publisher.publish_json(&event("ann", 99), wrong).await.unwrap();
    let Receipt::DeadLettered { at, .. } = receipt else {
        panic!("{receipt:?}");
    };
    let evenkeel::LetterPlace::Standby { lane, .. } = at else {
        panic!("{at:?}");
    };
    assert_eq!(lane.topic, letters());
    stage.start_broker().await;
    stage.drained(&publisher).await;
    assert_eq!(stage.read(&letters()).await.len(), 1);
    assert!(publisher.close(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_may_not_be_created_have_their_events_parked_until_they_are() {
    let stage = Stage::new().await;
    let mut config = stage.config();
    config.new_topics = None;
    let publisher = evenkeel::Publisher::start(config).await.unwrap();
    let receipt = publisher.publish_json(&event("ann", 0), &order(0)).await.unwrap();
    assert!(matches!(receipt, Receipt::Parked { .. }), "{receipt:?}");
    let cluster = evenkeel_broker::Cluster::connect(stage.kafka()).await.unwrap();
    let topic = evenkeel_broker::admin::NewTopic {
        name: orders(),
        partitions: 2,
        replication: 1,
        configs: Vec::new(),
    };
    cluster.create_topic(&topic).await.unwrap();
    stage.drained(&publisher).await;
    check_lanes(&stage.read(&orders()).await, &["ann"], 1);
    assert!(publisher.close(LIMIT).await);
}
