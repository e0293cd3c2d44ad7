//! What publishing costs: events per second, CPU time of this process per event, and the wait of a lone event. Validation
//! and the standby store are on. Run: `cargo bench -p evenkeel --bench publish -- [BROKER]`; without an address an
//! embedded broker is started in a process of its own.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench panics to fail, and prints what it measures"
)]

use std::io::BufRead as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel::{Config, Event, EventId, EventType, Kafka, NewTopics, Publisher, Registry, TopicName};
use evenkeel_event::clock::{Clock as _, SystemClock};

const EVENTS: usize = 1_000_000;
const WRITERS: usize = 4;
const CHUNK: usize = 1_000;
const LONE: usize = 2_000;
const SCHEMA: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"order","type":"string"},{"name":"customer","type":"string"},{"name":"lines","type":"int"},
    {"name":"total_cents","type":"long"},{"name":"country","type":"string"},{"name":"note","type":"string"}]}"#;

/// 190 bytes as Avro, prefix included.
#[derive(Debug, Clone, serde::Serialize)]
struct Order {
    order: String,
    customer: String,
    lines: i32,
    total_cents: i64,
    country: String,
    note: String,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if std::env::var("PUBLISH_BENCH_BROKER").is_ok() {
        runtime.block_on(serve());
        return;
    }
    // Cargo hands `--bench` on.
    let given = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let broker = given.is_none().then(start_broker);
    let address = given.unwrap_or_else(|| broker.as_ref().expect("a broker").1.clone());
    runtime.block_on(measure(address));
    if let Some((mut child, _)) = broker {
        child.kill().expect("the broker ends");
    }
}

async fn serve() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = evenkeel_embedded::Config::new(directory.path());
    config.listen = "127.0.0.1:0".parse().expect("an address");
    let broker = evenkeel_embedded::start(config).await.expect("a broker");
    println!("{}", broker.address());
    std::future::pending::<()>().await;
}

fn start_broker() -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .env("PUBLISH_BENCH_BROKER", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a broker");
    let output = child.stdout.take().expect("its output");
    let mut address = String::new();
    std::io::BufReader::new(output)
        .read_line(&mut address)
        .expect("its address");
    (child, address.trim().to_owned())
}

async fn measure(broker: String) {
    let directory = tempfile::tempdir().expect("a directory");
    let topic = TopicName::new(&format!("bench-{}", std::process::id())).expect("a name");
    let mut config = Config::new("bench", Kafka::at(broker), directory.path());
    config.registry = Some(Registry::new(serve_registry().await));
    config.event_types = vec![EventType::new("order.placed", topic.clone())];
    config.new_topics = Some(NewTopics {
        partitions: 6,
        replication: 1,
    });
    let publisher = Publisher::start(config).await.expect("a publisher");
    let chunks: Vec<Vec<Vec<(Event, Order)>>> = (0..WRITERS)
        .map(|writer| {
            let chunk = |from| {
                (0..CHUNK)
                    .map(|number| event(&topic, writer, from + number))
                    .collect()
            };
            (0..EVENTS / WRITERS / CHUNK / 10)
                .map(|nth| chunk(nth * CHUNK))
                .collect()
        })
        .collect();
    publish(&publisher, &chunks[0][0]).await;
    let waits = lone(&publisher, &topic).await;
    let (start, cpu) = (Instant::now(), cpu_time());
    let mut tasks = Vec::new();
    for own in chunks {
        let publisher = publisher.clone();
        tasks.push(tokio::spawn(async move {
            // The same events again and again: making them is not measured.
            for _ in 0..10 {
                for chunk in &own {
                    publish(&publisher, chunk).await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("a writer");
    }
    let (elapsed, cpu) = (start.elapsed(), cpu_time() - cpu);
    println!(
        "{EVENTS} events of 190 bytes: {:.0}/s, {:.3} us CPU each; a lone event {:.2} ms at p50, {:.2} ms at p99",
        EVENTS as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / EVENTS as f64,
        waits[LONE / 2].as_secs_f64() * 1e3,
        waits[LONE * 99 / 100].as_secs_f64() * 1e3,
    );
    assert!(publisher.close(Duration::from_secs(60)).await);
}

async fn publish(publisher: &Publisher, chunk: &[(Event, Order)]) {
    for receipt in publisher.publish_batch(chunk).await {
        assert!(receipt.is_ok(), "{receipt:?}");
    }
}

async fn lone(publisher: &Publisher, topic: &TopicName) -> Vec<Duration> {
    let mut waits = Vec::with_capacity(LONE);
    for number in 0..LONE {
        let (event, order) = event(topic, 99, number);
        let start = Instant::now();
        publisher.publish(&event, &order).await.expect("a receipt");
        waits.push(start.elapsed());
    }
    waits.sort_unstable();
    waits
}

fn event(topic: &TopicName, writer: usize, number: usize) -> (Event, Order) {
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
        note: "x".repeat(117),
    };
    (event, order)
}

/// CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Answers every question with the one schema.
async fn serve_registry() -> String {
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
