//! The table of clients in the README: each row is played by each client, and what came out is held against it.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use evenkeel_testkit::{console_or_skip, kcat_or_skip, node_or_skip, python_or_skip};

use crate::served::Served;

const CLIENTS: [&str; 4] = [
    "kcat",
    "librdkafka (Python)",
    "Java console tools",
    "kafkajs (Node)",
];

/// The rows. A client that has no such thing says nothing about it.
const FEATURES: [&str; 12] = [
    "topics: list, create, delete",
    "produce and consume",
    "compression",
    "groups: join, commit, go on",
    "static members",
    "more partitions",
    "topic settings, read and changed",
    "offsets: first, last, newest",
    "delete records",
    "groups: describe, delete",
    "delete single offsets",
    "transactions",
];

/// What a client did, by feature.
type Column = BTreeMap<&'static str, String>;

fn output(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A client may end before it has read everything.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn succeeds(command: &mut Command, input: &str) -> String {
    let output = output(command, input);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{complained}");
    said
}

fn yes(features: &[&'static str]) -> Column {
    features
        .iter()
        .map(|feature| (*feature, "yes".to_owned()))
        .collect()
}

fn kcat(program: &Path) -> Column {
    let served = Served::start();
    served.client().create("t", 2, &[]);
    let run = |arguments: &[&str], input: &str| {
        let broker = served.address.to_string();
        succeeds(Command::new(program).args(["-b", &broker]).args(arguments), input)
    };
    assert!(run(&["-L"], "").contains("topic \"t\" with 2 partitions"));
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let setting = format!("compression.codec={codec}");
        let idempotent = "enable.idempotence=true";
        run(&["-P", "-t", "t", "-X", &setting, "-X", idempotent], "one\ntwo\n");
    }
    assert_eq!(run(&["-C", "-e", "-q", "-t", "t"], "").lines().count(), 10);
    let group = |more: &[&str]| {
        let earliest = ["-G", "g", "-e", "-X", "auto.offset.reset=earliest"];
        run(&[&earliest, more, &["t"]].concat(), "").lines().count()
    };
    assert_eq!([group(&[]), group(&[])], [10, 0]);
    run(&["-P", "-t", "t"], "three\n");
    let member = ["-X", "group.instance.id=one"];
    assert_eq!([group(&member), group(&member)], [1, 0]);
    let newest = run(&["-Q", "-t", "t:0:-1"], "");
    assert!(newest.contains("t [0] offset"), "{newest}");
    let mut column = yes(&[
        "produce and consume",
        "groups: join, commit, go on",
        "static members",
    ]);
    column.insert("topics: list, create, delete", "list".to_owned());
    column.insert("compression", "gzip, snappy, lz4, zstd".to_owned());
    column.insert("offsets: first, last, newest", "last".to_owned());
    column
}

/// Runs a script that prints a line for each feature: its name, a tab, what it did.
fn scripted(mut command: Command) -> Column {
    let served = Served::start();
    let said = succeeds(command.arg(served.address.to_string()), "");
    let lines = said.lines().filter_map(|line| line.split_once('\t'));
    let cell = |(feature, cell): (&str, &str)| {
        let known = FEATURES.iter().find(|known| **known == feature);
        (
            *known.unwrap_or_else(|| panic!("no such row: {feature}")),
            cell.to_owned(),
        )
    };
    lines.map(cell).collect()
}

/// Apache Kafka's console tools on a broker of their own.
struct Java<'a> {
    console: &'a Path,
    served: Served,
    broker: String,
}

