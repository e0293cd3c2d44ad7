//! Brokers that die, pause and come back: nothing is lost, nothing lands twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_broker::admin::Resource;
use evenkeel_broker::fetch::{At, Until};
use evenkeel_broker::{Cluster, Kafka, Leader, Metadata};
use evenkeel_embedded::proxy::Proxy;
use evenkeel_event::Record;
use evenkeel_event::clock::SystemClock;
use evenkeel_flow::{Answer, Trouble};
use evenkeel_testkit::{Options, kafka_or_skip};

use crate::brokers::{Bench, PATIENCE, appended, block_on, connect, embedded, settings};

/// A session time-out that lets a killed node come back soon.
fn quick() -> (String, String) {
    ("broker.session.timeout.ms".to_owned(), "3000".to_owned())
}

/// A port on which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn a_broker_that_is_not_there_is_an_outage() {
    block_on(async {
        let address = nobody();
        let error = Cluster::connect(Kafka::at(&address)).await.unwrap_err();
        assert!(error.is_outage() && !error.is_access_refused(), "{error}");
        assert!(!error.may_have_landed(), "{error}");
        assert!(error.to_string().contains(&address), "{error}");
        let both = Kafka {
            brokers: vec![nobody(), address.clone()],
            ..Kafka::default()
        };
        let error = Cluster::connect(both).await.unwrap_err();
        assert!(error.to_string().contains(&address), "{error}");
    });
}

fn record(bench: &Bench, value: &str) -> Record {
    Record {
        topic: bench.topic.clone(),
        partition: Some(0),
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
    }
}

#[test]
fn a_kill_in_the_middle_of_sending_loses_and_doubles_nothing() {
    let options = Options {
        properties: vec![quick()],
        ..Options::default()
    };
    let Some(kafka) = kafka_or_skip(options) else {
        return;
    };
    block_on(async {
        let bench = Bench::new(kafka.bootstrap(), "kill").await;
        let (cluster, partition) = (bench.cluster.clone(), bench.partition(0));
        let records: Vec<Record> = (0..2000)
            .map(|value| record(&bench, &value.to_string()))
            .collect();
        let sending = tokio::spawn(async move {
            let clock = SystemClock::default();
            for record in &records {
                cluster
                    .append(&partition, std::slice::from_ref(record), &clock, PATIENCE * 2)
                    .await
                    .unwrap();
            }
        });
        for wanted in [200, 900] {
            let mut range = bench
                .cluster
                .read(bench.partition(0), At::Earliest, Until::Offset(wanted))
                .await
                .unwrap();
            while range.next().await.unwrap().is_some() {}
            kafka.kill(1);
            kafka.restart(1);
        }
        sending.await.unwrap();
        let expected: Vec<String> = (0..2000).map(|value| value.to_string()).collect();
        assert_eq!(bench.values().await, expected);
    });
}

#[test]
fn a_paused_broker_is_noticed_by_our_own_timer_and_the_stamp_decides() {
    let Some(kafka) = kafka_or_skip(Options::default()) else {
        return;
    };
    block_on(async {
        let bench = Bench::new(kafka.bootstrap(), "pause").await;
        assert_eq!(bench.send(&bench.batch(0, 0, &["one"])).await, appended(0));
        let batch = bench.batch(0, 1, &["two"]);
        let leader = bench.cluster.leader(&bench.partition(0)).await.unwrap();
        kafka.pause(1);
        let timeout = Duration::from_millis(300);
        let sent = bench
            .cluster
            .send(leader, std::slice::from_ref(&batch), timeout)
            .await;
        let timed_out = Answer::Unanswered {
            trouble: Trouble::TimedOut,
            may_have_landed: true,
        };
        assert_eq!(sent.outcomes[0].answer, timed_out);
        kafka.resume(1);
        let other = connect(kafka.bootstrap()).await;
        assert_eq!(bench.send_over(&other, &batch).await, appended(1));
        assert_eq!(bench.send(&batch).await, appended(1));
        assert_eq!(bench.values().await, ["one", "two"]);
    });
}

fn is_at_a_node(leader: Leader) -> bool {
    matches!(leader, Leader::At { .. })
}

