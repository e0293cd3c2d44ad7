use std::net::TcpStream;

use evenkeel_testkit::{Kafka, Listener, Options, kafka_or_skip};

use crate::holder;

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

#[test]
fn a_killed_test_process_takes_kafka_with_it() {
    if holder::is_meant() {
        return holder::hold(Kafka::start(Options::default()).bootstrap());
    }
    if kafka_or_skip(Options::default()).is_some() {
        holder::takes_its_server_with_it("kafka::a_killed_test_process_takes_kafka_with_it");
    }
}
