//! What the tests play on: an embedded broker that can be stopped and started, a registry, a publisher, a reader.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel::publish::Receipt;
use evenkeel::{Config, Event, EventId, EventType, Kafka, NewTopics, Publisher, Registry, TopicName};
use evenkeel_broker::Cluster;
use evenkeel_broker::fetch::{At, Until};
use evenkeel_embedded::Broker;
use evenkeel_embedded::faults::Faults;
use evenkeel_embedded::proxy::Proxy;
use evenkeel_event::clock::{Clock as _, SystemClock};
use evenkeel_event::{TopicPartition, headers};
use evenkeel_store::{AlarmKind, Alarms};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

pub(crate) const PARTITIONS: i32 = 3;
/// Longest wait for anything; far beyond what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// An order: its number must not be negative by type, its note is free.
pub(crate) const SCHEMA: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"number","type":"long"},{"name":"note","type":"string"}]}"#;

pub(crate) struct Stage {
    pub(crate) directory: TempDir,
    pub(crate) address: SocketAddr,
    broker: Option<Broker>,
    pub(crate) registry: Registry,
    pub(crate) registry_url: String,
    /// How long the broker remembers a producer, where a test wants it to forget soon.
    pub(crate) producer_memory: Option<Duration>,
    /// Stands before the broker, where a test wants it.
    pub(crate) proxy: Option<Proxy>,
}

/// A record as it lies on its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) id: String,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Bytes,
    pub(crate) headers: BTreeMap<String, String>,
}

/// Settings of the application whose events all tests publish.
pub(crate) fn config(kafka: Kafka, directory: impl Into<PathBuf>, registry: Registry) -> Config {
    let mut config = Config::new("orders-api", kafka, directory);
    config.registry = Some(registry);
    config.event_types = vec![EventType::new("order.placed", orders())];
    config.new_topics = Some(NewTopics {
        partitions: PARTITIONS,
        replication: 1,
    });
    config
}

impl Stage {
    /// With a broker that runs.
    pub(crate) async fn new() -> Self {
        let mut stage = Self::dark().await;
        stage.start_broker().await;
        stage
    }

