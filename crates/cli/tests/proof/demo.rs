//! `evenkeel demo` on both brokers: its own figures, and what Confluent's Python client and kcat read.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use evenkeel_testkit::{kcat_or_skip, python_or_skip};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::invoices::expected;
use crate::{kafka, registry};

/// The order that the demo makes up beside the data.
const CONSTRUCTED: &str = "constructed-order-without-customer";

/// A demo that ran on Apache Kafka and left its topics there.
struct Left {
    report: String,
    bootstrap: &'static str,
    prefix: String,
}

impl Left {
    fn topic(&self) -> String {
        format!("{}orders", self.prefix)
    }
}

/// Plays the demo in `directory` and gives its report.
fn demo(directory: &Path, arguments: &[&str]) -> String {
    let mut command = evenkeel(directory);
    command.args(["demo", "--report", "report.json"]).args(arguments);
    said(&mut command);
    std::fs::read_to_string(directory.join("report.json")).unwrap()
}

fn evenkeel(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.current_dir(directory);
    command
}

/// Runs a command that must end well.
fn said(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Compares a report with figures that are computed here, straight from the file.
fn check_report(report: &str, count: usize) {
    let mut report: Value = serde_json::from_str(report).unwrap();
    let figures = report.as_object_mut().unwrap();
    let mut taken = |name: &str| usize::try_from(figures.remove(name).unwrap().as_u64().unwrap()).unwrap();
    let (published, parked) = (taken("published"), taken("parked"));
    let (without_customer, totals) = expected(count);
    assert_eq!(published + parked, count - without_customer);
    assert!(
        published > 0 && parked > 0,
        "{published} published, {parked} parked"
    );
    let rest = json!({
        "on_topic": count,
        "dead_lettered": without_customer,
        "redriven": without_customer,
        "lost": 0,
        "out_of_order": 0,
        "duplicates": 0,
        "totals": totals,
    });
    assert_eq!(report, rest);
}

#[test]
fn the_demo_reconciles_on_the_embedded_broker() {
    assert_eq!(expected(512).0, 68);
    check_report(&demo(TempDir::new().unwrap().path(), &[]), 512);
}

#[test]
fn the_demo_reconciles_with_the_data_repeated() {
    let directory = TempDir::new().unwrap();
    check_report(&demo(directory.path(), &["--events", "2000"]), 2_000);
}

/// Plays the demo on the shared Apache Kafka, once for all tests.
fn on_kafka() -> Option<&'static Left> {
    static LEFT: OnceLock<Option<Left>> = OnceLock::new();
    LEFT.get_or_init(|| kafka::shared().map(|kafka| play(kafka.bootstrap())))
        .as_ref()
}

fn play(bootstrap: &'static str) -> Left {
    let directory = TempDir::new().unwrap();
    let report = demo(directory.path(), &["--broker", bootstrap]);
    let mut list = evenkeel(directory.path());
    list.env("EVENKEEL_KAFKA__BROKERS", bootstrap)
        .args(["topic", "list", "-o", "json"]);
    let topics: Value = serde_json::from_slice(&said(&mut list).stdout).unwrap();
    let prefix = topics
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["topic"].as_str()?.strip_suffix("orders"))
        .find(|prefix| prefix.starts_with("evenkeel-demo-"))
        .expect("the demo left its topics")
        .to_owned();
    Left {
        report,
        bootstrap,
        prefix,
    }
}

#[test]
fn the_demo_reconciles_on_apache_kafka() {
    let Some(left) = on_kafka() else { return };
    check_report(&left.report, 512);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confluents_python_client_comes_to_the_same_totals() {
    let Some(python) = python_or_skip() else { return };
    let played = tokio::task::spawn_blocking(on_kafka).await.unwrap();
    let Some(left) = played else { return };
    let url = registry::over(left.bootstrap, &left.prefix).await;
    let directory = TempDir::new().unwrap();
    let report = directory.path().join("report.json");
    std::fs::write(&report, &left.report).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(python);
    command
        .arg(root.join("scripts/judges/orders.py"))
        .args([left.bootstrap, &left.topic(), &url, CONSTRUCTED])
        .arg(root.join("data/online-retail-orders.csv"))
        .arg(report);
    let output = tokio::task::spawn_blocking(move || said(&mut command))
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "judged");
}

#[test]
fn kcat_lists_and_reads_the_demos_topic() {
    let Some(program) = kcat_or_skip() else { return };
    let Some(left) = on_kafka() else { return };
    let kcat = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command
            .args(["-b", left.bootstrap, "-t", &left.topic()])
            .args(arguments);
        String::from_utf8(said(&mut command).stdout).unwrap()
    };
    let listed = kcat(&["-L"]);
    assert!(
        listed.contains(&format!("topic \"{}\" with 4 partitions", left.topic())),
        "{listed}"
    );
    // One line a record: its key, the length of its value, its headers.
    let read = kcat(&["-C", "-e", "-q", "-f", "%k|%S|%h\n"]);
    let lines: Vec<&str> = read.lines().filter(|line| !line.contains(CONSTRUCTED)).collect();
    assert_eq!(lines.len(), 512);
    let is_whole = |line: &&str| {
        let parts: Vec<&str> = line.splitn(3, '|').collect();
        !parts[0].is_empty() && parts[1].parse::<usize>().unwrap() > 5 && parts[2].contains("ce_id=")
    };
    assert!(lines.iter().all(is_whole), "{read}");
}
