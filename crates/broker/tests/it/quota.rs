//! Quotas of Apache Kafka: a broker that wants nothing for a while gets nothing meanwhile (KIP-219).

use std::time::Duration;

use evenkeel_broker::fetch::{Fetcher, Limits, Position};
use evenkeel_broker::{Cluster, Error};
use evenkeel_flow::{Answer, Trouble};

use crate::brokers::{Bench, apache, appended, block_on, settings};

/// Limits what clients of this name may write and read a second.
fn limit(kafka: &evenkeel_testkit::Kafka, client_id: &str, bytes_per_second: u32) {
    let limits = format!("producer_byte_rate={bytes_per_second},consumer_byte_rate={bytes_per_second}");
    let done = kafka
        .console("kafka-configs")
        .args(["--bootstrap-server", kafka.bootstrap(), "--alter"])
        .args(["--entity-type", "clients", "--entity-name", client_id])
        .args(["--add-config", &limits])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

async fn limited(kafka: &evenkeel_testkit::Kafka, client_id: &str) -> Cluster {
    let mut settings = settings(kafka.bootstrap());
    // Shorter than the pause that the broker asks for.
    settings.request_timeout_ms = 3000;
    client_id.clone_into(&mut settings.client_id);
    Cluster::connect(settings).await.unwrap()
}

#[test]
fn nothing_is_written_to_a_broker_while_it_wants_nothing() {
    let Some(kafka) = apache() else { return };
    limit(kafka, "limited-producer", 12_500);
    block_on(async {
        let bench = Bench::new(kafka.bootstrap(), "quota").await;
        let cluster = limited(kafka, "limited-producer").await;
        let leader = cluster.leader(&bench.partition(0)).await.unwrap();
        let large = "x".repeat(200_000);
        let first = bench.batch(0, 0, &[&large]);
        let sent = cluster.send(leader, &[first], Duration::from_secs(30)).await;
        assert_eq!(
            sent.outcomes[0].answer,
            appended(0),
            "{}",
            sent.outcomes[0].reason
        );
        assert!(sent.throttle > Duration::from_secs(2), "{:?}", sent.throttle);

        // It would be accepted if it were written: a broker takes what comes and asks for patience afterwards.
        let second = bench.batch(0, 1, &["second"]);
        let short = Duration::from_millis(500);
        let sent = cluster.send(leader, std::slice::from_ref(&second), short).await;
        let throttled = Answer::Unanswered {
            trouble: Trouble::Throttled,
            may_have_landed: false,
        };
        assert_eq!(sent.outcomes[0].answer, throttled, "{}", sent.outcomes[0].reason);
        assert_eq!(bench.values().await.len(), 1);

        // In its time it goes, as if nothing had been.
        let sent = cluster.send(leader, &[second], Duration::from_secs(60)).await;
        assert_eq!(
            sent.outcomes[0].answer,
            appended(1),
            "{}",
            sent.outcomes[0].reason
        );
    });
}

#[test]
fn nothing_is_fetched_from_a_broker_while_it_wants_nothing() {
    let Some(kafka) = apache() else { return };
    limit(kafka, "limited-consumer", 5000);
    block_on(async {
        let bench = Bench::new(kafka.bootstrap(), "quota").await;
        // One batch is what the limit allows in its window of ten seconds, two are too many.
        let large = "x".repeat(40_000);
        for sequence in 0..3 {
            let batch = bench.batch(0, sequence, &[&large]);
            assert_eq!(bench.send(&batch).await, appended(sequence.into()));
        }
        let cluster = limited(kafka, "limited-consumer").await;
        let leader = cluster.leader(&bench.partition(0)).await.unwrap();
        let fetcher = Fetcher::new(cluster);
        let mut position = Position {
            partition: bench.partition(0),
            topic_id: bench.id,
            offset: 0,
            leader_epoch: -1,
            last_epoch: -1,
        };
        let limits = Limits {
            wait: Duration::from_millis(100),
            ..Limits::default()
        };
        // A broker over its quota answers with nothing and asks for patience.
        let error = loop {
            match fetcher
                .fetch(leader, std::slice::from_ref(&position), &limits)
                .await
            {
                Ok(fetched) if fetched.first().is_none_or(|one| one.records.is_empty()) => {}
                Ok(_) => position.offset += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Throttled { .. }), "{error}");
        assert_eq!(position.offset, 1);
    });
}
