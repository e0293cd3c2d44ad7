//! Wrong inputs end in a sentence and the right exit code.

use crate::platform::{Ended, Platform, command, run};

#[test]
fn wrong_arguments_are_usage_errors() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (
            &["dlq", "show", "orders"][..],
            "expected DEAD-LETTER-TOPIC/PARTITION/OFFSET",
        ),
        (&["dlq", "redrive", "--version", "1"], "required"),
        (&["dlq", "redrive", "--all", "--version", "1"], "--topic"),
        (
            &["dlq", "redrive", "a/0/0", "--version", "zero"],
            "expected latest or a number from 1",
        ),
        (&["domain", "create"], "<NAME>"),
        (&["topic", "show", "a b"], "holds ' '"),
        (
            &["topic", "create", "orders", "--partitions", "0"],
            "--partitions",
        ),
        (&["broker", "--listen", "0.0.0.0:0"], "loopback only"),
        (&["statu"], "status"),
    ] {
        let mut refused = command(directory.path());
        refused.args(arguments);
        let ended = run(refused, "").with(2);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn foreign_text_is_shown_and_moves_nothing_on_the_terminal() {
    let platform = Platform::start();
    let schema = r#"{"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}"#;
    let register = ["schema", "register", "orders-value", "--file", "-"];
    platform.run_with(&register, schema).with(0);
    let line = "{\"id\": \"1\", \"key\": \"a\\u001b[2J\\nb\", \"value\": {}}\n";
    platform.run_with(&["publish", "orders"], line).with(100);
    let letters = platform.run(&["dlq", "list"]).with(0).stdout;
    assert!(letters.contains("a\\u{1b}[2J\\nb"), "{letters}");
    let tailed = platform.run(&[
        "tail",
        "evenkeel-cli.publish.dlt",
        "--from",
        "beginning",
        "--to",
        "end",
    ]);
    let tailed = tailed.with(0).stdout;
    assert!(
        !tailed.contains('\u{1b}') && tailed.lines().count() == 1,
        "{tailed}"
    );
}

#[test]
fn a_setting_that_looks_like_an_outage_is_named() {
    let mut platform = Platform::start();
    let schema = r#"{"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}"#;
    let register = ["schema", "register", "orders-value", "--file", "-"];
    platform.run_with(&register, schema).with(0);
    platform.park_after_ms = 300;
    platform.set("EVENKEEL_KAFKA__TLS__ENABLED", "true");
    let parked = platform
        .run_with(&["publish", "orders"], "{\"value\": {\"n\": 1}}\n")
        .with(0);
    assert_eq!(parked.lines()[0]["outcome"], "parked");
    assert!(parked.stderr.contains("remove kafka.tls"), "{}", parked.stderr);
}

#[test]
fn a_stderr_that_nobody_reads_ends_no_command() {
    let directory = tempfile::tempdir().unwrap();
    let (nobody, stderr) = std::io::pipe().unwrap();
    drop(nobody);
    let mut refused = command(directory.path());
    refused.args(["topic", "list"]);
    refused
        .env("EVENKEEL_KAFKA__BROKERS", "127.0.0.1:1")
        .stderr(stderr);
    assert_eq!(refused.status().unwrap().code(), Some(1));
}

#[test]
fn receipts_that_nobody_reads_are_an_error() {
    let platform = Platform::start();
    let (nobody, stdout) = std::io::pipe().unwrap();
    drop(nobody);
    let mut publish = platform.command(&["publish", "orders"]);
    publish.stdin(std::process::Stdio::piped()).stdout(stdout);
    publish.stderr(std::process::Stdio::piped());
    let mut child = publish.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"nonsense\n").unwrap();
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("publish them again with the same ids"),
        "{stderr}"
    );
}

