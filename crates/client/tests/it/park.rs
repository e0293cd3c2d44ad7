//! Events that go by way of the standby store although Kafka is there.

use std::time::Duration;

use evenkeel::publish::Receipt;

use crate::stage::{PATIENCE, Stage, check_lanes, event, order, orders, publish_all, restarted};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_on_purpose_is_sent_on_in_order_beside_what_is_published() {
    let stage = Stage::new().await;
    let publisher = stage.publisher().await;
    let contract = publisher
        .schemas()
        .contract(&orders(), "order.placed")
        .await
        .unwrap();
    for number in 0..60 {
        let event = event("ann", number);
        let valid = contract.encode_json(&order(number)).unwrap();
        if number % 3 == 2 {
            let receipt = publisher
                .begin_valid(&event, &valid)
                .await
                .unwrap()
                .receipt()
                .await;
            receipt.unwrap();
        } else {
            let receipt = publisher
                .begin_parked(&event, &valid)
                .await
                .unwrap()
                .receipt()
                .await;
            assert!(matches!(receipt.unwrap(), Receipt::Parked { .. }));
        }
        tokio::time::sleep(Duration::from_millis(number as u64 % 9)).await;
    }
    stage.drained(&publisher).await;
    check_lanes(&stage.read(&orders()).await, &["ann"], 60);
    assert!(publisher.close(Duration::from_secs(30)).await);
}

const KEYS: [&str; 3] = ["ann", "bob", "cyd"];

/// As `evenkeel publish` without input, again and again: what it finds is sent on before it goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_closed_at_once_sends_on_what_it_finds() {
    let mut stage = Stage::new().await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &KEYS, 0..1).await;
    stage.stop_broker().await;
    publish_all(&publisher, &KEYS, 1..4).await;
    publisher.close(PATIENCE).await;
    drop(publisher);
    // While Kafka is out it does not wait for it.
    let publisher = restarted(&stage).await;
    publisher.close(PATIENCE).await;
    assert!(publisher.parked().await.unwrap().events > 0);
    drop(publisher);
    stage.start_broker().await;
    let publisher = restarted(&stage).await;
    assert!(publisher.close(PATIENCE).await);
    assert_eq!(publisher.parked().await.unwrap().events, 0);
    check_lanes(&stage.read(&orders()).await, &KEYS, 4);
}
