//! The broker has forgotten the producer, or the topic is another one, when it is reached again: a stamp cannot decide
//! any more whether an event landed (invariant **once**). The log is searched by event id; what is there stays single,
//! what is not is sent marked as a possible double. On the embedded broker and on Apache Kafka.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use evenkeel::publish::Receipt;
use evenkeel::{Kafka, Publisher, Registry};
use evenkeel_broker::Cluster;
use evenkeel_broker::admin::NewTopic;
use evenkeel_embedded::proxy::{Api, Proxy};
use evenkeel_event::headers;
use evenkeel_testkit::{Options, kafka_or_skip};

use crate::kill::say;
use crate::stage::{PARTITIONS, PATIENCE, Stage, config, event, order, orders, publish_all};

/// How long a partition may be silent before its events park: a slow machine is no fault.
const OUT_AFTER: Duration = Duration::from_secs(3);
/// How long a broker remembers a producer; more than twice as long, so that stamps still decide while events park.
const MEMORY: Duration = Duration::from_secs(10);
/// Until it has looked whom to forget.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(12);
const DIRECTORY: &str = "PUBLISH_FORGOTTEN_DIRECTORY";
const BROKER: &str = "PUBLISH_FORGOTTEN_BROKER";
const REGISTRY: &str = "PUBLISH_FORGOTTEN_REGISTRY";

/// What stands between the publisher and its broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Requests reach the broker, their answers are lost.
    AnswersLost,
    /// Requests are lost on their way.
    RequestsLost,
}

const FAULTS: [Fault; 2] = [Fault::AnswersLost, Fault::RequestsLost];

/// A broker that forgets soon, behind a fault proxy.
struct Ground {
    stage: Stage,
    /// None: the stage's embedded broker.
    apache: Option<evenkeel_testkit::Kafka>,
}

impl Ground {
    async fn embedded() -> Self {
        let mut stage = Stage::dark().await;
        stage.producer_memory = Some(MEMORY);
        stage.start_broker().await;
        stage.proxy = Some(Proxy::start(&stage.address.to_string()).unwrap());
        Self { stage, apache: None }
    }

    async fn apache() -> Option<Self> {
        let properties = [
            ("producer.id.expiration.ms", MEMORY.as_millis().to_string()),
            ("producer.id.expiration.check.interval.ms", "100".to_owned()),
        ];
        let apache = kafka_or_skip(Options {
            properties: properties.map(|(key, value)| (key.to_owned(), value)).into(),
            ..Options::default()
        })?;
        let mut stage = Stage::dark().await;
        stage.address = apache.bootstrap().parse().unwrap();
        stage.proxy = Some(Proxy::start(apache.bootstrap()).unwrap());
        Some(Self {
            stage,
            apache: Some(apache),
        })
    }

    /// A publisher, when the last one has let go of its directory.
    async fn publisher(&self) -> Publisher {
        let mut config = self.stage.config();
        config.out_after = OUT_AFTER;
        crate::stage::started(config).await
    }

    fn proxy(&self) -> &Proxy {
        self.stage.proxy.as_ref().unwrap()
    }

    async fn break_off(&self, fault: Fault) {
        match fault {
            Fault::AnswersLost => self.proxy().drop_responses(Api::PRODUCE, 10_000).await,
            Fault::RequestsLost => self.proxy().hang().await,
        }
    }

    /// Waits until the broker knows the producer no more, and lets it be reached again.
    async fn forget_and_restore(&mut self) {
        // What is held back on its way is lost; else it would land late.
        self.proxy().cut().await;
        tokio::time::sleep(FORGOTTEN_AFTER).await;
        if self.apache.is_none() {
            // The embedded broker looks whom to forget when it starts, and every few minutes.
            self.stage.stop_broker().await;
            self.stage.start_broker().await;
        }
        self.proxy().restore().await;
    }

