use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_testkit::{Kafka, Listener, Options, kafka_or_skip};

/// Waits until nothing listens there any more.
pub(crate) fn wait_until_closed(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "{address} still answers");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn topics(kafka: &Kafka) -> String {
    let output = kafka
        .console("kafka-topics")
        .args(["--bootstrap-server", kafka.bootstrap(), "--list"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_killed_node_comes_back_with_its_data() {
    let Some(kafka) = kafka_or_skip(Options {
        tls: true,
        ..Options::default()
    }) else {
        return;
    };
    for listener in [Listener::Ssl, Listener::Mtls, Listener::SaslSsl] {
        assert!(TcpStream::connect(kafka.bootstrap_of(listener)).is_ok());
    }
    let create = [
        "--bootstrap-server",
        kafka.bootstrap(),
        "--create",
        "--topic",
        "kept",
    ];
    assert!(
        kafka
            .console("kafka-topics")
            .args(create)
            .output()
            .unwrap()
            .status
            .success()
    );

    kafka.kill(1);
    assert!(TcpStream::connect(kafka.bootstrap()).is_err());
    kafka.restart(1);
    assert_eq!(topics(&kafka), "kept\n");

    let (bootstrap, folder) = (kafka.bootstrap().to_owned(), kafka.nodes()[0].folder.clone());
    drop(kafka);
    assert!(TcpStream::connect(bootstrap).is_err());
    assert!(!folder.exists());
}

/// Set in the copy of this test process that holds Kafka and is killed.
const HOLDER: &str = "EVENKEEL_TESTKIT_HOLDER";

#[test]
fn a_killed_test_process_takes_kafka_with_it() {
    if std::env::var_os(HOLDER).is_some() {
        return hold_kafka();
    }
    if kafka_or_skip(Options::default()).is_none() {
        return;
    }
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "kafka::a_killed_test_process_takes_kafka_with_it",
            "--nocapture",
        ])
        .env(HOLDER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let address = lines
        .map(Result::unwrap)
        .find_map(|line| Some(line.split_once("bootstrap=")?.1.to_owned()))
        .unwrap();
    assert!(TcpStream::connect(&address).is_ok());
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_until_closed(&address);
}

/// Starts Kafka, says where, and waits to be killed.
fn hold_kafka() {
    let kafka = Kafka::start(Options::default());
    println!("bootstrap={}", kafka.bootstrap());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
