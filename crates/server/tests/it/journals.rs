//! One suite over every journal: in memory, on the embedded broker, on Apache Kafka.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_broker::{Cluster, Kafka};
use evenkeel_embedded::Broker;
use evenkeel_event::TopicName;
use evenkeel_event::clock::SystemClock;
use evenkeel_server::journal::{Entry, Error, Journal, KafkaJournal, MemoryJournal, Topic};
use evenkeel_testkit::{Options, kafka_or_skip};

pub(crate) async fn embedded(folder: &Path) -> Broker {
    let mut config = evenkeel_embedded::Config::new(folder);
    config.listen = "127.0.0.1:0".parse().unwrap();
    evenkeel_embedded::start(config).await.unwrap()
}

async fn open(bootstrap: &str, name: &str) -> Result<KafkaJournal, evenkeel_broker::Error> {
    let cluster = Cluster::connect(Kafka::at(bootstrap)).await.unwrap();
    let name = TopicName::new(name).unwrap();
    let patience = Duration::from_secs(60);
    let topic = Topic {
        name,
        replication: 1,
        fence: "fence".into(),
        patience,
    };
    KafkaJournal::open(cluster, topic, Arc::new(SystemClock::default())).await
}

fn entry(number: usize) -> Entry {
    let value = (!number.is_multiple_of(7)).then(|| format!("value {number}").into());
    Entry {
        key: format!("key {}", number % 10).into(),
        value,
    }
}

/// Everything from an offset to the present end.
async fn read_all(journal: &dyn Journal, from: i64) -> Vec<Entry> {
    let (mut next, mut entries) = (from, Vec::new());
    let end = journal.end().await.unwrap();
    while next < end {
        let chunk = journal.read(next).await.unwrap();
        assert!(chunk.next >= next && chunk.records.iter().all(|record| record.offset >= next));
        next = chunk.next;
        entries.extend(chunk.records.into_iter().map(|record| Entry {
            key: record.key.unwrap(),
            value: record.value,
        }));
    }
    entries
}

async fn conforms(journal: &dyn Journal, again: &dyn Journal) {
    assert_eq!(journal.end().await.unwrap(), 0);
    let written: Vec<Entry> = (0..100).map(entry).collect();
    for (offset, one) in (0_i64..).zip(&written) {
        assert_eq!(journal.append(one.clone()).await.unwrap(), offset);
    }
    journal.settle().await.unwrap();
    assert_eq!(
        journal.end().await.unwrap(),
        100,
        "settling what is settled writes nothing"
    );
    assert_eq!(read_all(journal, 0).await, written);
    assert_eq!(read_all(journal, 57).await, written[57..]);
    assert_eq!(read_all(again, 0).await, written);
    // A reader at the end is woken by what comes.
    let (read, appended) = tokio::join!(again.read(100), journal.append(entry(100)));
    assert_eq!(appended.unwrap(), 100);
    let mut chunk = read.unwrap();
    while chunk.records.is_empty() {
        chunk = again.read(chunk.next).await.unwrap();
    }
    assert_eq!((chunk.records[0].offset, chunk.next), (100, 101));
    assert!(matches!(
        journal.read(1_000).await,
        Err(Error::OutOfRange { offset: 1_000, .. })
    ));
}

#[tokio::test]
async fn in_memory() {
    let journal = MemoryJournal::new();
    conforms(&journal, &journal.clone()).await;
}

#[tokio::test]
async fn on_the_embedded_broker() {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded(folder.path()).await;
    let bootstrap = broker.address().to_string();
    conforms(
        &open(&bootstrap, "log").await.unwrap(),
        &open(&bootstrap, "log").await.unwrap(),
    )
    .await;
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn on_apache_kafka() {
    let Some(kafka) = kafka_or_skip(Options::default()) else {
        return;
    };
    let bootstrap = kafka.bootstrap().to_owned();
    conforms(
        &open(&bootstrap, "log").await.unwrap(),
        &open(&bootstrap, "log").await.unwrap(),
    )
    .await;
}

#[tokio::test]
async fn a_topic_of_several_partitions_is_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded(folder.path()).await;
    let bootstrap = broker.address().to_string();
    let cluster = Cluster::connect(Kafka::at(&bootstrap)).await.unwrap();
    let name = TopicName::new("wide").unwrap();
    let new = evenkeel_broker::admin::NewTopic {
        name,
        partitions: 2,
        replication: 1,
        configs: Vec::new(),
    };
    cluster.create_topic(&new).await.unwrap();
    let refused = open(&bootstrap, "wide").await.unwrap_err().to_string();
    assert!(refused.contains("has 2 partitions"), "{refused}");
    broker.stop().await.unwrap();
}
