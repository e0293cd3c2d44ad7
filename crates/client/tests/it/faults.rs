//! Lost answers, half-open connections, a full store (invariants **once**, **owned**).

use std::time::Duration;

use evenkeel::publish::{PublishError, Receipt};
use evenkeel::{Event, Publisher};
use evenkeel_embedded::proxy::Api;

use crate::stage::{PATIENCE, Stage, check_lanes, event, order, orders, publish_all};

const KEYS: [&str; 5] = ["ann", "bob", "cyd", "dan", "eve"];
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_was_lost_for_lands_once() {
    let stage = Stage::proxied().await;
    let proxy = stage.proxy.as_ref().unwrap();
    let publisher = stage.publisher().await;
    publish_all(&publisher, &KEYS, 0..1).await;
    proxy.drop_responses(Api::PRODUCE, 20).await;
    publish_all(&publisher, &KEYS, 1..100).await;
    assert!(proxy.dropped() > 0);
    stage.drained(&publisher).await;
    check_lanes(&stage.read(&orders()).await, &KEYS, 100);
    assert!(publisher.close(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_of_a_producer_may_be_lost_too() {
    let stage = Stage::proxied().await;
    let proxy = stage.proxy.as_ref().unwrap();
    proxy.drop_responses(Api::PRODUCE, 5).await;
    proxy.drop_responses(Api::INIT_PRODUCER_ID, 2).await;
    proxy.drop_responses(Api::CREATE_TOPICS, 1).await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &KEYS, 0..20).await;
    stage.drained(&publisher).await;
    check_lanes(&stage.read(&orders()).await, &KEYS, 20);
    assert!(publisher.close(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_parks_with_stamps_and_what_was_held_back_lands_once() {
    let stage = Stage::proxied().await;
    let proxy = stage.proxy.as_ref().unwrap();
    let publisher = stage.publisher().await;
    publish_all(&publisher, &KEYS, 0..10).await;
    for round in 0..2 {
        proxy.hang().await;
        let numbers = 10 + round * 20..20 + round * 20;
        let parked = publish_all(&publisher, &KEYS, numbers).await;
        assert!(
            parked
                .values()
                .all(|receipt| matches!(receipt, Receipt::Parked { .. }))
        );
        // What was held back reaches the broker now, late, while it is sent again.
        proxy.restore().await;
        publish_all(&publisher, &KEYS, 20 + round * 20..30 + round * 20).await;
    }
    stage.drained(&publisher).await;
    check_lanes(&stage.read(&orders()).await, &KEYS, 50);
    assert!(publisher.close(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_stamps_survive_the_process() {
    let stage = Stage::proxied().await;
    let proxy = stage.proxy.as_ref().unwrap();
    let publisher = stage.publisher().await;
    publish_all(&publisher, &KEYS, 0..10).await;
    // These land, and their answers are lost: only their stamps tell.
    proxy.drop_responses(Api::PRODUCE, 1_000).await;
    publish_all(&publisher, &KEYS, 10..11).await;
    assert!(publisher.parked().await.unwrap().events > 0);
    publisher.close(Duration::from_millis(10)).await;
    drop(publisher);
    proxy.restore().await;
    let publisher = crate::stage::restarted(&stage).await;
    publish_all(&publisher, &KEYS, 11..20).await;
    stage.drained(&publisher).await;
    check_lanes(&stage.read(&orders()).await, &KEYS, 20);
    assert!(publisher.close(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_stores_limit_publishing_is_refused_until_there_is_room() {
    let mut stage = Stage::new().await;
    let mut config = stage.config();
    config.standby_bytes_max = 1 << 20;
    let publisher = Publisher::start(config).await.unwrap();
    publish_all(&publisher, &["ann"], 0..1).await;
    stage.stop_broker().await;
    let note = "x".repeat(50_000);
    let mut parked = 0;
    let refused = loop {
        let (event, order) = (event("ann", parked + 1), large_order(&note));
        match publisher.publish_json(&event, &order).await {
            Ok(Receipt::Parked { .. }) => parked += 1,
            other => break other,
        }
    };
    let Err(error @ PublishError::NotParked { full: true, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(!error.may_have_landed() && parked > 5, "{parked}: {error}");
    stage.start_broker().await;
    stage.drained(&publisher).await;
    publish_all(&publisher, &["ann"], parked + 1..parked + 3).await;
    stage.drained(&publisher).await;
    check_lanes(&stage.read(&orders()).await, &["ann"], parked + 3);
    assert!(publisher.close(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_an_open_answer_joins_what_landed() {
    let stage = Stage::proxied().await;
    let proxy = stage.proxy.as_ref().unwrap();
    let mut config = stage.config();
    // Too small for anything: what is in flight cannot be parked.
    config.standby_bytes_max = 1;
    let publisher = Publisher::start(config).await.unwrap();
    publish_all(&publisher, &["ann"], 0..1).await;
    proxy.drop_responses(Api::PRODUCE, 1_000).await;
    let event: Event = event("ann", 1);
    let answer = publisher.publish_json(&event, &order(1)).await;
    let Err(error) = answer else {
        panic!("{answer:?}");
    };
    assert!(error.may_have_landed(), "{error}");
    proxy.restore().await;
    // A caller that is told again that it is open goes on asking.
    let start = std::time::Instant::now();
    while let Err(error) = publisher.publish_json(&event, &order(1)).await {
        assert!(error.may_have_landed() && start.elapsed() < PATIENCE, "{error}");
    }
    publish_all(&publisher, &["ann"], 2..4).await;
    check_lanes(&stage.read(&orders()).await, &["ann"], 4);
    assert!(publisher.close(LIMIT).await);
}

fn large_order(note: &str) -> Vec<u8> {
    format!(r#"{{"number":1,"note":"{note}"}}"#).into_bytes()
}
