//! What a broker refuses, and how it is told apart (invariant **told-apart**).

use bytes::BytesMut;
use evenkeel_broker::Outgoing;
use evenkeel_broker::batch::{Builder, Compression};
use evenkeel_event::TopicId;
use evenkeel_event::clock::{Clock, SystemClock};
use evenkeel_flow::answer::{Class, Refusal};
use evenkeel_flow::{Answer, Trouble};

use crate::brokers::{Bench, PATIENCE, appended, name, on_every_broker};

on_every_broker! {
    an_oversize_batch_is_refused,
    a_bad_checksum_is_refused,
    a_record_without_key_on_a_compacted_topic_is_refused,
    an_unknown_topic_is_told,
    an_unknown_topic_is_told_by_metadata,
}

async fn an_oversize_batch_is_refused(bootstrap: &str) {
    let bench = Bench::with(bootstrap, "oversize", 1, 1, &[("max.message.bytes", "1000")]).await;
    let large = "x".repeat(2000);
    assert_eq!(
        bench.send(&bench.batch(0, 0, &[&large])).await,
        Answer::Refused(Refusal::TooLarge)
    );
    assert_eq!(bench.cluster.batch_bytes_max(&bench.topic).await.unwrap(), 1000);
    // The refused sequence was not used.
    assert_eq!(bench.send(&bench.batch(0, 0, &["small"])).await, appended(0));
}

async fn a_bad_checksum_is_refused(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "checksum").await;
    let mut batch = bench.batch(0, 0, &["value"]);
    let mut bytes = BytesMut::from(batch.bytes.as_ref());
    let last = bytes.len() - 3;
    bytes[last] ^= 0x40;
    batch.bytes = bytes.freeze();
    assert_eq!(bench.send(&batch).await, Answer::Refused(Refusal::Corrupt));
    assert_eq!(bench.values().await, [""; 0]);
}

async fn a_record_without_key_on_a_compacted_topic_is_refused(bootstrap: &str) {
    let bench = Bench::with(bootstrap, "compacted", 1, 1, &[("cleanup.policy", "compact")]).await;
    let mut builder = Builder::new(1 << 20);
    let now = SystemClock::default().now();
    builder.push(Some(b"k"), Some(b"v"), &[], now).unwrap();
    builder.push(None, Some(b"v"), &[], now).unwrap();
    let encoded = builder.finish(Compression::None).unwrap();
    let batch = bench.outgoing(0, encoded.stamp(&bench.stamp(0, 0, 2)).unwrap());
    let leader = bench.cluster.leader(&batch.partition).await.unwrap();
    let sent = bench.cluster.send(leader, &[batch], PATIENCE).await;
    let outcome = &sent.outcomes[0];
    assert_eq!(outcome.answer.class(), Class::DeadLetter, "{outcome:?}");
    assert_eq!(bench.values().await, [""; 0]);
}

async fn an_unknown_topic_is_told(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "known").await;
    let leader = bench.cluster.leader(&bench.partition(0)).await.unwrap();
    let bytes = bench.batch(0, 0, &["value"]).bytes;
    let expected = Answer::Unanswered {
        trouble: Trouble::TopicMissing,
        may_have_landed: false,
    };
    let unknown = Outgoing::new(name("unknown"), TopicId::UNKNOWN, 0, bytes);
    let sent = bench.cluster.send(leader, &[unknown], PATIENCE).await;
    assert_eq!(sent.outcomes[0].answer, expected);
}

async fn an_unknown_topic_is_told_by_metadata(bootstrap: &str) {
    let cluster = crate::brokers::connect(bootstrap).await;
    let error = cluster.topic(&name("unknown")).await.unwrap_err();
    assert!(error.is_topic_missing() && !error.is_outage(), "{error}");
    assert!(error.to_string().contains("evenkeel topic create"), "{error}");
}

/// From version 13 of Produce on a topic goes by its identity, so that one that was created again is not taken for
/// the old one.
#[test]
fn a_topic_that_was_created_again_is_not_the_old_one() {
    crate::brokers::over_apache(|bootstrap| async move {
        let bench = Bench::new(bootstrap, "again").await;
        assert_eq!(bench.send(&bench.batch(0, 0, &["one"])).await, appended(0));
        bench.cluster.delete_topic(&bench.topic).await.unwrap();
        let new = evenkeel_broker::admin::NewTopic {
            name: bench.topic.clone(),
            partitions: 1,
            replication: 1,
            configs: Vec::new(),
        };
        let id = bench.cluster.create_topic(&new).await.unwrap();
        assert_ne!(id, bench.id);
        let answer = bench.send(&bench.batch(0, 1, &["two"])).await;
        let expected = Answer::Unanswered {
            trouble: Trouble::TopicMissing,
            may_have_landed: false,
        };
        assert_eq!(answer, expected);
        assert_eq!(bench.values().await, [""; 0]);
    });
}
