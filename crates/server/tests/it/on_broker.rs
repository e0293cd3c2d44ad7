//! The registry over a broker: restarts, outages, lost answers.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use evenkeel_broker::{Cluster, Kafka};
use evenkeel_embedded::proxy::{Api as KafkaApi, Proxy};
use evenkeel_event::clock::SystemClock;
use evenkeel_server::platform::{self, Topics};
use evenkeel_server::registry::Config;
use serde_json::json;

use crate::api::{Api, order};
use crate::journals::embedded;

async fn start(bootstrap: &str) -> Api {
    let cluster = Cluster::connect(Kafka::at(bootstrap)).await.unwrap();
    let topics = Topics::with_prefix("test.", 1).unwrap();
    let clock = Arc::new(SystemClock::default());
    let domains = platform::domains(&cluster, &topics, clock.clone()).await.unwrap();
    let config = Config {
        dev: true,
        write_timeout: Duration::from_secs(60),
    };
    let registry = platform::registry(&cluster, &topics, Arc::clone(&domains), clock, config)
        .await
        .unwrap();
    Api::over(registry, domains).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_everything_finds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded(folder.path()).await;
    let mut api = start(&broker.address().to_string()).await;
    assert_eq!(
        api.register("orders-value", &order(&["id"])).await.1,
        json!({"id": 1})
    );
    assert_eq!(
        api.register("orders-value", &order(&["id", "a?"])).await.1,
        json!({"id": 2})
    );
    let token = api.domains.create("loyalty", false).await.unwrap();
    drop(api);
    broker.stop().await.unwrap();
    let broker = embedded(folder.path()).await;
    let mut api = start(&broker.address().to_string()).await;
    assert_eq!(api.get("/subjects/orders-value/versions").await.1, json!([1, 2]));
    api.act_as(Some(format!("Bearer {}", token.reveal())));
    assert_eq!(
        api.register("orders-value", &order(&["id", "b?"])).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        api.register("points-value", &order(&["points"])).await.1,
        json!({"id": 3})
    );
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded(folder.path()).await;
    let proxy = Proxy::start(&broker.address().to_string()).unwrap();
    let mut api = start(proxy.bootstrap()).await;
    api.register("other-value", r#""int""#).await;
    for (number, field) in (2..6).zip(["a", "b", "c", "d"]) {
        proxy.drop_responses(KafkaApi::PRODUCE, 2).await;
        assert_eq!(
            api.register(&format!("{field}-value"), &order(&[field])).await.1,
            json!({"id": number})
        );
    }
    assert!(proxy.dropped() > 0, "no answer was lost");
    // Every record is there once: a registry made of the log alone says the same.
    let mut again = start(&broker.address().to_string()).await;
    for path in [
        "/subjects",
        "/subjects/d-value/versions",
        "/schemas/ids/5/versions",
    ] {
        assert_eq!(again.get(path).await, api.get(path).await);
    }
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_holds_writes_up_and_reads_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded(folder.path()).await;
    let proxy = Proxy::start(&broker.address().to_string()).unwrap();
    let mut api = start(proxy.bootstrap()).await;
    api.register("orders-value", &order(&["id"])).await;
    proxy.cut().await;
    let router = api.router.clone();
    let writing = tokio::spawn(async move {
        let body = json!({"schema": order(&["id", "a?"])}).to_string();
        let request = axum::http::Request::post("/subjects/orders-value/versions");
        let request = request.body(axum::body::Body::from(body)).unwrap();
        tower::ServiceExt::oneshot(router, request)
            .await
            .unwrap()
            .status()
    });
    assert_eq!(
        api.get("/subjects/orders-value/versions/1").await.0,
        StatusCode::OK
    );
    proxy.restore().await;
    // It was held up, or told that it could not be done; asking again does it.
    let status = writing.await.unwrap();
    assert!(
        status == StatusCode::OK || status == StatusCode::INTERNAL_SERVER_ERROR,
        "{status}"
    );
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let (status, answer) = api.register("orders-value", &order(&["id", "a?"])).await;
        if status == StatusCode::OK {
            assert_eq!(answer, json!({"id": 2}));
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer}");
    }
    assert_eq!(api.get("/subjects/orders-value/versions").await.1, json!([1, 2]));
    broker.stop().await.unwrap();
}
