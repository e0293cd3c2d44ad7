//! An application that parks, and dies: a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::publish::Receipt;
use evenkeel::{Config, Event, EventId, EventType, Fleet, Kafka, NewTopics, Publisher, Registry};
use evenkeel_event::clock::{Clock as _, SystemClock};
use evenkeel_store::address;

use crate::stage::{APPLICATION, PARTITIONS, Stage, orders};

const REGISTRY: &str = "LAMBDA_PARK_REGISTRY";
const KEYS: &str = "LAMBDA_PARK_KEYS";
const EACH: &str = "LAMBDA_PARK_EACH";
/// Padded, so that a drain takes many batches.
const NOTE: &str = "as it lies";

/// The child: not a test of its own, it does nothing unless a parent test asks.
#[cfg(test)]
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    act().await;
}

/// Is the application, in the process that [`park`] starts for it; returns at once in others.
pub(crate) async fn act() {
    let Ok(registry) = std::env::var(REGISTRY) else {
        return;
    };
    let variable = |name: &str| std::env::var(name).unwrap();
    let url = variable("EVENKEEL_STANDBY__URL");
    address::create(&url, APPLICATION).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kafka = Kafka::at(variable("EVENKEEL_KAFKA__BROKERS"));
    let mut config = Config::new(APPLICATION, kafka, directory.path());
    config.registry = Some(Registry::new(&registry));
    config.event_types = vec![EventType::new("order.placed", orders())];
    config.new_topics = Some(NewTopics {
        partitions: PARTITIONS,
        replication: 1,
    });
    config.fleet = Some(Fleet::new(
        address::open(&url, APPLICATION, 1 << 30).await.unwrap(),
    ));
    let publisher = Publisher::start(config).await.unwrap();
    let keys = keys(variable(KEYS).parse().unwrap());
    let published = publish(&publisher, &keys, 0..1).await;
    assert!(
        published
            .iter()
            .all(|receipt| !matches!(receipt, Receipt::Parked { .. }))
    );
    say("published");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let parked = publish(&publisher, &keys, 1..variable(EACH).parse().unwrap()).await;
    assert!(
        parked
            .iter()
            .all(|receipt| matches!(receipt, Receipt::Parked { .. }))
    );
    publisher.close(Duration::from_secs(5)).await;
    say("parked");
}

async fn publish(publisher: &Publisher, keys: &[String], numbers: std::ops::Range<usize>) -> Vec<Receipt> {
    let mut pending = Vec::new();
    for number in numbers {
        for key in keys {
            let order = format!(r#"{{"number":{number},"note":"{NOTE:x<1000}"}}"#);
            pending.push(
                publisher
                    .begin_json(&event(key, number), order.as_bytes())
                    .await
                    .unwrap(),
            );
        }
    }
    let mut receipts = Vec::new();
    for pending in pending {
        receipts.push(pending.receipt().await.unwrap());
    }
    receipts
}

fn event(key: &str, number: usize) -> Event {
    let now = SystemClock::default().now();
    let id = EventId::new(&format!("{key}-{number}")).unwrap();
    let mut event = Event::new(id, "/orders-api", "order.placed", now, orders());
    event.key = Some(Bytes::from(key.to_owned()));
    event
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// The keys of so many customers.
fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("customer{number}")).collect()
}

/// An application that has published one event of each key, and whose Kafka is gone.
pub(crate) struct Application {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    pub(crate) keys: Vec<String>,
}

impl Application {
    fn start(stage: &Stage, count: usize, each: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "park::child", "--nocapture"])
            .envs(stage.variables())
            .env(REGISTRY, &stage.registry_url)
            .env(KEYS, count.to_string())
            .env(EACH, each.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let keys = keys(count);
        Self { child, output, keys }
    }

    fn hear(&mut self, expected: &str) {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "no \"{expected}\"");
            if line.trim_end().ends_with(expected) {
                return;
            }
        }
    }
}

/// Lets an application publish the events `0..each` of so many customers, all but the first of each parked. Kafka is gone
/// afterwards, and so is the application. Returns the customers.
pub(crate) async fn park(stage: &mut Stage, count: usize, each: usize) -> Vec<String> {
    let mut application = tokio::task::block_in_place(|| {
        let mut application = Application::start(stage, count, each);
        application.hear("published");
        application
    });
    stage.stop_broker().await;
    tokio::task::block_in_place(|| {
        drop(application.child.stdin.take());
        application.hear("parked");
        assert!(application.child.wait().unwrap().success());
    });
    application.keys
}
