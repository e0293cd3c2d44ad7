//! What the tests play on: a store that processes share, an embedded broker that can be stopped and started, a registry,
//! and a reader of what lies on the topic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::{Kafka, TopicName};
use evenkeel_broker::Cluster;
use evenkeel_broker::fetch::{At, Until};
use evenkeel_embedded::Broker;
use evenkeel_embedded::faults::Faults;
use evenkeel_event::{TopicPartition, headers};
use evenkeel_store::{SharedStandby, address};
use evenkeel_testkit::{PostgresServer, postgres_or_skip};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::http::{Response, serve};

/// Longest wait for anything; far beyond what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// A time of an invocation in which everything fits.
pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const APPLICATION: &str = "orders-api";
const SCHEMA: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"number","type":"long"},{"name":"note","type":"string"}]}"#;

/// Environment variables.
pub(crate) type Variables = Vec<(String, String)>;

/// A store for each test, and what holds it.
enum Store {
    Postgres(PostgresServer),
    #[cfg(feature = "aws")]
    Dynamo(evenkeel_testkit::DynamoDb),
}

pub(crate) struct Stage {
    directory: TempDir,
    pub(crate) address: SocketAddr,
    broker: Option<Broker>,
    pub(crate) registry_url: String,
    store: Store,
}

/// A record as it lies on its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) is_marked: bool,
}

impl Stage {
    /// Over PostgreSQL, or `None` where that cannot be had.
    pub(crate) async fn new() -> Option<Self> {
        let server = postgres_or_skip(false, &[])?;
        Some(Self::over(Store::Postgres(server)).await)
    }

    /// Over DynamoDB local, or `None` where that cannot be had.
    #[cfg(feature = "aws")]
    pub(crate) async fn dynamodb() -> Option<Self> {
        let server = evenkeel_testkit::dynamodb_or_skip()?;
        Some(Self::over(Store::Dynamo(server)).await)
    }

    async fn over(store: Store) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut stage = Self {
            directory: TempDir::new().unwrap(),
            address,
            broker: None,
            registry_url: serve_registry(),
            store,
        };
        stage.start_broker().await;
        stage
    }

    /// The variables by which a process finds broker and store.
    pub(crate) fn variables(&self) -> Variables {
        let mut variables = vec![
            ("EVENKEEL_PUBLISH__APPLICATION", APPLICATION.to_owned()),
            ("EVENKEEL_KAFKA__BROKERS", self.address.to_string()),
            ("TMPDIR", self.directory.path().display().to_string()),
        ];
        match &self.store {
            Store::Postgres(server) => variables.push(("EVENKEEL_STANDBY__URL", server.url())),
            #[cfg(feature = "aws")]
            Store::Dynamo(server) => variables.extend([
                ("EVENKEEL_STANDBY__URL", "dynamodb:standby".to_owned()),
                ("AWS_ENDPOINT_URL_DYNAMODB", server.endpoint().to_owned()),
                ("AWS_REGION", "eu-west-1".to_owned()),
                ("AWS_ACCESS_KEY_ID", "test".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ]),
        }
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        variables.into_iter().map(owned).collect()
    }

    pub(crate) fn postgres(&self) -> &PostgresServer {
        match &self.store {
            Store::Postgres(server) => server,
            #[cfg(feature = "aws")]
            Store::Dynamo(_) => panic!("it was started over DynamoDB"),
        }
    }

    /// The store in PostgreSQL, to look into.
    pub(crate) async fn store(&self) -> Arc<dyn SharedStandby> {
        let url = self.postgres().url();
        address::open(&url, APPLICATION, 1 << 30).await.unwrap()
    }

    pub(crate) async fn start_broker(&mut self) {
        let mut config = evenkeel_embedded::Config::new(self.directory.path().join("broker"));
        config.listen = self.address;
        let begun = Instant::now();
        let broker = loop {
            match evenkeel_embedded::start(config.clone()).await {
                Ok(broker) => break broker,
                // Connections of the last one may still hold the port.
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
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

    async fn cluster(&self) -> Cluster {
        let kafka = Kafka::at(self.address.to_string());
        Cluster::connect(kafka).await.unwrap()
    }

    /// How many records lie on the topic.
    pub(crate) async fn count(&self) -> i64 {
        let cluster = self.cluster().await;
        let mut count = 0;
        for partition in 0..PARTITIONS {
            let at = TopicPartition::new(orders(), partition);
            count += cluster.offset(&at, At::Latest).await.unwrap().offset.unwrap();
        }
        count
    }

    /// Every record of the topic, partition by partition.
    pub(crate) async fn read(&self) -> Vec<Seen> {
        let cluster = self.cluster().await;
        let mut all = Vec::new();
        for partition in 0..PARTITIONS {
            let at = TopicPartition::new(orders(), partition);
            let mut range = cluster.read(at, At::Earliest, Until::End).await.unwrap();
            while let Some(piece) = range.next().await.unwrap() {
                for record in piece.records() {
                    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
                    let header = |wanted: &str| {
                        let mut headers = record.headers();
                        headers.find_map(|(name, value)| (name == wanted).then(|| text(value)))
                    };
                    all.push(Seen {
                        id: header(headers::CE_ID).unwrap(),
                        key: text(record.key),
                        is_marked: header(headers::POSSIBLE_DOUBLE).is_some(),
                    });
                }
            }
        }
        all
    }

    /// Each customer's events `0..count` are there once, unmarked, and in order (invariants **once**, **in-order**).
    pub(crate) async fn check(&self, keys: &[String], count: usize) {
        let seen = self.read().await;
        for key in keys {
            let of_key = seen.iter().filter(|record| record.key == *key);
            let ids: Vec<&str> = of_key.map(|record| record.id.as_str()).collect();
            let expected: Vec<String> = (0..count).map(|number| format!("{key}-{number}")).collect();
            assert_eq!(ids, expected);
        }
        assert_eq!(seen.len(), keys.len() * count);
        assert!(!seen.iter().any(|record| record.is_marked));
    }
}

pub(crate) fn orders() -> TopicName {
    TopicName::new("orders").unwrap()
}

/// A registry that knows one schema under one subject. Returns its address.
fn serve_registry() -> String {
    let found =
        serde_json::json!({"subject": "orders-value", "id": 7, "version": 1, "schema": SCHEMA}).to_string();
    let address = serve(move |request| match request.path.as_str() {
        "/subjects/orders-value/versions/latest" | "/schemas/ids/7" => Response::new(200, found.clone()),
        _ => Response::new(404, r#"{"error_code":40401,"message":"Subject not found"}"#),
    });
    format!("http://{address}")
}
