//! The brokers under test, and what every case needs of them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_broker::admin::NewTopic;
use evenkeel_broker::batch::{Builder, Compression};
use evenkeel_broker::fetch::{At, Until};
use evenkeel_broker::{Cluster, Kafka, Outgoing};
use evenkeel_event::clock::{Clock, SystemClock};
use evenkeel_event::{TopicId, TopicName, TopicPartition};
use evenkeel_flow::{Answer, Stamp, Trouble};
use evenkeel_testkit::{Options, kafka_or_skip};

/// Long enough for a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs each case over every broker, as tests named `apache::…`, `older::…` and `embedded::…`.
macro_rules! on_every_broker {
    ($($case:ident),* $(,)?) => {
        mod apache {
            $(#[test] fn $case() { crate::brokers::over_apache(super::$case); })*
        }
        mod older {
            $(#[test] fn $case() { crate::brokers::over_older(super::$case); })*
        }
        mod embedded {
            $(#[test] fn $case() { crate::brokers::over_embedded(super::$case); })*
        }
    };
}
pub(crate) use on_every_broker;

static APACHE: OnceLock<Option<evenkeel_testkit::Kafka>> = OnceLock::new();
static OLDER: OnceLock<Option<evenkeel_testkit::Kafka>> = OnceLock::new();
static EMBEDDED: OnceLock<Embedded> = OnceLock::new();

/// The Apache Kafka that all cases share which leave it standing.
pub(crate) fn apache() -> Option<&'static evenkeel_testkit::Kafka> {
    APACHE
        .get_or_init(|| {
            kafka_or_skip(Options {
                tls: true,
                ..Options::default()
            })
        })
        .as_ref()
}

/// The oldest Apache Kafka that is supported.
fn older() -> Option<&'static evenkeel_testkit::Kafka> {
    OLDER
        .get_or_init(|| {
            kafka_or_skip(Options {
                version: "3.6.2".to_owned(),
                ..Options::default()
            })
        })
        .as_ref()
}

/// An embedded broker with the runtime it runs on.
struct Embedded {
    address: String,
    _broker: evenkeel_embedded::Broker,
    _runtime: tokio::runtime::Runtime,
    _directory: tempfile::TempDir,
}

/// The embedded broker that all cases share.
pub(crate) fn embedded() -> &'static str {
    let embedded = EMBEDDED.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut config = evenkeel_embedded::Config::new(directory.path());
        config.listen = ([127, 0, 0, 1], 0).into();
        let broker = runtime.block_on(evenkeel_embedded::start(config)).unwrap();
        Embedded {
            address: broker.address().to_string(),
            _broker: broker,
            _runtime: runtime,
            _directory: directory,
        }
    });
    &embedded.address
}

