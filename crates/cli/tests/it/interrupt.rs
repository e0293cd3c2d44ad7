//! Ctrl-C at odd moments: whatever was begun has its receipt, and nothing is left behind.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use crate::platform::{Platform, signal, tail_of, until};
use crate::standby::SCHEMA;

#[test]
fn what_lies_on_the_topic_has_its_receipt() {
    let platform = Platform::start();
    let register = ["schema", "register", "orders-value", "--file", "-"];
    platform.run_with(&register, SCHEMA).with(0);
    let mut publish = platform
        .command(&["publish", "orders"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = publish.stdin.take().unwrap();
    for number in 0..2000 {
        writeln!(
            input,
            "{{\"key\": \"a\", \"value\": {{\"n\": {number}}}, \"id\": \"e-{number}\"}}"
        )
        .unwrap();
    }
    // More lines may come: only the signal ends it.
    until(|| platform.run(&tail_of("orders")).code == 0);
    signal(&publish, "INT");
    let output = publish.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("stopped by a signal"), "{said}");
    drop(input);
    let receipts = String::from_utf8(output.stdout).unwrap();
    let ids = |text: &str| -> BTreeSet<String> {
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].to_string())
            .collect()
    };
    assert_eq!(
        ids(&receipts),
        ids(&platform.run(&tail_of("orders")).with(0).stdout)
    );
}

#[test]
fn a_demo_that_is_stopped_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let temporary = directory.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let mut demo = crate::platform::command(directory.path())
        .args(["demo", "--events", "5000"])
        .env("TMPDIR", &temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(demo.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(" 2. ") {
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended: {line}");
    }
    assert!(std::fs::read_dir(&temporary).unwrap().next().is_some());
    signal(&demo, "INT");
    std::io::copy(&mut said, &mut std::io::sink()).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(1));
    assert!(std::fs::read_dir(&temporary).unwrap().next().is_none());
}