#[test]
fn a_drain_of_what_is_not_there_or_cannot_be_read_fails() {
    let directory = tempfile::tempdir().unwrap();
    let drain = |arguments: &[&str]| {
        let mut drain = command(directory.path());
        drain.args(["standby", "drain"]).args(arguments);
        run(drain, "")
    };
    let nothing = drain(&[]).with(0);
    assert!(
        nothing.stderr.contains("no application has"),
        "{}",
        nothing.stderr
    );
    let unknown = drain(&["--application", "orders-apl"]).with(1);
    assert!(
        unknown.stderr.contains("orders-apl has no standby store"),
        "{}",
        unknown.stderr
    );
    std::fs::create_dir(directory.path().join("evenkeel-data")).unwrap();
    std::fs::write(directory.path().join("evenkeel-data/applications"), "").unwrap();
    let unreadable = drain(&[]).with(1);
    assert!(
        unreadable.stderr.contains("applications cannot be read"),
        "{}",
        unreadable.stderr
    );
}

#[test]
fn what_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["topic", "list"][..], "kafka.brokers"),
        (&["domain", "list"], "kafka.brokers"),
        (&["dlq", "list"], "kafka.brokers"),
        (&["schema", "list"], "http://127.0.0.1:1"),
        (&["dev", "--config", "none.toml"], "none.toml cannot be read"),
        (
            &["demo", "--report", "none/report.json"],
            "none/report.json cannot be written",
        ),
    ] {
        let mut refused = command(directory.path());
        refused
            .args(arguments)
            .env("EVENKEEL_KAFKA__BROKERS", "127.0.0.1:1")
            .env("EVENKEEL_REGISTRY__URL", "http://127.0.0.1:1");
        let ended = run(refused, "").with(1);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
    for setting in [
        "BROKER__LISTEN",
        "SERVER__REGISTRY_LISTEN",
        "SERVER__ADMIN_LISTEN",
    ] {
        let mut open = command(directory.path());
        open.arg("dev").env(format!("EVENKEEL_{setting}"), "0.0.0.0:0");
        let ended = run(open, "").with(1);
        assert!(ended.stderr.contains("loopback only"), "{}", ended.stderr);
    }
}

/// Why lines were refused, in the order of the words.
fn sorted_causes(ended: &Ended) -> Vec<String> {
    let lines = ended.lines();
    let mut causes: Vec<String> = lines.iter().map(|line| line["cause"].to_string()).collect();
    causes.sort();
    causes
}

#[test]
fn names_and_lines_that_cannot_be_used_are_refused_one_by_one() {
    let platform = Platform::start();
    platform.run(&["domain", "create", "there"]).with(0);
    for name in ["No", "anonymous"] {
        let refused = platform.run(&["domain", "create", name]).with(2);
        assert!(
            refused.stderr.contains("cannot name a domain"),
            "{}",
            refused.stderr
        );
    }
    for (arguments, expected) in [
        (&["domain", "create", "there"][..], "evenkeel domain token there"),
        (&["domain", "token", "nobody"], "there is no domain \"nobody\""),
        (&["dlq", "show", "a.publish.dlt/0/0"], "a.publish.dlt"),
        (&["schema", "show", "nothing-value"], "40401"),
    ] {
        let ended = platform.run(arguments).with(1);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
    let nothing = "nonsense\n[]\n{\"value\": 1, \"type\": \"\"}\n";
    let ended = platform.run_with(&["publish", "orders"], nothing).with(1);
    let causes = sorted_causes(&ended);
    let expected = [
        "its type or its source is empty",
        "line 1 of standard input",
        "line 2 of standard input",
    ];
    for (cause, expected) in causes.iter().zip(expected) {
        assert!(cause.contains(expected) && !cause.contains("struct"), "{cause}");
    }
    assert_eq!(
        (causes.len(), &ended.lines()[0]["outcome"]),
        (3, &"refused".into())
    );
    // One that is too long is passed over, and those behind it are looked at.
    let mut long = vec![b'x'; (64 << 20) + 10];
    long.extend_from_slice(b"\nnonsense\n");
    let ended = platform.run_with(&["publish", "orders"], long).with(1);
    let causes = sorted_causes(&ended);
    assert!(causes[0].contains("longer than"), "{causes:?}");
    assert!(causes[1].contains("line 2"), "{causes:?}");
    // Bytes that are no text end no stream: the lines behind them are looked at too.
    let ended = platform
        .run_with(&["publish", "orders"], b"\xff\xfe\n[]\n")
        .with(1);
    assert_eq!(ended.lines().len(), 2, "{}", ended.stdout);
}
