//! Credentials that run out while they are in use (KIP-368): fresh connections take over before that, and nobody who
//! publishes or consumes notices. A broker closes a connection on which something comes after its time.

use std::time::Duration;

use evenkeel_broker::config::Mechanism;
use evenkeel_broker::group::{Consumer, Event};
use evenkeel_broker::{Cluster, Kafka};
use evenkeel_flow::Answer;
use evenkeel_testkit::{Listener, Options, kafka_or_skip};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::access::{Unsigned, secured, user};
use crate::brokers::{Bench, PATIENCE, block_on};
use crate::group_basics::{group, options};

/// How long credentials hold at the broker.
const LIFETIME: Duration = Duration::from_secs(3);
const LIFETIMES: u32 = 3;
/// Longest wait for one answer.
const ATTEMPT: Duration = Duration::from_secs(20);

#[test]
fn credentials_that_run_out_are_renewed_while_events_flow() {
    let lifetime = LIFETIME.as_millis().to_string();
    let Some(kafka) = kafka_or_skip(Options {
        tls: true,
        properties: vec![("connections.max.reauth.ms".to_owned(), lifetime)],
        ..Options::default()
    }) else {
        return;
    };
    block_on(async {
        let mut scram = secured(&kafka, Listener::SaslSsl);
        scram.sasl = Some(user(&kafka, Mechanism::ScramSha512));
        let mut bearer = secured(&kafka, Listener::SaslSsl);
        bearer.sasl = Some(user(&kafka, Mechanism::OauthBearer));
        bearer.token_provider = Some(Unsigned::new(&kafka, false));
        tokio::join!(
            events_flow(&kafka, scram, "scram"),
            events_flow(&kafka, bearer, "bearer")
        );
    });
}

/// Publishes one event after the other over several lifetimes, without a second attempt for any, while a consumer that
/// is never told of a change reads and commits them.
async fn events_flow(kafka: &evenkeel_testkit::Kafka, settings: Kafka, label: &str) {
    let mut bench = Bench::new(kafka.bootstrap(), label).await;
    bench.cluster = Cluster::connect(settings).await.unwrap();
    let consumer = Consumer::join(&bench.cluster, &group(), vec![bench.topic.clone()], options());
    let (told, end) = watch::channel(None);
    let publishing = async {
        let until = Instant::now() + LIFETIME * LIFETIMES;
        let leader = bench.cluster.leader(&bench.partition(0)).await.unwrap();
        let mut sequence = 0;
        while Instant::now() < until {
            let batch = bench.batch(0, sequence, &["event"]);
            let sent = bench.cluster.send(leader, &[batch], ATTEMPT).await;
            let offset = Some(i64::from(sequence));
            assert_eq!(
                sent.outcomes[0].answer,
                Answer::Appended { offset },
                "{}",
                sent.outcomes[0].reason
            );
            sequence += 1;
            // Slowly, so that connections are idle when their time comes as well as in use.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        told.send_replace(Some(i64::from(sequence)));
    };
    tokio::join!(publishing, reads_until(consumer, end));
}

async fn reads_until(mut consumer: Consumer, mut end: watch::Receiver<Option<i64>>) {
    let (mut position, mut generations) = (0, Vec::new());
    while end.borrow().is_none_or(|end| position < end) {
        let event = tokio::select! {
            event = timeout(PATIENCE, consumer.next()) => event.expect("an event in time"),
            // All of them may be read already when the end becomes known.
            _ = end.changed() => continue,
        };
        match event.unwrap().expect("the consumer is open") {
            Event::Assigned { generation, .. } => generations.push(generation),
            Event::Records(delivery) => {
                for record in delivery.records() {
                    assert_eq!(record.offset, position);
                    position += 1;
                }
                let mark = (delivery.claim().clone(), delivery.end());
                consumer.commit(vec![mark]).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(generations.len(), 1, "the group was divided anew");
    consumer.close().await.unwrap();
}
