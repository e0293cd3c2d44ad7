//! What the consumer tests play on: a registry that can fail, raw records, a handler that keeps what it got.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel::consume::Options;
use evenkeel::{Consumer, Publisher, Received, Registry};
use evenkeel_broker::Cluster;
use evenkeel_broker::admin::NewTopic;
use evenkeel_event::backoff::Backoff;
use evenkeel_event::clock::SystemClock;
use evenkeel_event::{Header, Record, TopicName, TopicPartition, headers};
use evenkeel_flow::retry::Policy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::stage::{PARTITIONS, PATIENCE, SCHEMA, Stage, orders};

pub(crate) const GROUP: &str = "loyalty";
/// An id whose schema is known only to the registry.
pub(crate) const UNCACHED: i32 = 9;
/// An id whose schema is not Avro.
pub(crate) const FOREIGN: i32 = 11;
/// An id that the registry does not know.
pub(crate) const UNKNOWN: i32 = 99;

/// How the registry answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// 503, by what stands before it.
    Unavailable,
    /// 404, by what stands before it: no error code of a registry's.
    Misrouted,
}

/// A registry whose answers can be changed.
#[derive(Clone)]
pub(crate) struct Answers {
    mood: Arc<Mutex<Mood>>,
    refused: Arc<AtomicUsize>,
}

impl Answers {
    /// Starts a registry and returns it as a client sees it.
    pub(crate) async fn serve() -> (Self, Registry) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Self {
            mood: Arc::new(Mutex::new(Mood::Well)),
            refused: Arc::default(),
        };
        let serving = answers.clone();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    let mut request = vec![0; 4_096];
                    let length = connection.read(&mut request).await.unwrap_or(0);
                    let request = String::from_utf8_lossy(&request[..length]).into_owned();
                    let (status, body) = serving.answer(request.split(' ').nth(1).unwrap_or_default());
                    let answer = format!(
                        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    connection.write_all(answer.as_bytes()).await.ok();
                });
            }
        });
        (answers, Registry::new(url))
    }

    pub(crate) fn turn(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Requests that were answered with neither a schema nor a word about it.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    fn answer(&self, path: &str) -> (u16, String) {
        let mood = *self.mood.lock().unwrap();
        if mood != Mood::Well {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let status = if mood == Mood::Unavailable { 503 } else { 404 };
            return (status, "<html>no backend</html>".to_owned());
        }
        let schema = |id: i32, text: &str| serde_json::json!({"id": id, "schema": text, "version": 1});
        let found = match path {
            "/subjects/orders-value/versions/latest" | "/schemas/ids/7" => schema(7, SCHEMA),
            "/schemas/ids/9" => schema(UNCACHED, SCHEMA),
            "/schemas/ids/11" => serde_json::json!({"schemaType": "PROTOBUF", "schema": "message A {}"}),
            _ => {
                let body = r#"{"error_code":40403,"message":"Schema not found"}"#;
                return (404, body.to_owned());
            }
        };
        (200, found.to_string())
    }
}

/// What a handler got, in its order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Received>>>);

impl Heard {
    pub(crate) fn note(&self, event: &Received) {
        self.0.lock().unwrap().push(event.clone());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn offsets(&self, partition: i32) -> Vec<i64> {
        let heard = self.0.lock().unwrap();
        let of_partition = heard
            .iter()
            .filter(|event| event.partition.partition == partition);
        of_partition.map(|event| event.offset).collect()
    }

    /// The ids of each key's events, in the order in which they came.
    pub(crate) fn by_key(&self) -> BTreeMap<String, Vec<String>> {
        let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in self.0.lock().unwrap().iter() {
            let key = String::from_utf8(event.key.clone().unwrap_or_default().to_vec()).unwrap();
            let id = event.id.as_ref().map(ToString::to_string).unwrap_or_default();
            by_key.entry(key).or_default().push(id);
        }
        by_key
    }
}

/// Options that try again at once.
pub(crate) fn options() -> Options {
    let backoff = Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(2),
    };
    Options {
        retry: Policy {
            attempts_max: 3,
            backoff,
        },
        ..Options::default()
    }
}

/// A consumer that keeps what it gets.
pub(crate) fn listen(publisher: &Publisher, heard: &Heard) -> Consumer {
    let heard = heard.clone();
    let handler = move |event: Received| {
        heard.note(&event);
        async { Ok(()) }
    };
    Consumer::start(publisher, GROUP, vec![orders()], options(), handler).unwrap()
}

pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn letters() -> TopicName {
    TopicName::consume_letters(GROUP).unwrap()
}

pub(crate) fn at(partition: i32) -> TopicPartition {
    TopicPartition::new(orders(), partition)
}

/// A client of the broker beside the publisher's, with the topic created.
pub(crate) async fn cluster(stage: &Stage) -> Cluster {
    let cluster = Cluster::connect(stage.kafka()).await.unwrap();
    let topic = NewTopic {
        name: orders(),
        partitions: PARTITIONS,
        replication: 1,
        configs: Vec::new(),
    };
    cluster.create_topic(&topic).await.unwrap();
    cluster
}

/// An order as it lies on a topic, by the schema `id`.
pub(crate) fn framed(id: i32, number: u8) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(id.to_be_bytes());
    assert!(number < 64, "it is written as one byte");
    bytes.extend([number << 1, 2, b'x']);
    bytes
}

pub(crate) fn record(id: &str, value: Vec<u8>) -> Record {
    Record {
        topic: orders(),
        partition: None,
        key: Some(Bytes::from_static(b"ann")),
        value: Some(value.into()),
        headers: vec![
            Header::new(headers::CE_ID, id.to_owned()),
            Header::new("own", "kept"),
        ],
    }
}

/// Appends records as one batch; gives the first one's offset.
pub(crate) async fn append(cluster: &Cluster, partition: i32, records: &[Record]) -> i64 {
    let clock = SystemClock::default();
    cluster
        .append(&at(partition), records, &clock, PATIENCE)
        .await
        .unwrap()
}

/// Good orders `numbers`, as one batch.
pub(crate) async fn append_orders(cluster: &Cluster, partition: i32, numbers: std::ops::Range<u8>) -> i64 {
    let records: Vec<Record> = numbers
        .map(|number| record(&format!("{partition}-{number}"), framed(7, number)))
        .collect();
    append(cluster, partition, &records).await
}
