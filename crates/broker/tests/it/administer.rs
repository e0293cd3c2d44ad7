//! Topics, settings, groups and offsets.

use std::time::Duration;

use evenkeel_broker::Error;
use evenkeel_broker::admin::{Committed, Lag, NewTopic, Resource};
use evenkeel_broker::batch::Compression;
use evenkeel_broker::group::{Consumer, Event, Options};

use evenkeel_flow::{Answer, Trouble};

use crate::brokers::{
    Bench, PATIENCE, apache, appended, block_on, connect, encode, name, on_every_broker, settings,
};
use crate::group_basics::options;

on_every_broker! {
    topics_are_created_listed_and_deleted,
    settings_are_read,
    the_cluster_describes_itself,
    offsets_of_a_group_are_kept,
    settings_are_changed_and_partitions_added,
    offsets_of_a_group_are_deleted,
    a_group_shows_who_reads_what,
}

async fn topics_are_created_listed_and_deleted(bootstrap: &str) {
    let bench = Bench::with(bootstrap, "admin", 3, 1, &[]).await;
    let again = NewTopic {
        name: bench.topic.clone(),
        partitions: 1,
        replication: 1,
        configs: Vec::new(),
    };
    let error = bench.cluster.create_topic(&again).await.unwrap_err();
    assert!(error.is_already_there() && !error.is_outage(), "{error}");
    let topics = bench.cluster.topics().await.unwrap();
    let found = topics.iter().find(|topic| topic.name == bench.topic).unwrap();
    assert_eq!(
        (found.id, found.partitions.len(), found.internal),
        (bench.id, 3, false)
    );
    bench.cluster.delete_topic(&bench.topic).await.unwrap();
    let error = learned(async || bench.cluster.topic_anew(&bench.topic).await.err()).await;
    assert!(error.is_topic_missing(), "{error}");
    let error = bench.cluster.delete_topic(&name("never")).await.unwrap_err();
    assert!(error.is_topic_missing(), "{error}");
}

async fn settings_are_read(bootstrap: &str) {
    let bench = Bench::with(bootstrap, "settings", 1, 1, &[("retention.ms", "12345")]).await;
    let topic = Resource::Topic(bench.topic.clone());
    let settings = bench.cluster.settings(&topic, &["retention.ms"]).await.unwrap();
    assert_eq!(settings[0].value.as_deref(), Some("12345"));
    assert!(settings[0].own && !settings[0].sensitive);
    let all = bench.cluster.settings(&topic, &[]).await.unwrap();
    assert!(all.iter().any(|setting| setting.name == "max.message.bytes"));
    let expiry = bench.cluster.producer_expiry().await;
    assert_eq!(expiry, Some(Duration::from_hours(24)));
    let missing = Resource::Topic(name("missing"));
    assert!(
        bench
            .cluster
            .settings(&missing, &[])
            .await
            .unwrap_err()
            .is_topic_missing()
    );
}

async fn the_cluster_describes_itself(bootstrap: &str) {
    let cluster = connect(bootstrap).await;
    let description = cluster.describe().await.unwrap();
    assert_eq!(description.nodes.len(), 1);
    assert_eq!(description.nodes[0].address, bootstrap);
    assert_eq!(cluster.metadata().cluster_id, Some(description.id));
    let node = description.nodes[0].id;
    let found = cluster.log_dirs().await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].node, found[0].error), (node, None));
    let (usable, total) = (found[0].usable_bytes.unwrap(), found[0].total_bytes.unwrap());
    assert!(0 < usable && usable < total, "{usable} of {total}");
}

async fn offsets_of_a_group_are_kept(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "group").await;
    bench.send(&bench.batch(0, 0, &["a", "b", "c"])).await;
    let group = bench.topic.to_string();
    assert_eq!(bench.cluster.committed(&group).await.unwrap(), []);
    let committed = Committed {
        partition: bench.partition(0),
        offset: 1,
        leader_epoch: -1,
        metadata: "by hand".to_owned(),
    };
    bench
        .cluster
        .set_offsets(&group, std::slice::from_ref(&committed))
        .await
        .unwrap();
    assert_eq!(bench.cluster.committed(&group).await.unwrap(), [committed]);
    let lag = Lag {
        partition: bench.partition(0),
        committed: 1,
        end: 3,
    };
    assert_eq!(lag.behind(), 2);
    assert_eq!(bench.cluster.lag(&group).await.unwrap(), [lag]);
    let groups = bench.cluster.groups().await.unwrap();
    assert!(groups.iter().any(|summary| summary.id == group));
    let described = bench.cluster.group(&group).await.unwrap();
    assert_eq!((described.state.as_str(), described.members.len()), ("Empty", 0));
    bench.cluster.delete_group(&group).await.unwrap();
    assert_eq!(bench.cluster.committed(&group).await.unwrap(), []);
}

