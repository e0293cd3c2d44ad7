use std::time::Duration;

use evenkeel::publish::{PublishError, Publisher};
use evenkeel::{Receipt, Registry, TopicName};

use crate::stage::{Stage, event, order};

#[tokio::test(flavor = "multi_thread")]
async fn with_the_registry_down_a_publisher_starts_and_publishes() {
    let mut stage = Stage::new().await;
    let publisher = stage.publisher().await;
    assert!(publisher.close(Duration::from_secs(30)).await);
    drop(publisher);
    stage.registry = Registry::new("http://127.0.0.1:1");
    let publisher = loop {
        if let Ok(publisher) = Publisher::start(stage.config()).await {
            break publisher;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let receipt = publisher.publish_json(&event("ann", 0), &order(0)).await;
    assert!(matches!(receipt, Ok(Receipt::Published { .. })), "{receipt:?}");
    assert!(publisher.close(Duration::from_secs(30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_schema_is_an_error_and_no_dead_letter() {
    let stage = Stage::new().await;
    let publisher = stage.publisher().await;
    let mut unknown = event("ann", 0);
    unknown.topic = TopicName::new("unheard-of").unwrap();
    let refused = publisher.publish_json(&unknown, &order(0)).await;
    let Err(PublishError::SchemaUnavailable { source, .. }) = &refused else {
        panic!("{refused:?}");
    };
    assert!(source.is_unknown());
    assert!(publisher.close(Duration::from_secs(30)).await);
}
