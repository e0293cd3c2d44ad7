//! What the benches play on: a broker in a process of its own, with a way to it that can be cut; a registry; events; and
//! what the process uses.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel::{Config, Event, EventId, EventType, Kafka, NewTopics, Publisher, Registry, TopicName};
use evenkeel_embedded::proxy::Proxy;
use evenkeel_event::clock::{Clock as _, SystemClock};

const SCHEMA: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"order","type":"string"},{"name":"customer","type":"string"},{"name":"lines","type":"int"},
    {"name":"total_cents","type":"long"},{"name":"country","type":"string"},{"name":"note","type":"string"}]}"#;
/// Names, in the broker's process, the broker to stand before; empty for an embedded one of its own.
const SIDE: &str = "EVENKEEL_BENCH_SIDE";
/// Bytes of an order as Avro, prefix included, beside its note.
const ORDER_BYTES: usize = 73;
pub const PARTITIONS: i32 = 6;

/// A publisher's data.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Order {
    order: String,
    customer: String,
    lines: i32,
    total_cents: i64,
    country: String,
    note: String,
}

/// A broker in a process of its own, or the way to one that was given.
#[derive(Debug)]
pub struct Side {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Straight to the broker.
    pub direct: String,
    /// Through a proxy.
    pub open: String,
    /// Through a proxy that can be cut.
    pub weak: String,
}

/// Serves and ends, where this process was started as the other side.
pub fn serve_if_told() {
    let Ok(upstream) = std::env::var(SIDE) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(serve(upstream));
    std::process::exit(0);
}

async fn serve(upstream: String) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = evenkeel_embedded::Config::new(directory.path());
    config.listen = "127.0.0.1:0".parse().expect("an address");
    let (broker, direct) = if upstream.is_empty() {
        let broker = evenkeel_embedded::start(config).await.expect("a broker");
        let address = broker.address().to_string();
        (Some(broker), address)
    } else {
        (None, upstream)
    };
    let (open, weak) = (Proxy::start(&direct), Proxy::start(&direct));
    let (open, weak) = (open.expect("a proxy"), weak.expect("a proxy"));
    println!("{direct} {} {}", open.bootstrap(), weak.bootstrap());
    let mut lines = std::io::stdin().lines();
    while let Some(Ok(order)) = tokio::task::block_in_place(|| lines.next()) {
        match order.as_str() {
            "cut" => weak.cut().await,
            _ => weak.restore().await,
        }
        println!("done");
    }
    drop(broker);
}

impl Side {
    /// Before the broker at `upstream`, or an embedded one.
    pub fn start(upstream: Option<&str>) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(SIDE, upstream.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the other side");
        let orders = child.stdin.take().expect("its input");
        let mut answers = BufReader::new(child.stdout.take().expect("its output"));
        let mut addresses = String::new();
        answers.read_line(&mut addresses).expect("its addresses");
        let mut addresses = addresses.split_whitespace().map(str::to_owned);
        let mut next = || addresses.next().expect("an address");
        Self {
            child,
            orders,
            answers,
            direct: next(),
            open: next(),
            weak: next(),
        }
    }

    pub fn cut(&mut self) {
        self.order("cut");
    }

    pub fn restore(&mut self) {
        self.order("restore");
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("an order");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("an answer");
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.child.kill().expect("the other side ends");
        self.child.wait().expect("the other side ended");
    }
}

/// A publisher of orders to `topic`, with validation and the standby store.
pub async fn publisher(kafka: &str, registry: &str, directory: &Path, topic: &TopicName) -> Publisher {
    let config = config(kafka, registry, directory, topic);
    Publisher::start(config).await.expect("a publisher")
}

/// Its settings.
pub fn config(kafka: &str, registry: &str, directory: &Path, topic: &TopicName) -> Config {
    let mut config = Config::new("bench", Kafka::at(kafka), directory);
    config.registry = Some(Registry::new(registry));
    config.event_types = vec![EventType::new("order.placed", topic.clone())];
    config.new_topics = Some(NewTopics {
        partitions: PARTITIONS,
        replication: 1,
    });
    config
}

/// A topic that no earlier run used.
pub fn topic(name: &str) -> TopicName {
    TopicName::new(&format!("{name}-{}", std::process::id())).expect("a name")
}

/// An order of `bytes` as Avro, by one of 5,000 customers.
pub fn event(topic: &TopicName, writer: usize, number: usize, bytes: usize) -> (Event, Order) {
    let id = EventId::new(&format!("{writer:04}-{number:026}")).expect("an id");
    let now = SystemClock::default().now();
    let mut event = Event::new(id, "/orders-api", "order.placed", now, topic.clone());
    event.key = Some(format!("customer-{}", number % 5_000).into());
    let order = Order {
        order: format!("{number:020}"),
        customer: format!("customer-{:011}", number % 5_000),
        lines: 12,
        total_cents: 1_234_567,
        country: "United Kingdom".to_owned(),
        note: "x".repeat(bytes - ORDER_BYTES),
    };
    (event, order)
}

pub async fn publish(publisher: &Publisher, chunk: &[(Event, Order)]) {
    for receipt in publisher.publish_batch(chunk).await {
        assert!(receipt.is_ok(), "{receipt:?}");
    }
}

/// The waits of `count` events that are published one by one, shortest first.
pub async fn lone(publisher: &Publisher, topic: &TopicName, writer: usize, count: usize) -> Vec<Duration> {
    let mut waits = Vec::with_capacity(count);
    for number in 0..count {
        let (event, order) = event(topic, writer, number, 190);
        let start = Instant::now();
        publisher.publish(&event, &order).await.expect("a receipt");
        waits.push(start.elapsed());
    }
    waits.sort_unstable();
    waits
}

/// The wait that so many of a hundred do not exceed.
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// CPU time of all threads of this process.
pub fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Memory that this process holds, MiB.
pub fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("a size") / 1024.0
}

/// Answers every question with the one schema.
pub async fn serve_registry() -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let body = serde_json::json!({"id": 7, "schema": SCHEMA}).to_string();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let mut request = [0; 4_096];
            assert!(connection.read(&mut request).await.is_ok());
            connection.write_all(answer.as_bytes()).await.ok();
        }
    });
    url
}