impl Java<'_> {
    fn run(&self, tool: &str, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new(self.console);
        command.arg(tool).args(["--bootstrap-server", &self.broker]);
        succeeds(command.args(arguments), input)
    }

    fn writes_and_reads(&self) {
        let topic = ["--topic", "t"];
        self.run(
            "kafka-topics",
            &["--create", "--partitions", "1", "--topic", "t"],
            "",
        );
        assert_eq!(self.run("kafka-topics", &["--list"], "").trim(), "t");
        for codec in ["gzip", "snappy", "lz4", "zstd"] {
            let arguments = [&topic[..], &["--compression-codec", codec]].concat();
            self.run("kafka-console-producer", &arguments, "one\ntwo\n");
        }
        let consume = |count: &str, more: &[&str]| {
            let from = [
                "--from-beginning",
                "--max-messages",
                count,
                "--timeout-ms",
                "30000",
            ];
            let arguments = [&topic[..], &from, more].concat();
            let said = self.run("kafka-console-consumer", &arguments, "");
            // The tool says some things of its own there, too.
            let values = said.lines().filter(|line| ["one", "two"].contains(line));
            values.count()
        };
        assert_eq!(consume("8", &[]), 8);
        let member = ["--group", "g", "--consumer-property", "group.instance.id=one"];
        assert_eq!(
            [consume("6", &member), consume("2", &member)],
            [6, 2],
            "it goes on"
        );
    }

    fn changes_topics(&self) {
        self.run(
            "kafka-topics",
            &["--alter", "--partitions", "3", "--topic", "t"],
            "",
        );
        let entity = ["--entity-type", "topics", "--entity-name", "t"];
        let change = ["--alter", "--add-config", "retention.ms=7777777"];
        self.run("kafka-configs", &[&entity[..], &change].concat(), "");
        let settings = self.run("kafka-configs", &[&entity[..], &["--describe"]].concat(), "");
        assert!(settings.contains("retention.ms=7777777"), "{settings}");
        let newest = self.run("kafka-get-offsets", &["--topic", "t", "--time", "-3"], "");
        assert!(newest.lines().any(|line| line.starts_with("t:0:")), "{newest}");
        let last = self.run("kafka-get-offsets", &["--topic", "t"], "");
        assert!(last.contains("t:0:8") && last.contains("t:2:0"), "{last}");
        let file = self.served.directory.path().join("delete.json");
        let wanted = r#"{"partitions": [{"topic": "t", "partition": 0, "offset": 3}], "version": 1}"#;
        std::fs::write(&file, wanted).unwrap();
        let arguments = ["--offset-json-file", file.to_str().unwrap()];
        let deleted = self.run("kafka-delete-records", &arguments, "");
        assert!(deleted.contains("low_watermark: 3"), "{deleted}");
    }

    fn looks_after_groups(&self) {
        let groups = |arguments: &[&str]| {
            self.run(
                "kafka-consumer-groups",
                &[&["--group", "g"], arguments].concat(),
                "",
            )
        };
        let described = groups(&["--describe"]);
        assert!(
            described.lines().any(|line| line.starts_with("g ")),
            "{described}"
        );
        // A static member stays in the group until its session ends: it is taken out by hand.
        leave(&self.served);
        let forgotten = groups(&["--delete-offsets", "--topic", "t"]);
        assert!(forgotten.contains("Successful"), "{forgotten}");
        groups(&["--delete"]);
    }

    fn is_refused_transactions(&self) {
        let load = [
            "--topic",
            "t",
            "--num-records",
            "1",
            "--record-size",
            "1",
            "--throughput",
            "-1",
        ];
        let transactional = ["--transactional-id", "tx", "--transaction-duration-ms", "1000"];
        let mut command = Command::new(self.console);
        command
            .arg("kafka-producer-perf-test")
            .args(load)
            .args(transactional);
        command.args(["--producer-props", &format!("bootstrap.servers={}", self.broker)]);
        let refused = output(&mut command, "");
        let said = String::from_utf8_lossy(&refused.stderr) + String::from_utf8_lossy(&refused.stdout);
        assert!(said.contains("TransactionalIdAuthorizationException"), "{said}");
    }
}

fn java(console: &Path) -> Column {
    let served = Served::start();
    let broker = served.address.to_string();
    let java = Java {
        console,
        served,
        broker,
    };
    java.writes_and_reads();
    java.changes_topics();
    java.looks_after_groups();
    java.is_refused_transactions();
    java.run("kafka-topics", &["--delete", "--topic", "t"], "");
    let mut column = yes(&FEATURES);
    column.insert("compression", "gzip, snappy, lz4, zstd".to_owned());
    column.insert("transactions", "refused at once".to_owned());
    column
}

fn leave(served: &Served) {
    use kafka_protocol::messages::{GroupId, LeaveGroupRequest, leave_group_request::MemberIdentity};
    let member = MemberIdentity::default().with_group_instance_id(Some(crate::client::text("one")));
    let request = LeaveGroupRequest::default()
        .with_group_id(GroupId(crate::client::text("g")))
        .with_members(vec![member]);
    let left = served.client().call(4, &request);
    // On a slow machine its session has ended by now (25).
    assert!([0, 25].contains(&left.members[0].error_code));
}

/// The rows of the README's table: feature, then a cell for each client.
fn readme() -> Vec<Vec<String>> {
    let text = include_str!("../../README.md");
    let section = text
        .split("## Works with")
        .nth(1)
        .expect("the README has no such section");
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    let table = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    table.map(cells).collect()
}

fn render(columns: &[Option<Column>], known: &[Vec<String>]) -> String {
    let mut table = format!(
        "| | {} |\n|{}\n",
        CLIENTS.join(" | "),
        " --- |".repeat(CLIENTS.len() + 1)
    );
    for feature in FEATURES {
        let row = known
            .iter()
            .find(|row| row.first().is_some_and(|first| first == feature));
        let cells = columns.iter().enumerate().map(|(place, column)| match column {
            Some(column) => column.get(feature).cloned().unwrap_or_else(|| "–".to_owned()),
            // The client cannot be had here: what was seen elsewhere stands.
            None => row
                .and_then(|row| row.get(place + 1).cloned())
                .unwrap_or_default(),
        });
        table += &format!("| {feature} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
    table
}

#[test]
fn the_readmes_table_is_what_the_clients_do() {
    let python = python_or_skip().map(|python| {
        let mut command = Command::new(python);
        command.args(["-c", include_str!("works_with.py")]);
        command
    });
    let node = node_or_skip().map(|mut node| {
        node.args(["-e", include_str!("works_with.js"), "--"]);
        node
    });
    let columns = [
        kcat_or_skip().map(|program| kcat(&program)),
        python.map(scripted),
        console_or_skip().map(|console| java(&console)),
        node.map(scripted),
    ];
    let known = readme();
    let table = render(&columns, &known);
    // The harness swallows what the print macros of a passing test say; the table must be seen.
    writeln!(std::io::stderr(), "{table}").unwrap();
    let found: Vec<Vec<String>> = table
        .lines()
        .skip(2)
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect();
    assert_eq!(
        known, found,
        "the README's table differs from what the run shows:\n{table}"
    );
}
