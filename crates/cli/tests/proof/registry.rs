//! Registries that the tests serve from their own process.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_broker::{Cluster, Kafka};
use evenkeel_event::clock::SystemClock;
use evenkeel_server::domains::Domains;
use evenkeel_server::journal::MemoryJournal;
use evenkeel_server::platform::{self, Topics};
use evenkeel_server::registry::{Config, Registry, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Events of the demo, as `evenkeel publish --event` takes them.
pub(crate) const EVENTS: [&str; 2] = [
    "order-placed=shop.orders.OrderPlaced",
    "order-cancelled=shop.orders.OrderCancelled",
];
const CONTRACTS: [(&str, &str); 2] = [
    (
        "shop.orders.OrderPlaced",
        include_str!("../../src/demo/order-placed.v1.avsc"),
    ),
    (
        "shop.orders.OrderCancelled",
        include_str!("../../src/demo/order-cancelled.v1.avsc"),
    ),
];

/// A registry with nothing in it, open to nameless callers. Returns its address; it runs as long as the runtime.
pub(crate) async fn empty() -> String {
    let clock = Arc::new(SystemClock::default());
    let patience = Duration::from_secs(60);
    let domains = Arc::new(Domains::follow(Arc::new(MemoryJournal::new()), clock, patience));
    let config = Config {
        dev: true,
        ..Config::default()
    };
    let registry = Registry::start(Arc::new(MemoryJournal::new()), domains, config);
    listen(registry).await
}

/// The registry whose topics on the Kafka at `bootstrap` bear this prefix.
pub(crate) async fn over(bootstrap: &str, prefix: &str) -> String {
    let cluster = Cluster::connect(Kafka::at(bootstrap)).await.unwrap();
    let topics = Topics::with_prefix(prefix, -1).unwrap();
    let clock = Arc::new(SystemClock::default());
    let domains = platform::domains(&cluster, &topics, clock.clone()).await.unwrap();
    let registry = platform::registry(&cluster, &topics, domains, clock, Config::default());
    listen(registry.await.unwrap()).await
}

async fn listen(registry: Arc<Registry>) -> String {
    registry.loaded().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, registry, std::future::pending()));
    url
}

/// Registers version 1 of the demo's contracts for `topic`: an order must have a customer.
pub(crate) async fn register(url: &str, topic: &str) {
    for (record, schema) in CONTRACTS {
        let url = format!("{url}/subjects/{topic}-{record}/versions");
        let asked = tokio::task::spawn_blocking(move || {
            let body = json!({ "schema": schema });
            ureq::post(&url)
                .send_json(&body)
                .unwrap()
                .body_mut()
                .read_json::<Value>()
                .unwrap()
        });
        assert!(asked.await.unwrap()["id"].is_u64(), "{topic}-{record}");
    }
}
