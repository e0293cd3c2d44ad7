//! Our side: batches encoded in place, up to five under way per partition.

use std::time::{Duration, Instant};

use evenkeel_broker::admin::NewTopic;
use evenkeel_broker::batch::{Builder, Compression};
use evenkeel_broker::{Cluster, Kafka, Outgoing};
use evenkeel_event::clock::{Clock, SystemClock};
use evenkeel_event::{TopicId, TopicName, TopicPartition};
use evenkeel_flow::{Answer, Stamp};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use crate::{BATCH_BYTES, KEY, Load, VALUE};

const IN_FLIGHT: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn connect(load: &Load) -> Cluster {
    Cluster::connect(Kafka::at(&load.bootstrap)).await.expect("Kafka answers")
}

fn topic(load: &Load) -> TopicName {
    TopicName::new(&load.topic).expect("a topic's name")
}

pub fn create(load: &Load) {
    runtime().block_on(async {
        let new = NewTopic {
            name: topic(load),
            partitions: load.partitions,
            replication: 1,
            configs: Vec::new(),
        };
        connect(load).await.create_topic(&new).await.expect("the topic is created");
    });
}

pub fn delete(load: &Load) {
    runtime().block_on(async {
        connect(load).await.delete_topic(&topic(load)).await.expect("the topic is deleted");
    });
}

/// One partition's stamps.
struct Line {
    cluster: Cluster,
    partition: TopicPartition,
    topic_id: TopicId,
    leader: i32,
    producer_id: i64,
    sequence: i32,
    clock: SystemClock,
}

impl Line {
    async fn open(cluster: &Cluster, load: &Load, producer_id: i64, index: i32) -> Self {
        let partition = TopicPartition::new(topic(load), index);
        Self {
            cluster: cluster.clone(),
            topic_id: cluster.topic(&partition.topic).await.expect("the topic").id,
            leader: cluster.leader(&partition).await.expect("a leader"),
            partition,
            producer_id,
            sequence: 0,
            clock: SystemClock::default(),
        }
    }

    /// A batch of as many of `left` events as fit.
    fn batch(&mut self, left: &mut usize) -> Outgoing {
        let mut builder = Builder::new(BATCH_BYTES);
        let now = self.clock.now();
        while *left > 0 && builder.push(Some(&KEY), Some(&VALUE), &[], now).is_ok() {
            *left -= 1;
        }
        let stamp = Stamp {
            producer_id: self.producer_id,
            epoch: 0,
            base_sequence: self.sequence,
            count: builder.count(),
        };
        self.sequence = stamp.next_sequence();
        let bytes = builder
            .finish(Compression::None)
            .and_then(|encoded| encoded.stamp(&stamp))
            .expect("a batch");
        Outgoing {
            partition: self.partition.clone(),
            topic_id: self.topic_id,
            bytes,
            header: None,
        }
    }

    async fn send(cluster: Cluster, leader: i32, batch: Outgoing) {
        let sent = cluster.send(leader, &[batch], PATIENCE).await;
        assert!(
            matches!(sent.outcomes[0].answer, Answer::Appended { .. }),
            "{:?}",
            sent.outcomes
        );
    }

    async fn run(mut self, mut left: usize) {
        let mut under_way = FuturesOrdered::new();
        while left > 0 {
            let batch = self.batch(&mut left);
            under_way.push_back(Self::send(self.cluster.clone(), self.leader, batch));
            // The first goes alone, as every session's does.
            if self.sequence == 0 || under_way.len() == IN_FLIGHT {
                under_way.next().await;
            }
        }
        while under_way.next().await.is_some() {}
    }
}

pub fn bulk(load: &Load) {
    runtime().block_on(async {
        let cluster = connect(load).await;
        let producer = cluster.init_producer_id().await.expect("a producer id").0;
        let share = load.events / usize::try_from(load.partitions).expect("few partitions");
        let mut tasks = Vec::new();
        for index in 0..load.partitions {
            let line = Line::open(&cluster, load, producer, index).await;
            let extra = if index == 0 { load.events % share.max(1) } else { 0 };
            tasks.push(tokio::spawn(line.run(share + extra)));
        }
        for task in tasks {
            task.await.expect("a partition is done");
        }
    });
}

pub fn singles(load: &Load, count: usize) -> Vec<Duration> {
    runtime().block_on(async {
        let cluster = connect(load).await;
        let producer = cluster.init_producer_id().await.expect("a producer id").0;
        let mut line = Line::open(&cluster, load, producer, 0).await;
        let mut latencies = Vec::with_capacity(count);
        for _ in 0..count {
            let before = Instant::now();
            let batch = line.batch(&mut 1);
            Line::send(cluster.clone(), line.leader, batch).await;
            latencies.push(before.elapsed());
        }
        latencies
    })
}