    async fn create_anew(&self) {
        let cluster = Cluster::connect(self.stage.kafka()).await.unwrap();
        cluster.delete_topic(&orders()).await.unwrap();
        let topic = NewTopic {
            name: orders(),
            partitions: PARTITIONS,
            replication: 1,
            configs: Vec::new(),
        };
        // A name is free again when every broker has let go of it.
        let start = std::time::Instant::now();
        while let Err(error) = cluster.create_topic(&topic).await {
            assert!(start.elapsed() < PATIENCE, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The ids on the topic in order, and whether each is marked.
    async fn seen(&self) -> Vec<(String, bool)> {
        let seen = self.stage.read(&orders()).await;
        let marked = |record: &crate::stage::Seen| record.headers.contains_key(headers::POSSIBLE_DOUBLE);
        seen.iter()
            .map(|record| (record.id.clone(), marked(record)))
            .collect()
    }
}

fn ids(list: &[(&str, bool)]) -> Vec<(String, bool)> {
    list.iter()
        .map(|(id, marked)| ((*id).to_owned(), *marked))
        .collect()
}

/// What is on the topic when event 1 met `fault`.
fn expected(fault: Fault) -> Vec<(String, bool)> {
    // What is not on the log may still come to lie there: nobody can know.
    let marked = fault == Fault::RequestsLost;
    ids(&[
        ("ann-0", false),
        ("ann-1", marked),
        ("ann-2", false),
        ("ann-3", false),
    ])
}

async fn while_the_process_lives(mut ground: Ground, fault: Fault) {
    let publisher = ground.publisher().await;
    publish_all(&publisher, &["ann"], 0..1).await;
    ground.break_off(fault).await;
    let receipts = publish_all(&publisher, &["ann"], 1..3).await;
    assert!(
        receipts
            .values()
            .all(|receipt| matches!(receipt, Receipt::Parked { .. })),
        "{receipts:?}"
    );
    ground.forget_and_restore().await;
    ground.stage.drained(&publisher).await;
    publish_all(&publisher, &["ann"], 3..4).await;
    ground.stage.drained(&publisher).await;
    assert_eq!(ground.seen().await, expected(fault), "{fault:?}");
    assert!(publisher.close(PATIENCE).await);
}

async fn after_kill_9(mut ground: Ground, fault: Fault) {
    let mut other = Other::start(&ground.stage);
    other.says("published ann-0");
    ground.break_off(fault).await;
    for parked in ["parked ann-1", "parked ann-2"] {
        other.go_on();
        other.says(parked);
    }
    other.kill();
    ground.forget_and_restore().await;
    let publisher = ground.publisher().await;
    ground.stage.drained(&publisher).await;
    publish_all(&publisher, &["ann"], 3..4).await;
    ground.stage.drained(&publisher).await;
    assert_eq!(ground.seen().await, expected(fault), "{fault:?}");
    assert!(publisher.close(PATIENCE).await);
}

/// Event 1 may be on the topic that was; whether it is on the new one can be read there.
async fn on_a_topic_created_anew(ground: Ground, fault: Fault) {
    let publisher = ground.publisher().await;
    publish_all(&publisher, &["ann"], 0..1).await;
    ground.break_off(fault).await;
    publish_all(&publisher, &["ann"], 1..3).await;
    ground.proxy().cut().await;
    ground.create_anew().await;
    ground.proxy().restore().await;
    ground.stage.drained(&publisher).await;
    publish_all(&publisher, &["ann"], 3..4).await;
    ground.stage.drained(&publisher).await;
    let expected = ids(&[("ann-1", true), ("ann-2", false), ("ann-3", false)]);
    assert_eq!(ground.seen().await, expected, "{fault:?}");
    assert!(publisher.close(PATIENCE).await);
}

/// The child: not a test of its own, it does nothing unless a parent test asks.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let broker = Kafka::at(std::env::var(BROKER).unwrap());
    let registry = Registry::new(std::env::var(REGISTRY).unwrap());
    let mut config = config(broker, directory, registry);
    config.out_after = OUT_AFTER;
    let publisher = Publisher::start(config).await.unwrap();
    for number in 0..3 {
        let event = event("ann", number);
        let receipt = publisher.publish_json(&event, &order(number)).await.unwrap();
        let outcome = match receipt {
            Receipt::Published { .. } => "published",
            _ => "parked",
        };
        say(&format!("{outcome} {}", event.id));
        // The way is broken off before the parent answers.
        std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    }
    std::future::pending::<()>().await;
}

/// A process that publishes events 0, 1 and 2, each when it is told to go on.
struct Other {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    fn start(stage: &Stage) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "forgotten::child", "--nocapture"])
            .env(DIRECTORY, stage.path("application"))
            .env(BROKER, stage.proxy.as_ref().unwrap().bootstrap())
            .env(REGISTRY, &stage.registry_url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            input,
            output,
        }
    }

    /// Reads on until it says `line`; the test harness in it speaks too.
    fn says(&mut self, line: &str) {
        let mut said = String::new();
        while !said.ends_with(&format!("{line}\n")) {
            let length = self.output.read_line(&mut said).unwrap();
            assert!(length > 0, "it ended after: {said}");
        }
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

macro_rules! on_both_brokers {
    ($($case:ident),*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                for fault in super::FAULTS {
                    super::$case(super::Ground::embedded().await, fault).await;
                }
            })*
        }
        mod apache {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                for fault in super::FAULTS {
                    let Some(ground) = super::Ground::apache().await else { return };
                    super::$case(ground, fault).await;
                }
            })*
        }
    };
}
on_both_brokers!(while_the_process_lives, after_kill_9, on_a_topic_created_anew);