pub(crate) fn over_apache<Case: Future<Output = ()>>(case: impl FnOnce(&'static str) -> Case) {
    if let Some(kafka) = apache() {
        block_on(case(kafka.bootstrap()));
    }
}

pub(crate) fn over_older<Case: Future<Output = ()>>(case: impl FnOnce(&'static str) -> Case) {
    if let Some(kafka) = older() {
        block_on(case(kafka.bootstrap()));
    }
}

pub(crate) fn over_embedded<Case: Future<Output = ()>>(case: impl FnOnce(&'static str) -> Case) {
    block_on(case(embedded()));
}

/// Runs `case` on its own runtime.
pub(crate) fn block_on<T>(case: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(case)
}

pub(crate) fn name(prefix: &str) -> TopicName {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    TopicName::new(&format!("{prefix}-{}-{number}", std::process::id())).unwrap()
}

/// A topic with the identity of a producer of its own.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) topic: TopicName,
    pub(crate) id: TopicId,
    pub(crate) producer: i64,
}

impl Bench {
    pub(crate) async fn new(bootstrap: &str, prefix: &str) -> Self {
        Self::with(bootstrap, prefix, 1, 1, &[]).await
    }

    pub(crate) async fn with(
        bootstrap: &str,
        prefix: &str,
        partitions: i32,
        copies: i16,
        configs: &[(&str, &str)],
    ) -> Self {
        let cluster = connect(bootstrap).await;
        let topic = name(prefix);
        let configs = configs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let new = NewTopic {
            name: topic.clone(),
            partitions,
            replication: copies,
            configs,
        };
        let id = cluster.create_topic(&new).await.unwrap();
        let producer = cluster.init_producer_id().await.unwrap().0;
        Self {
            cluster,
            topic,
            id,
            producer,
        }
    }

    pub(crate) fn partition(&self, index: i32) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), index)
    }

    pub(crate) fn stamp(&self, epoch: i16, base_sequence: i32, count: i32) -> Stamp {
        Stamp {
            producer_id: self.producer,
            epoch,
            base_sequence,
            count,
        }
    }

    /// A batch of the values for partition 0, with a stamp.
    pub(crate) fn batch(&self, epoch: i16, sequence: i32, values: &[&str]) -> Outgoing {
        let stamp = self.stamp(epoch, sequence, i32::try_from(values.len()).unwrap());
        self.outgoing(0, encode(values, Compression::None).stamp(&stamp).unwrap())
    }

    pub(crate) fn outgoing(&self, partition: i32, bytes: Bytes) -> Outgoing {
        Outgoing::new(self.topic.clone(), self.id, partition, bytes)
    }

    /// Sends over `cluster` and gives the answer.
    pub(crate) async fn send_over(&self, cluster: &Cluster, batch: &Outgoing) -> Answer {
        self.send_all(cluster, std::slice::from_ref(batch)).await[0]
    }

    /// Sends to the leader of the first batch and gives the answers. A broker may not know yet that it leads a topic
    /// that was just created: what it does not take is sent again, stamp and all.
    pub(crate) async fn send_all(&self, cluster: &Cluster, batches: &[Outgoing]) -> Vec<Answer> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let leader = cluster.leader(&batches[0].partition).await.unwrap();
            let sent = cluster.send(leader, batches, PATIENCE).await;
            let answers: Vec<Answer> = sent.outcomes.iter().map(|outcome| outcome.answer).collect();
            let unaware = answers.iter().any(|answer| {
                matches!(
                    answer,
                    Answer::Unanswered {
                        trouble: Trouble::Leaderless,
                        ..
                    }
                )
            });
            if !unaware || tokio::time::Instant::now() > deadline {
                return answers;
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn send(&self, batch: &Outgoing) -> Answer {
        self.send_over(&self.cluster, batch).await
    }

    /// Every value on partition 0, as text.
    pub(crate) async fn values(&self) -> Vec<String> {
        read_values(&self.cluster, self.partition(0)).await
    }
}

pub(crate) async fn connect(bootstrap: &str) -> Cluster {
    Cluster::connect(settings(bootstrap)).await.unwrap()
}

pub(crate) fn settings(bootstrap: &str) -> Kafka {
    Kafka {
        brokers: bootstrap.split(',').map(str::to_owned).collect(),
        request_timeout_ms: 60_000,
        ..Kafka::default()
    }
}

pub(crate) async fn read_values(cluster: &Cluster, partition: TopicPartition) -> Vec<String> {
    let mut range = cluster.read(partition, At::Earliest, Until::End).await.unwrap();
    let mut values = Vec::new();
    while let Some(piece) = range.next().await.unwrap() {
        for record in piece.records() {
            values.push(String::from_utf8_lossy(record.value.unwrap_or(b"null")).into_owned());
        }
    }
    values
}

pub(crate) fn encode(values: &[&str], compression: Compression) -> evenkeel_broker::batch::Encoded {
    let mut builder = Builder::new(1 << 20);
    let now = SystemClock::default().now();
    for value in values {
        builder
            .push(Some(b"key"), Some(value.as_bytes()), &[], now)
            .unwrap();
    }
    builder.finish(compression).unwrap()
}

pub(crate) const fn appended(offset: i64) -> Answer {
    Answer::Appended { offset: Some(offset) }
}
