//! The fault suite of consumer groups: three members on six partitions at 2,000 records a second, in processes of their
//! own, which are killed, closed and paused, while brokers are killed too. Nothing is skipped, the order of each
//! partition holds, a change takes one generation with range and two with cooperative-sticky at the most and none
//! comes after, and nothing is committed after it was lost.
//!
//! The short version runs always; `EVENKEEL_LONG=1` runs everything and prints how long partitions stood still.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use evenkeel_broker::group::Assignor;
use evenkeel_testkit::{Kafka, Options, kafka_or_skip, python_or_skip};

use crate::brokers::block_on;
use crate::group_crowd::Crowd;
use crate::group_member::Role;

/// Longer than the session of 6 s.
const PAUSE: Duration = Duration::from_secs(9);

fn is_long() -> bool {
    std::env::var("EVENKEEL_LONG").as_deref() == Ok("1")
}

fn three_nodes() -> Option<Kafka> {
    kafka_or_skip(Options {
        nodes: 3,
        ..Options::default()
    })
}

/// Generations that a change takes at most.
const fn each(assignor: Assignor) -> i32 {
    match assignor {
        Assignor::Range => 1,
        Assignor::CooperativeSticky => 2,
    }
}

async fn crowd_on(kafka: &Kafka, assignor: Assignor, label: &str) -> Crowd {
    Crowd::new(kafka.bootstrap(), 3, assignor, label)
        .await
        .with_logs_of(kafka)
}

fn start_three(crowd: &mut Crowd) {
    for _ in 0..3 {
        crowd.start();
    }
}

fn print(report: &[String]) {
    for line in report {
        println!("{line}");
    }
}

/// Members are killed and restarted at once, close, join and are paused.
async fn members_come_and_go(crowd: &mut Crowd) {
    let each = each(crowd.role.assignor);
    crowd
        .after("killed with -9", 1..=each, async |crowd| crowd.kill(0))
        .await;
    crowd
        .after("a newcomer", 1..=each, async |crowd| {
            crowd.start();
        })
        .await;
    crowd
        .after(
            "killed with -9 and restarted at once",
            1..=2 * each,
            async |crowd| {
                crowd.kill(1);
                crowd.start();
            },
        )
        .await;
    crowd
        .after("closed", 1..=each, async |crowd| crowd.close(2))
        .await;
    crowd
        .after("a newcomer", 1..=each, async |crowd| {
            crowd.start();
        })
        .await;
    crowd
        .after("stopped for 9 s", 1..=2 * each, async |crowd| {
            crowd.pause(3);
            tokio::time::sleep(PAUSE).await;
            crowd.resume(3);
        })
        .await;
}

/// The node that keeps the group: `GroupCoordinator.partitionFor`, Java's hash of the name over the partitions.
async fn coordinator(crowd: &Crowd) -> u32 {
    let hash = crowd.role.group.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    let topic = evenkeel_event::TopicName::new("__consumer_offsets").unwrap();
    let topic = crowd.cluster.topic_anew(&topic).await.unwrap();
    let partition = usize::try_from(hash & i32::MAX).unwrap() % topic.partitions.len();
    u32::try_from(topic.partitions[partition].leader.unwrap()).unwrap()
}

/// A coordinator that is killed costs no generation: the next one knows the members.
async fn coordinator_dies(crowd: &mut Crowd, kafka: &Kafka) {
    let node = coordinator(crowd).await;
    crowd
        .after("the coordinator killed with -9", 0..=0, async |_| {
            kafka.kill(node)
        })
        .await;
    crowd
        .after("the coordinator back", 0..=0, async |_| kafka.restart(node))
        .await;
}

/// A leader that does not keep the group as well.
async fn a_leader_dies(crowd: &mut Crowd, kafka: &Kafka) {
    let home = coordinator(crowd).await;
    let topic = crowd.cluster.topic_anew(crowd.topic()).await.unwrap();
    let mut leaders = topic.partitions.iter().filter_map(|partition| partition.leader);
    let node = leaders.find(|leader| u32::try_from(*leader).unwrap() != home);
    let node = u32::try_from(node.expect("three nodes share six partitions")).unwrap();
    crowd
        .after("a leader killed with -9", 0..=0, async |_| kafka.kill(node))
        .await;
    crowd
        .after("the leader back", 0..=0, async |_| kafka.restart(node))
        .await;
}

#[test]
fn a_group_on_three_nodes_survives_its_members_and_its_coordinator() {
    let Some(kafka) = three_nodes() else { return };
    block_on(async {
        let mut crowd = crowd_on(&kafka, Assignor::CooperativeSticky, "Apache Kafka").await;
        start_three(&mut crowd);
        crowd
            .after("killed with -9 and restarted at once", 1..=4, async |crowd| {
                crowd.kill(0);
                crowd.start();
            })
            .await;
        let node = coordinator(&crowd).await;
        crowd
            .after("the coordinator killed with -9", 0..=0, async |_| {
                kafka.kill(node)
            })
            .await;
        print(&crowd.finish().await);
    });
}