    /// With a broker that does not run yet.
    pub(crate) async fn dark() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry_url = serve_registry().await;
        Self {
            directory: TempDir::new().unwrap(),
            address: free.local_addr().unwrap(),
            broker: None,
            registry: Registry::new(&registry_url),
            registry_url,
            producer_memory: None,
            proxy: None,
        }
    }

    /// With a broker that runs behind a fault proxy.
    pub(crate) async fn proxied() -> Self {
        let mut stage = Self::new().await;
        stage.proxy = Some(Proxy::start(&stage.address.to_string()).unwrap());
        stage
    }

    pub(crate) async fn start_broker(&mut self) {
        let mut config = evenkeel_embedded::Config::new(self.path("broker"));
        config.listen = self.address;
        if let Some(memory) = self.producer_memory {
            config.producer_id_expiration = memory;
        }
        let start = Instant::now();
        let broker = loop {
            match evenkeel_embedded::start(config.clone()).await {
                Ok(broker) => break broker,
                // Connections of the last one may still hold the port.
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.broker = Some(broker);
    }

    pub(crate) async fn stop_broker(&mut self) {
        self.broker.take().unwrap().stop().await.unwrap();
    }

    /// How to break the broker that runs.
    pub(crate) fn faults(&self) -> Faults {
        self.broker.as_ref().unwrap().faults()
    }

    /// What stands against the application, as its operator sees it: kinds and partitions.
    pub(crate) fn alarms(&self) -> Vec<(AlarmKind, Option<i32>)> {
        let alarms = Alarms::read(&self.path("application")).unwrap();
        alarms
            .all()
            .iter()
            .map(|alarm| (alarm.kind, alarm.partition))
            .collect()
    }

    /// Waits until an operator sees this.
    pub(crate) async fn alarmed(&self, wanted: &[(AlarmKind, Option<i32>)]) {
        let start = Instant::now();
        while self.alarms() != wanted {
            assert!(start.elapsed() < PATIENCE, "{:?}", self.alarms());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn kafka(&self) -> Kafka {
        Kafka::at(self.address.to_string())
    }

    pub(crate) fn config(&self) -> Config {
        let kafka = match &self.proxy {
            Some(proxy) => Kafka::at(proxy.bootstrap()),
            None => self.kafka(),
        };
        config(kafka, self.path("application"), self.registry.clone())
    }

    pub(crate) async fn publisher(&self) -> Publisher {
        Publisher::start(self.config()).await.unwrap()
    }

    /// Every record of a topic, partition by partition.
    pub(crate) async fn read(&self, topic: &TopicName) -> Vec<Seen> {
        let cluster = Cluster::connect(self.kafka()).await.unwrap();
        let partitions = cluster.topic(topic).await.unwrap().partitions.len();
        let mut all = Vec::new();
        for partition in 0..i32::try_from(partitions).unwrap() {
            let at = TopicPartition::new(topic.clone(), partition);
            let mut range = cluster.read(at, At::Earliest, Until::End).await.unwrap();
            while let Some(piece) = range.next().await.unwrap() {
                for record in piece.records() {
                    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
                    let headers: BTreeMap<String, String> = record
                        .headers()
                        .map(|(name, value)| (name.into_owned(), text(value)))
                        .collect();
                    all.push(Seen {
                        partition,
                        offset: record.offset,
                        id: headers.get(headers::CE_ID).cloned().unwrap_or_default(),
                        key: record.key.map(Bytes::copy_from_slice),
                        value: Bytes::copy_from_slice(record.value.unwrap()),
                        headers,
                    });
                }
            }
        }
        all
    }

    /// Waits until nothing is parked.
    pub(crate) async fn drained(&self, publisher: &Publisher) {
        let start = Instant::now();
        while publisher.parked().await.unwrap().events > 0 {
            assert!(start.elapsed() < PATIENCE, "{:?}", publisher.parked().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) fn orders() -> TopicName {
    TopicName::new("orders").unwrap()
}

pub(crate) fn letters() -> TopicName {
    TopicName::publish_letters("orders-api").unwrap()
}

/// The event `number` of the customer `key`.
pub(crate) fn event(key: &str, number: usize) -> Event {
    let now = SystemClock::default().now();
    let id = EventId::new(&format!("{key}-{number}")).unwrap();
    let mut event = Event::new(id, "/orders-api", "order.placed", now, orders());
    event.key = Some(Bytes::from(key.to_owned()));
    event
}

pub(crate) fn order(number: usize) -> Vec<u8> {
    format!(r#"{{"number":{number},"note":"as it lies"}}"#).into_bytes()
}

/// Publishes the events `numbers` of each of these customers, each customer's one after another.
pub(crate) async fn publish_all(
    publisher: &Publisher,
    keys: &[&'static str],
    numbers: std::ops::Range<usize>,
) -> BTreeMap<String, Receipt> {
    let mut tasks = Vec::new();
    for key in keys {
        let (publisher, key, numbers) = (publisher.clone(), *key, numbers.clone());
        tasks.push(tokio::spawn(async move {
            let mut receipts = Vec::new();
            for number in numbers {
                let event = event(key, number);
                let receipt = publisher.publish_json(&event, &order(number)).await.unwrap();
                receipts.push((event.id.to_string(), receipt));
            }
            receipts
        }));
    }
    let mut all = BTreeMap::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all
}

/// Each customer's events `0..count` are there once, unmarked, and in order.
pub(crate) fn check_lanes(seen: &[Seen], keys: &[&str], count: usize) {
    for key in keys {
        let ids: Vec<&str> = seen
            .iter()
            .filter(|record| record.key.as_deref() == Some(key.as_bytes()))
            .map(|record| record.id.as_str())
            .collect();
        let expected: Vec<String> = (0..count).map(|number| format!("{key}-{number}")).collect();
        assert_eq!(ids, expected);
    }
    assert_eq!(seen.len(), keys.len() * count);
    assert!(
        seen.iter()
            .all(|record| !record.headers.contains_key(headers::POSSIBLE_DOUBLE))
    );
}

/// A registry that knows one schema under one subject. Returns its address.
pub(crate) async fn serve_registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let found = serde_json::json!({"subject": "orders-value", "id": 7, "version": 1, "schema": SCHEMA});
    let found = Arc::new(found.to_string());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let found = found.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 4_096];
                let length = connection.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let is_known = request.starts_with("GET /subjects/orders-value/versions/latest ")
                    || request.starts_with("GET /schemas/ids/7 ");
                let (status, body) = if is_known {
                    ("200 OK", found.as_str())
                } else {
                    (
                        "404 Not Found",
                        r#"{"error_code":40401,"message":"Subject not found"}"#,
                    )
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                connection.write_all(answer.as_bytes()).await.ok();
            });
        }
    });
    url
}

/// A publisher over the directory of one that was dropped, whose engine may still let go of it.
pub(crate) async fn restarted(stage: &Stage) -> Publisher {
    started(stage.config()).await
}

/// As [`restarted`], with these settings.
pub(crate) async fn started(config: Config) -> Publisher {
    let start = Instant::now();
    loop {
        match Publisher::start(config.clone()).await {
            Ok(publisher) => return publisher,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