async fn settings_are_changed_and_partitions_added(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "changed").await;
    let topic = Resource::Topic(bench.topic.clone());
    let retention = async || {
        let settings = bench.cluster.settings(&topic, &["retention.ms"]).await.unwrap();
        settings[0].value.clone().unwrap()
    };
    let default = retention().await;
    for (value, expected) in [(Some("54321"), "54321"), (None, default.as_str())] {
        let changes = [("retention.ms", value)];
        bench
            .cluster
            .change_settings(&bench.topic, &changes)
            .await
            .unwrap();
        learned(async || (retention().await == expected).then_some(())).await;
    }
    let wrong = [("retention.ms", Some("soon"))];
    let error = bench
        .cluster
        .change_settings(&bench.topic, &wrong)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused { code: 40, .. }), "{error}");
    bench.cluster.create_partitions(&bench.topic, 4).await.unwrap();
    learned(async || {
        let topic = bench.cluster.topic_anew(&bench.topic).await.unwrap();
        (topic.partitions.len() == 4).then_some(())
    })
    .await;
    let bytes = encode(&["new"], Compression::None)
        .stamp(&bench.stamp(0, 0, 1))
        .unwrap();
    assert_eq!(bench.send(&bench.outgoing(3, bytes)).await, appended(0));
    let error = bench
        .cluster
        .create_partitions(&bench.topic, 4)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused { code: 37, .. }), "{error}");
}

/// What `look` finds once the broker that answers has learned of a change: the controller took it a little earlier.
async fn learned<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "not learned in {PATIENCE:?}"
        );
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_setting_is_changed_although_the_node_that_would_be_asked_has_died() {
    let three = evenkeel_testkit::Options {
        nodes: 3,
        ..Default::default()
    };
    let Some(kafka) = evenkeel_testkit::kafka_or_skip(three) else {
        return;
    };
    block_on(async {
        let bench = Bench::new(kafka.bootstrap(), "headless").await;
        let named = bench.cluster.metadata().controller.expect("a controller");
        kafka.kill(u32::try_from(named).unwrap());
        let changes = [("retention.ms", Some("54321"))];
        let start = std::time::Instant::now();
        // The nodes that are left may have to elect who decides first, and not answer meanwhile.
        while let Err(error) = bench.cluster.change_settings(&bench.topic, &changes).await {
            assert!(!matches!(error, Error::Unreachable { .. }), "{error}");
            assert!(start.elapsed() < PATIENCE, "{error}");
        }
    });
}

async fn offsets_of_a_group_are_deleted(bootstrap: &str) {
    let bench = Bench::with(bootstrap, "forgotten", 2, 1, &[]).await;
    let group = bench.topic.to_string();
    let first = bench.partition(0);
    let error = bench
        .cluster
        .delete_offsets(&group, std::slice::from_ref(&first))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused { code: 69, .. }), "{error}");
    let committed = |partition: i32| Committed {
        partition: bench.partition(partition),
        offset: 0,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let both = [committed(0), committed(1)];
    bench.cluster.set_offsets(&group, &both).await.unwrap();
    bench.cluster.delete_offsets(&group, &[first]).await.unwrap();
    assert_eq!(bench.cluster.committed(&group).await.unwrap(), [committed(1)]);
}

async fn a_group_shows_who_reads_what(bootstrap: &str) {
    let bench = Bench::with(bootstrap, "shown", 2, 1, &[]).await;
    let group = bench.topic.to_string();
    let options = Options {
        instance: Some("one".to_owned()),
        ..options()
    };
    let topics = vec![bench.topic.clone()];
    let mut consumer = Consumer::join(&bench.cluster, &group, topics, options);
    while !matches!(consumer.next().await.unwrap(), Some(Event::Assigned { .. })) {}
    let shown = bench.cluster.group(&group).await.unwrap();
    assert_eq!((shown.state.as_str(), shown.members.len()), ("Stable", 1));
    assert_eq!(shown.members[0].instance.as_deref(), Some("one"));
    assert_eq!(
        shown.members[0].partitions,
        [bench.partition(0), bench.partition(1)]
    );
    let error = bench
        .cluster
        .delete_offsets(&group, &[bench.partition(0)])
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Refused { code: 86, .. }),
        "a member reads the topic: {error}"
    );
    consumer.close().await.unwrap();
}

/// A quota is told with the answer, and obeyed before the next request.
#[test]
fn a_quota_is_told_and_obeyed() {
    let Some(kafka) = apache() else { return };
    block_on(async {
        let bench = Bench::new(kafka.bootstrap(), "quota").await;
        let client = bench.topic.to_string();
        let status = kafka
            .console("kafka-configs")
            .args(["--bootstrap-server", kafka.bootstrap(), "--alter"])
            .args(["--entity-type", "clients", "--entity-name", &client])
            .args(["--add-config", "producer_byte_rate=40000"])
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        let limited = evenkeel_broker::Cluster::connect(evenkeel_broker::Kafka {
            client_id: client,
            ..settings(kafka.bootstrap())
        })
        .await
        .unwrap();
        let leader = limited.leader(&bench.partition(0)).await.unwrap();
        let large = "q".repeat(500_000);
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut sequence = 0;
        // The quota reaches the broker's quota keeper a little after it was set.
        let throttle = loop {
            let batch = [bench.batch(0, sequence, &[&large])];
            let sent = limited.send(leader, &batch, PATIENCE).await;
            assert_eq!(sent.outcomes[0].answer, appended(sequence.into()));
            sequence += 1;
            if sent.throttle > Duration::from_secs(1) {
                break sent.throttle;
            }
            assert!(std::time::Instant::now() < deadline);
        };
        let batch = [bench.batch(0, sequence, &["next"])];
        let sent = limited.send(leader, &batch, throttle / 4).await;
        let pushed_back = Answer::Unanswered {
            trouble: Trouble::Throttled,
            may_have_landed: false,
        };
        assert_eq!(sent.outcomes[0].answer, pushed_back);
        assert!(sent.throttle > Duration::ZERO);
        let sent = limited.send(leader, &batch, throttle + PATIENCE).await;
        assert_eq!(sent.outcomes[0].answer, appended(sequence.into()));
    });
}