#[test]
fn everything_on_three_nodes() {
    if !is_long() {
        return;
    }
    let Some(kafka) = three_nodes() else { return };
    block_on(async {
        for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
            let mut crowd = crowd_on(&kafka, assignor, "Apache Kafka").await;
            start_three(&mut crowd);
            members_come_and_go(&mut crowd).await;
            coordinator_dies(&mut crowd, &kafka).await;
            a_leader_dies(&mut crowd, &kafka).await;
            print(&crowd.finish().await);
        }
    });
}

/// Members of other makes join, lead, close and are killed. librdkafka leads first, because it joins first.
async fn makes_mix(crowd: &mut Crowd, python: &Path, kafka: &Kafka) {
    let each = each(crowd.role.assignor);
    let librdkafka = crowd.start_foreign(by_librdkafka(&crowd.role, python));
    crowd.settle("librdkafka alone").await;
    let ours = crowd.start();
    crowd.settle("one of ours joins librdkafka").await;
    let mut by_java = 0;
    crowd
        .after("Java and another of ours join", 1..=2 * each, async |crowd| {
            by_java = crowd.start_foreign(java(&crowd.role, kafka));
            crowd.start();
        })
        .await;
    crowd
        .after("librdkafka closes", 1..=each, async |crowd| {
            crowd.interrupt(librdkafka)
        })
        .await;
    crowd
        .after("one of ours killed with -9", 1..=each, async |crowd| {
            crowd.kill(ours)
        })
        .await;
    crowd
        .after("librdkafka joins", 1..=each, async |crowd| {
            crowd.start_foreign(by_librdkafka(&crowd.role, python));
        })
        .await;
    crowd
        .after("Java closes", 1..=each, async |crowd| crowd.interrupt(by_java))
        .await;
}

fn by_librdkafka(role: &Role, python: &Path) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/group_member.py");
    let mut command = Command::new(python);
    command.args([
        script,
        &role.bootstrap,
        &role.group,
        role.topic.as_str(),
        role.assignor.name(),
    ]);
    command
}

fn java(role: &Role, kafka: &Kafka) -> Command {
    let class = match role.assignor {
        Assignor::Range => "RangeAssignor",
        Assignor::CooperativeSticky => "CooperativeStickyAssignor",
    };
    let strategy = format!("partition.assignment.strategy=org.apache.kafka.clients.consumer.{class}");
    let mut command = kafka.console("kafka-console-consumer");
    command.args([
        "--bootstrap-server",
        &role.bootstrap,
        "--topic",
        role.topic.as_str(),
        "--group",
        &role.group,
    ]);
    for property in [
        strategy.as_str(),
        "session.timeout.ms=6000",
        "heartbeat.interval.ms=500",
        "auto.offset.reset=earliest",
    ] {
        command.args(["--command-property", property]);
    }
    for property in ["print.partition=true", "print.offset=true", "print.value=false"] {
        command.args(["--formatter-property", property]);
    }
    command
}

#[test]
fn a_group_mixes_with_librdkafka_and_java() {
    if !is_long() {
        return;
    }
    let (Some(kafka), Some(python)) = (three_nodes(), python_or_skip()) else {
        return;
    };
    block_on(async {
        for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
            let mut crowd = crowd_on(&kafka, assignor, "mixed").await;
            makes_mix(&mut crowd, &python, &kafka).await;
            print(&crowd.finish().await);
        }
    });
}

async fn embedded(directory: &Path, port: u16) -> evenkeel_embedded::Broker {
    let mut config = evenkeel_embedded::Config::new(directory);
    config.listen.set_port(port);
    evenkeel_embedded::start(config).await.unwrap()
}

#[test]
fn a_group_on_the_embedded_broker_survives_its_members() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let broker = embedded(directory.path(), 0).await;
        let bootstrap = broker.address().to_string();
        let mut crowd = Crowd::new(&bootstrap, 1, Assignor::Range, "embedded").await;
        start_three(&mut crowd);
        crowd
            .after("killed with -9 and restarted at once", 1..=2, async |crowd| {
                crowd.kill(0);
                crowd.start();
            })
            .await;
        crowd.after("closed", 1..=1, async |crowd| crowd.close(1)).await;
        print(&crowd.finish().await);
        broker.stop().await.unwrap();
    });
}

#[test]
fn everything_on_the_embedded_broker() {
    if !is_long() {
        return;
    }
    block_on(async {
        for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
            let directory = tempfile::tempdir().unwrap();
            let broker = embedded(directory.path(), 0).await;
            let address = broker.address();
            let mut crowd = Crowd::new(&address.to_string(), 1, assignor, "embedded").await;
            start_three(&mut crowd);
            members_come_and_go(&mut crowd).await;
            crowd.settle("the broker stops").await;
            broker.stop().await.unwrap();
            let broker = embedded(directory.path(), address.port()).await;
            crowd.settle("the broker is back").await;
            print(&crowd.finish().await);
            broker.stop().await.unwrap();
        }
    });
}
