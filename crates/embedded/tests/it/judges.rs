//! Other vendors' clients. Where one is missing the test says so; in CI it fails.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use evenkeel_testkit::{kcat_or_skip, python_or_skip};

use crate::served::Served;

fn run(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn kcat(program: &Path, served: &Served, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(["-b", &served.address.to_string()]).args(arguments);
    String::from_utf8(run(command, input).stdout).unwrap()
}

#[test]
fn kcat_lists_produces_and_consumes_in_a_group() {
    let Some(program) = kcat_or_skip() else { return };
    let served = Served::start();
    served.client().create("t", 3, &[]);
    let listed = kcat(&program, &served, &["-L"], "");
    assert!(listed.contains("topic \"t\" with 3 partitions"), "{listed}");
    let mut lines: Vec<String> = (0..5_000).map(|number| format!("line {number}")).collect();
    for codec in ["none", "gzip", "lz4", "zstd"] {
        let setting = format!("compression.codec={codec}");
        kcat(
            &program,
            &served,
            &["-P", "-t", "t", "-X", "enable.idempotence=true", "-X", &setting],
            &lines.join("\n"),
        );
    }
    let earliest = "auto.offset.reset=earliest";
    let consumed = kcat(&program, &served, &["-G", "g", "-e", "-X", earliest, "t"], "");
    let mut consumed: Vec<&str> = consumed.lines().collect();
    consumed.sort_unstable();
    lines = lines
        .iter()
        .flat_map(|line| std::iter::repeat_n(line.clone(), 4))
        .collect();
    lines.sort_unstable();
    assert_eq!(consumed, lines);
    assert_eq!(
        kcat(&program, &served, &["-G", "g", "-e", "-X", earliest, "t"], ""),
        "",
        "the group has committed"
    );
}

const PYTHON: &str = r#"
import sys
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
servers = {"bootstrap.servers": sys.argv[1]}
admin = AdminClient(servers)
for future in admin.create_topics([NewTopic("p", 3, 1, config={"max.message.bytes": "2000000"})]).values():
    future.result()
errors = []
producer = Producer({**servers, "enable.idempotence": True, "linger.ms": 5})
for number in range(20000):
    while True:
        try:
            producer.produce("p", b"v%d" % number, key=b"k%d" % (number % 100), on_delivery=lambda e, m: e and errors.append(e))
            break
        except BufferError:
            producer.poll(0.1)
    producer.poll(0)
assert producer.flush(60) == 0 and not errors, errors
consumer = Consumer({**servers, "group.id": "g", "auto.offset.reset": "earliest", "enable.auto.commit": False})
consumer.subscribe(["p"])
last, count = {}, 0
while count < 20000:
    for message in consumer.consume(1000, 1.0):
        assert not message.error(), message.error()
        number = int(message.value()[1:])
        assert last.get(message.key(), -1) < number
        last[message.key()] = number
        count += 1
consumer.commit(asynchronous=False)
committed = consumer.committed([TopicPartition("p", partition) for partition in range(3)])
assert sum(partition.offset for partition in committed) == 20000, committed
consumer.close()
resource = ConfigResource("topic", "p")
assert admin.describe_configs([resource])[resource].result()["max.message.bytes"].value == "2000000"
group = admin.describe_consumer_groups(["g"])["g"].result()
assert str(group.state).endswith("EMPTY"), group.state
for future in admin.delete_topics(["p"]).values():
    future.result()
print("ok", count)
"#;

#[test]
fn confluents_python_client_produces_consumes_and_administers() {
    let Some(python) = python_or_skip() else { return };
    let served = Served::start();
    let mut command = Command::new(python);
    command.args(["-c", PYTHON, &served.address.to_string()]);
    assert_eq!(
        String::from_utf8(run(command, "").stdout).unwrap().trim(),
        "ok 20000"
    );
}
