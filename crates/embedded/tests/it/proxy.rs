//! The fault proxy before three nodes of Apache Kafka, with librdkafka and Java as clients.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use evenkeel_embedded::proxy::{Api, Proxy};
use evenkeel_testkit::{Kafka, Options, kafka_or_skip, kcat_or_skip};

fn kcat(program: &Path, proxy: &Proxy, arguments: &[&str], input: &str) -> Output {
    let mut running = Command::new(program)
        .args(["-b", proxy.bootstrap()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    running.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn create_topic(kafka: &Kafka, name: &str) {
    let arguments = [
        "--bootstrap-server",
        kafka.bootstrap(),
        "--create",
        "--topic",
        name,
        "--partitions",
        "6",
    ];
    let output = kafka
        .console("kafka-topics")
        .args(arguments)
        .args(["--replication-factor", "3"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_apache_kafka_do_not_pass_by_the_proxy() {
    let Some(kcat_program) = kcat_or_skip() else {
        return;
    };
    let Some(kafka) = kafka_or_skip(Options {
        nodes: 3,
        ..Options::default()
    }) else {
        return;
    };
    create_topic(&kafka, "orders");
    let first = kafka.bootstrap().split(',').next().unwrap();
    let proxy = Proxy::start(first).unwrap();

    let listed = said(&kcat(&kcat_program, &proxy, &["-L"], ""));
    assert!(
        listed.contains("3 brokers") && listed.contains(proxy.bootstrap()),
        "{listed}"
    );
    for own in kafka.bootstrap().split(',') {
        assert!(!listed.contains(own), "{own} is named: {listed}");
    }

    let lines: String = (0..600)
        .map(|number| format!("key-{number}:order {number}\n"))
        .collect();
    let produced = kcat(
        &kcat_program,
        &proxy,
        &["-P", "-t", "orders", "-K", ":", "-X", "acks=all"],
        &lines,
    );
    assert!(produced.status.success(), "{}", said(&produced));
    let consume = ["-C", "-t", "orders", "-e", "-q"];
    let consumed = kcat(&kcat_program, &proxy, &consume, "");
    assert_eq!(consumed.stdout.split(|byte| *byte == b'\n').count(), 601);

    // A group finds its coordinator through the proxy too.
    let arguments = [
        "--bootstrap-server",
        proxy.bootstrap(),
        "--topic",
        "orders",
        "--group",
        "loyalty",
    ];
    let java = kafka
        .console("kafka-console-consumer")
        .args(arguments)
        .args(["--from-beginning", "--max-messages", "600"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&java.stdout).lines().count(),
        600,
        "{}",
        said(&java)
    );

    proxy.cut().await;
    assert!(
        !kcat(&kcat_program, &proxy, &["-L", "-m", "2"], "")
            .status
            .success()
    );
    proxy.restore().await;
    assert!(kcat(&kcat_program, &proxy, &["-L"], "").status.success());

    // The batch whose answer is swallowed is sent again by an idempotent producer, and lands once.
    proxy.drop_responses(Api::PRODUCE, 1).await;
    let idempotent = ["-P", "-t", "orders", "-K", ":", "-X", "enable.idempotence=true"];
    let produced = kcat(&kcat_program, &proxy, &idempotent, "key-600:order 600\n");
    assert!(produced.status.success(), "{}", said(&produced));
    assert_eq!(proxy.dropped(), 1);
    let consumed = kcat(&kcat_program, &proxy, &consume, "");
    assert_eq!(consumed.stdout.split(|byte| *byte == b'\n').count(), 602);
}