/// Waits until what is known of the cluster is as `wanted`.
async fn known(cluster: &Cluster, wanted: impl FnMut(&Arc<Metadata>) -> bool) -> Arc<Metadata> {
    let mut watch = cluster.watch();
    let known = tokio::time::timeout(PATIENCE, watch.wait_for(wanted)).await;
    known.unwrap().unwrap().clone()
}

/// Found by `evenkeel verify`: brokers that stood still for 30 s stayed gone for ever when a connection of old outlived that.
#[test]
fn a_node_that_could_not_be_dialled_is_back_though_an_older_connection_never_broke() {
    let embedded = embedded();
    block_on(async {
        let proxy = Proxy::start(embedded).unwrap();
        let mut bench = Bench::new(proxy.bootstrap(), "dialled").await;
        let mut impatient = settings(proxy.bootstrap());
        impatient.connect_timeout_ms = 300;
        bench.cluster = Cluster::connect(impatient).await.unwrap();
        let (cluster, partition) = (bench.cluster.clone(), bench.partition(0));
        let leader = cluster.leader(&partition).await.unwrap();
        // Makes a connection for questions.
        let asked = cluster
            .settings(&Resource::Broker(leader), &["producer.id.expiration.ms"])
            .await;
        assert!(asked.is_ok(), "{asked:?}");
        proxy.hang().await;
        // The first batch needs a connection of its own.
        let batch = bench.batch(0, 0, &["one"]);
        let timeout = Duration::from_secs(1);
        cluster.send(leader, std::slice::from_ref(&batch), timeout).await;
        proxy.restore().await;
        known(&cluster, |known| {
            known.down.is_empty() && is_at_a_node(known.leader(&partition))
        })
        .await;
        assert_eq!(bench.send(&batch).await, appended(0));
    });
}

#[test]
fn a_leader_that_is_silent_or_dead_is_told_and_the_next_one_knows_the_stamp() {
    let options = Options {
        nodes: 3,
        properties: vec![quick()],
        ..Options::default()
    };
    let Some(kafka) = kafka_or_skip(options) else {
        return;
    };
    block_on(async {
        let mut bench = Bench::with(kafka.bootstrap(), "leader", 1, 3, &[("min.insync.replicas", "2")]).await;
        let mut impatient = settings(kafka.bootstrap());
        impatient.connect_timeout_ms = 500;
        bench.cluster = Cluster::connect(impatient).await.unwrap();
        let (cluster, partition) = (bench.cluster.clone(), bench.partition(0));
        let batch = bench.batch(0, 0, &["one", "two"]);
        assert_eq!(bench.send(&batch).await, appended(0));

        // Silent: its connections stay open. When it speaks again, it is no longer taken for gone.
        let leader = cluster.leader(&partition).await.unwrap();
        let id = u32::try_from(leader).unwrap();
        kafka.pause(id);
        let timeout = Duration::from_millis(300);
        cluster.send(leader, std::slice::from_ref(&batch), timeout).await;
        known(&cluster, |known| {
            known.leader(&partition) == Leader::Gone || !known.nodes.contains_key(&leader)
        })
        .await;
        kafka.resume(id);
        known(&cluster, |known| {
            known.down.is_empty() && is_at_a_node(known.leader(&partition))
        })
        .await;

        // Dead: another leads, under a later epoch.
        let leader = cluster.leader(&partition).await.unwrap();
        let Leader::At { epoch, .. } = cluster.metadata().leader(&partition) else {
            panic!("no leader");
        };
        kafka.kill(u32::try_from(leader).unwrap());
        known(&cluster, |known| known.leader(&partition) == Leader::Gone).await;
        let next = known(
            &cluster,
            |known| matches!(known.leader(&partition), Leader::At { node, .. } if node != leader),
        );
        let Leader::At {
            epoch: next_epoch, ..
        } = next.await.leader(&partition)
        else {
            panic!("no leader");
        };
        assert!(next_epoch > epoch);
        // The same stamp at the next leader: answered as the first time, and not appended.
        assert_eq!(bench.send(&batch).await, appended(0));
        assert_eq!(bench.send(&bench.batch(0, 2, &["three"])).await, appended(2));
        assert_eq!(bench.values().await, ["one", "two", "three"]);
    });
}
