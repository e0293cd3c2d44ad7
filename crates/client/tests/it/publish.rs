use std::time::Duration;

use evenkeel::publish::{LetterPlace, PublishError, Receipt};
use evenkeel_event::{Code, headers};

use crate::stage::{Stage, check_lanes, event, letters, order, orders, publish_all};

const KEYS: [&str; 5] = ["ann", "bob", "cyd", "dan", "eve"];

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_their_topic_in_order_and_receipts_say_where() {
    let stage = Stage::new().await;
    let publisher = stage.publisher().await;
    let receipts = publish_all(&publisher, &KEYS, 0..200).await;
    assert!(publisher.close(Duration::from_secs(30)).await);
    let seen = stage.read(&orders()).await;
    check_lanes(&seen, &KEYS, 200);
    for record in &seen {
        let expected = Receipt::Published {
            topic: orders(),
            partition: record.partition,
            offset: Some(record.offset),
        };
        assert_eq!(receipts[&record.id], expected);
        assert_eq!(
            record.value[..5],
            [0, 0, 0, 0, 7],
            "Confluent's prefix with the schema's id"
        );
        assert_eq!(record.headers["content-type"], "application/avro");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_events_is_published_in_its_order() {
    #[derive(serde::Serialize)]
    struct Order {
        number: i64,
        note: &'static str,
    }
    let stage = Stage::new().await;
    let publisher = stage.publisher().await;
    let note = "typed";
    let events: Vec<_> = (0..500)
        .map(|number| (event("ann", number), Order { number: 1, note }))
        .collect();
    for receipt in publisher.publish_batch(&events).await {
        assert!(matches!(receipt, Ok(Receipt::Published { .. })), "{receipt:?}");
    }
    check_lanes(&stage.read(&orders()).await, &["ann"], 500);
    assert!(publisher.close(Duration::from_secs(30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_event_becomes_a_dead_letter_and_the_others_go_on() {
    let stage = Stage::new().await;
    let publisher = stage.publisher().await;
    let wrong = br#"{"number":"two","note":"wrong"}"#;
    let receipt = publisher.publish_json(&event("bob", 0), wrong).await.unwrap();
    let Receipt::DeadLettered {
        code: Code::SchemaViolation,
        cause,
        at: LetterPlace::Topic {
            topic,
            partition,
            offset,
        },
    } = receipt
    else {
        panic!("{receipt:?}");
    };
    assert_eq!(topic, letters());
    publish_all(&publisher, &["bob"], 0..3).await;
    check_lanes(&stage.read(&orders()).await, &["bob"], 3);
    let letter = stage.read(&letters()).await.remove(0);
    assert_eq!((letter.partition, Some(letter.offset)), (partition, offset));
    assert_eq!(&letter.value[..], wrong);
    assert_eq!(letter.headers["content-type"], "application/json");
    assert_eq!(letter.headers[headers::DLQ_CODE], "schema-violation");
    assert_eq!(letter.headers[headers::DLQ_TOPIC], "orders");
    assert_eq!(letter.headers[headers::DLQ_MESSAGE], cause);
    assert_eq!(letter.headers[headers::DLQ_SCHEMA_ID], "7");
    assert_eq!(letter.key.as_deref(), Some(b"bob".as_slice()));
    assert!(publisher.close(Duration::from_secs(30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_kafka_finds_too_large_is_dead_lettered_alone() {
    let stage = Stage::new().await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &["cyd"], 0..1).await;
    let large = format!(r#"{{"number":1,"note":"{}"}}"#, "x".repeat(2 << 20));
    let (large_event, next) = (event("cyd", 1_000), event("cyd", 1));
    let (large_order, next_order) = (large.into_bytes(), order(1));
    let both = tokio::join!(
        publisher.publish_json(&large_event, &large_order),
        publisher.publish_json(&next, &next_order)
    );
    let (Ok(Receipt::DeadLettered { code, at, .. }), Ok(Receipt::Published { .. })) = &both else {
        panic!("{both:?}");
    };
    assert_eq!(*code, Code::TooLarge);
    assert!(matches!(at, LetterPlace::Topic { .. }), "{at:?}");
    publish_all(&publisher, &["cyd"], 2..4).await;
    check_lanes(&stage.read(&orders()).await, &["cyd"], 4);
    let letter = stage.read(&letters()).await.remove(0);
    assert_eq!(letter.headers[headers::DLQ_CODE], "too-large");
    assert!(publisher.close(Duration::from_secs(30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_publisher_refuses_and_says_that_nothing_landed() {
    let stage = Stage::new().await;
    let publisher = stage.publisher().await;
    assert!(publisher.close(Duration::from_secs(30)).await);
    let refused = publisher.publish_json(&event("ann", 0), &order(0)).await;
    let Err(error @ PublishError::Closed { .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(!error.may_have_landed());
}
