//! Their side: librdkafka through rdkafka, idempotent, with callbacks from its own polling thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, FutureProducer, FutureRecord, Producer, ProducerContext, ThreadedProducer,
};

use crate::{BATCH_BYTES, KEY, Load, VALUE};

#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "an event was not delivered");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn config(load: &Load, linger_ms: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &load.bootstrap)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", linger_ms)
        .set("batch.size", BATCH_BYTES.to_string())
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "1048576");
    config
}

pub fn bulk(load: &Load) {
    let count = Count::default();
    let producer: ThreadedProducer<Count> = config(load, "5")
        .create_with_context(count.clone())
        .expect("a producer");
    for event in 0..load.events {
        let partition = i32::try_from(event).unwrap_or(0) % load.partitions;
        let mut record = BaseRecord::to(&load.topic).partition(partition).key(&KEY).payload(&VALUE);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
    }
    producer.flush(Duration::from_secs(60)).expect("everything is sent");
    assert_eq!(count.0.load(Ordering::Relaxed), load.events);
}

pub fn singles(load: &Load, count: usize) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let producer: FutureProducer = config(load, "0").create().expect("a producer");
        let mut latencies = Vec::with_capacity(count);
        for _ in 0..count {
            let record = FutureRecord::to(&load.topic).partition(0).key(&KEY).payload(&VALUE);
            let before = Instant::now();
            producer
                .send(record, Duration::from_secs(10))
                .await
                .expect("an event is delivered");
            latencies.push(before.elapsed());
        }
        latencies
    })
}
