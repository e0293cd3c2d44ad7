//! A leader is elected that lacks what was read already: readers are told, and what stands there now is read (KIP-320).

use evenkeel_broker::fetch::{At, Until};
use evenkeel_broker::group::{Consumer, Event, MoveCause};
use evenkeel_broker::{Cluster, Error, Leader};
use evenkeel_testkit::{Kafka, Options, kafka_or_skip};
use tokio::time::timeout;

use crate::brokers::{Bench, PATIENCE, block_on, connect, name};
use crate::group_basics::{assigned, group, next, numbers, options, read, write};

/// Leads at first; the topic's other copy is on node 2. Node 3 keeps the quorum.
const FIRST: u32 = 1;
const SECOND: u32 = 2;

fn three_nodes() -> Option<Kafka> {
    let properties = [
        ("broker.session.timeout.ms", "3000"),
        // How soon a controller elects uncleanly where a topic allows it.
        ("unclean.leader.election.interval.ms", "500"),
    ];
    kafka_or_skip(Options {
        nodes: 3,
        properties: properties
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Options::default()
    })
}

/// A topic of one partition with its copies on the first two nodes, that rather loses records than waits.
async fn two_copies(kafka: &Kafka) -> Bench {
    let topic = name("cut");
    let created = kafka
        .console("kafka-topics")
        .args([
            "--bootstrap-server",
            kafka.bootstrap(),
            "--create",
            "--topic",
            topic.as_str(),
        ])
        .args(["--replica-assignment", &format!("{FIRST}:{SECOND}")])
        .args(["--config", "min.insync.replicas=1"])
        .args(["--config", "unclean.leader.election.enable=true"])
        .output()
        .unwrap();
    assert!(
        created.status.success(),
        "{}",
        String::from_utf8_lossy(&created.stderr)
    );
    let cluster = connect(kafka.bootstrap()).await;
    let id = cluster.topic(&topic).await.unwrap().id;
    let producer = cluster.init_producer_id().await.unwrap().0;
    Bench {
        cluster,
        topic,
        id,
        producer,
    }
}

/// Waits until `node` leads.
async fn led_by(cluster: &Cluster, bench: &Bench, node: u32) {
    let wanted = i32::try_from(node).unwrap();
    let partition = bench.partition(0);
    let mut watch = cluster.watch();
    let led =
        watch.wait_for(|known| matches!(known.leader(&partition), Leader::At { node, .. } if node == wanted));
    timeout(PATIENCE, led).await.expect("a leader in time").unwrap();
}

/// Reads and commits up to `end`, then leaves.
async fn reads_and_leaves(bench: &Bench, group: &str, count: usize) {
    let mut consumer = Consumer::join(&bench.cluster, group, vec![bench.topic.clone()], options());
    assert_eq!(read(&mut consumer, count, true).await[&0], numbers(0..15));
    consumer.close().await.unwrap();
}

async fn is_told_and_reads_what_stands_there_now(consumer: &mut Consumer) {
    let to = loop {
        match next(consumer).await {
            Event::Moved { to, cause, .. } => {
                assert_eq!(cause, MoveCause::Truncated);
                break to;
            }
            Event::Records(delivery) => panic!("records before it was told: {delivery:?}"),
            _ => {}
        }
    };
    assert_eq!(to, 10);
    assert_eq!(read(consumer, 20, true).await[&0], numbers(100..120));
}

#[test]
fn what_was_read_and_is_gone_is_told_and_nothing_behind_it_is_skipped() {
    let Some(kafka) = three_nodes() else { return };
    block_on(async {
        let bench = two_copies(&kafka).await;
        let (cluster, topic) = (&bench.cluster, &bench.topic);
        write(cluster, topic, 0, &numbers(0..10)).await;
        // Both have ten; the next five are on the leader alone.
        kafka.kill(SECOND);
        write(cluster, topic, 0, &numbers(10..15)).await;

        let (present, absent) = (group(), group());
        let mut live = Consumer::join(cluster, &present, vec![topic.clone()], options());
        let claim = assigned(&mut live).await.remove(0);
        assert_eq!(read(&mut live, 15, true).await[&0], numbers(0..15));
        reads_and_leaves(&bench, &absent, 15).await;
        let mut range = cluster
            .read(bench.partition(0), At::Earliest, Until::Offset(40))
            .await
            .unwrap();
        while range.position() < 15 {
            range.next().await.unwrap();
        }
        // It asks for nothing until the log has grown beyond where it stood.
        live.control().pause(&claim);

        kafka.kill(FIRST);
        kafka.restart(SECOND);
        led_by(cluster, &bench, SECOND).await;
        // Another producer: the new leader has forgotten the last stamps of the first.
        write(&connect(kafka.bootstrap()).await, topic, 0, &numbers(100..120)).await;

        live.control().resume(&claim);
        is_told_and_reads_what_stands_there_now(&mut live).await;
        live.close().await.unwrap();
        // One who was away while it happened learns it from the epoch that was committed with the position.
        let mut back = Consumer::join(cluster, &absent, vec![topic.clone()], options());
        is_told_and_reads_what_stands_there_now(&mut back).await;
        back.close().await.unwrap();
        let error = loop {
            match range.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the range ended as if nothing had happened"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Truncated { offset: 10, .. }), "{error}");
    });
}
