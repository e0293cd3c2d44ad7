//! A contract, events that break it, and their redrive.

use serde_json::json;

use crate::platform::Platform;

const FIRST: &str = r#"{"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}"#;
const SECOND: &str =
    r#"{"type": "record", "name": "Order", "fields": [{"name": "n", "type": ["int", "string"]}]}"#;
const INCOMPATIBLE: &str = r#"{"type": "record", "name": "Order", "fields": [{"name": "m", "type": "int"}]}"#;

const REGISTER: [&str; 5] = ["schema", "register", "orders-value", "--file", "-"];
const LETTERS: &str = "evenkeel-cli.publish.dlt";

#[test]
fn a_wrong_event_is_redriven_once_against_the_next_version() {
    let mut platform = Platform::start();
    let token = platform.run(&["domain", "create", "orders"]).with(0).stdout;
    let other = platform.run(&["domain", "create", "loyalty"]).with(0).stdout;
    platform.act_as("orders", token.trim());
    platform.run_with(&REGISTER, FIRST).with(0);
    let check = ["schema", "check", "orders-value", "-o", "json", "--file", "-"];
    let verdict = platform.run_with(&check, INCOMPATIBLE).with(100).json();
    assert_eq!(verdict["is_compatible"], false);
    refused_to_others(&mut platform, other.trim());
    platform.act_as("orders", token.trim());

    let lines = concat!(
        "{\"id\": \"1\", \"key\": \"a\", \"value\": {\"n\": 1}}\n",
        "{\"id\": \"2\", \"key\": \"a\", \"value\": {\"n\": \"two\"}}\n",
        "{\"id\": \"3\", \"key\": \"b\", \"value\": {\"n\": true}}\n",
    );
    let mut receipts = platform.run_with(&["publish", "orders"], lines).with(100).lines();
    receipts.sort_by_key(|receipt| receipt["id"].to_string());
    let outcomes: Vec<_> = receipts
        .iter()
        .map(|receipt| receipt["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["published", "dead-lettered", "dead-lettered"]);

    let groups = platform
        .run(&["dlq", "list", "--by-cause", "-o", "json"])
        .with(0)
        .json();
    assert_eq!(
        (&groups[0]["cause"], &groups[0]["letters"]),
        (&json!("schema-violation"), &json!(2))
    );
    let id = format!("{LETTERS}/{}/{}", receipts[1]["partition"], receipts[1]["offset"]);
    let letter = platform.run(&["dlq", "show", &id, "-o", "json"]).with(0).json();
    assert_eq!(letter["event"]["data"], json!({"n": "two"}));
    assert_eq!(letter["message"], "n: expected int, found string \"two\"");
    assert_eq!(letter["event"]["headers"], json!([]));
    platform.run(&["status"]).with(100);

    platform.run_with(&REGISTER, SECOND).with(0);
    redrive(&platform, &id);
}

#[test]
fn a_letter_that_comes_back_is_open_until_it_is_mended() {
    let platform = Platform::start();
    let text = r#"{"type": "record", "name": "Note", "fields": [{"name": "text", "type": "string"}]}"#;
    let register = ["schema", "register", "notes-value", "--file", "-"];
    platform.run_with(&register, text).with(0);
    let limit = |verb: &[&str], bytes: &str| {
        let limit = format!("max.message.bytes={bytes}");
        platform.run(&[&["topic"], verb, &[&limit]].concat()).with(0)
    };
    limit(&["create", "notes", "--set"], "2000");
    let line = format!(
        "{{\"id\": \"1\", \"value\": {{\"text\": \"{}\"}}}}\n",
        "x".repeat(4_000)
    );
    platform.run_with(&["publish", "notes"], line).with(100);
    let version = |version: &'static str, code| {
        let all = [
            "dlq",
            "redrive",
            "--all",
            "--topic",
            LETTERS,
            "--execute",
            "-o",
            "json",
            "--version",
            version,
        ];
        platform.run(&all).with(code).json()
    };
    let redrive = || version("1", 0)["executed"]["sent"].clone();
    let refused = |by: &'static str| {
        let plan = version(by, 100)["plan"].as_array().unwrap().clone();
        let refused = plan.iter().find(|row| row["judgement"] == "refused");
        refused.unwrap()["reason"].as_str().unwrap().to_owned()
    };
    let open = || {
        let listed = platform.run(&["dlq", "list", "-o", "json"]).with(0).json();
        let listed = listed.as_array().unwrap().clone();
        listed.iter().filter(|row| row["redriven"] == false).count()
    };
    let reason = refused("1");
    assert!(
        reason.contains("evenkeel topic set notes max.message.bytes="),
        "{reason}"
    );
    // Without its headers it fits, and with them it does not: that shows only at the topic.
    limit(&["set", "notes"], "4100");
    assert_eq!((redrive(), open()), (json!(1), 1), "the topic refuses it again");
    platform.run(&["status"]).with(100);
    limit(&["set", "notes"], "20000");
    platform
        .run_with(
            &register,
            text.replace("Note\", ", "Note\", \"doc\": \"a note\", "),
        )
        .with(0);
    let reason = refused("latest");
    assert!(reason.contains("use --version 1"), "{reason}");
    assert_eq!((redrive(), open()), (json!(1), 0));
    assert_eq!(platform.tail("notes").len(), 1);
}

#[test]
fn letters_of_a_platform_with_a_prefix_count_by_its_own_ledger() {
    let mut platform = Platform::start();
    platform.run_with(&REGISTER, FIRST).with(0);
    platform.run(&["topic", "create", "orders"]).with(0);
    platform.set("EVENKEEL_KAFKA__INTERNAL_TOPIC_PREFIX", "trial-");
    platform.set("EVENKEEL_PUBLISH__APPLICATION", "trial-shop");
    let line = "{\"id\": \"1\", \"value\": {\"n\": \"two\"}}\n";
    platform.run_with(&["publish", "orders"], line).with(100);
    platform.run_with(&REGISTER, SECOND).with(0);
    platform.set("EVENKEEL_KAFKA__INTERNAL_TOPIC_PREFIX", "");
    platform.run(&["status"]).with(100);
    platform.set("EVENKEEL_KAFKA__INTERNAL_TOPIC_PREFIX", "trial-");
    let redrive = [
        "dlq",
        "redrive",
        "--all",
        "--topic",
        "trial-shop.publish.dlt",
        "--version",
        "latest",
        "--execute",
    ];
    platform.run(&redrive).with(0);
    platform.set("EVENKEEL_KAFKA__INTERNAL_TOPIC_PREFIX", "");
    platform.run(&["status"]).with(0);
    let listed = platform.run(&["dlq", "list", "-o", "json"]).with(0).json();
    assert_eq!(listed[0]["redriven"], true);
}

#[test]
fn what_was_redriven_from_a_directory_that_is_lost_is_sent_again_when_it_is_taken_over() {
    let mut platform = Platform::start();
    platform.run_with(&REGISTER, FIRST).with(0);
    platform.run(&["topic", "create", "orders"]).with(0);
    platform.set("EVENKEEL_PUBLISH__APPLICATION", "shop");
    platform.set("EVENKEEL_DATA__DIRECTORY", "burnt");
    let line = "{\"id\": \"1\", \"value\": {\"n\": \"two\"}}\n";
    platform.run_with(&["publish", "orders"], line).with(100);
    platform.run_with(&REGISTER, SECOND).with(0);
    let all = [
        "dlq",
        "redrive",
        "--all",
        "--topic",
        "shop.publish.dlt",
        "-o",
        "json",
    ];
    let redrive = |platform: &Platform, more: &[&str]| {
        let latest = ["--version", "latest"];
        platform.run(&[&all, &latest[..], more].concat()).with(0)
    };
    // Held, so that it burns with its directory.
    platform
        .run(&["standby", "hold", "--application", "shop", "--reason", "a test"])
        .with(0);
    let first = redrive(&platform, &["--execute"]);
    assert!(first.stderr.contains("held back"), "{}", first.stderr);
    assert_eq!(first.json()["executed"]["parked"], 1);
    std::fs::remove_dir_all(platform.path().join("burnt")).unwrap();

    platform.set("EVENKEEL_DATA__DIRECTORY", "another");
    assert_eq!(
        redrive(&platform, &["--execute"]).json()["plan"][0]["judgement"],
        "done"
    );
    let plan = redrive(&platform, &["--take-over"]);
    assert_eq!(plan.json()["plan"][0]["judgement"], "doubtful");
    assert!(plan.stderr.contains("looked for"), "{}", plan.stderr);
    let executed = redrive(&platform, &["--take-over", "--execute"]).json();
    let counts = ["sent", "marked", "found"].map(|count| executed["executed"][count].clone());
    assert_eq!(counts, [1, 1, 0]);
    assert_eq!(on_topic(&platform), ["1"]);
    let again = redrive(&platform, &["--take-over", "--execute"]).json();
    assert_eq!(again["plan"][0]["judgement"], "done");

    platform.set("EVENKEEL_DATA__DIRECTORY", "a third");
    let executed = redrive(&platform, &["--take-over", "--execute"]).json();
    assert_eq!(executed["executed"]["found"], 1);
    assert_eq!(on_topic(&platform), ["1"]);
}

fn refused_to_others(platform: &mut Platform, token: &str) {
    platform.act_as("loyalty", token);
    let refused = platform.run_with(&REGISTER, SECOND).with(1);
    assert!(
        refused.stderr.contains("40301") && refused.stderr.contains("orders"),
        "{}",
        refused.stderr
    );
}

fn redrive(platform: &Platform, id: &str) {
    let all = |version: &'static str, more: &[&'static str]| {
        let plan = [
            "dlq",
            "redrive",
            "--all",
            "--topic",
            LETTERS,
            "-o",
            "json",
            "--version",
            version,
        ];
        platform.run(&[&plan, more].concat()).with(100).json()
    };
    let judged = |plan: &serde_json::Value| {
        let mut judged: Vec<_> = plan["plan"].as_array().unwrap().clone();
        judged.sort_by_key(|row| row["event_id"].to_string());
        let judged: Vec<_> = judged.iter().map(|row| row["judgement"].clone()).collect();
        judged
    };
    assert_eq!(judged(&all("1", &[])), ["refused", "refused"]);
    assert_eq!(judged(&all("9", &[])), ["refused", "refused"]);
    assert_eq!(judged(&all("latest", &[])), ["ready", "refused"]);
    assert_eq!(on_topic(platform), [json!("1")], "a plan sends nothing");
    let to = platform
        .run(&["dlq", "redrive", id, "--version", "latest", "--to", "_schemas"])
        .with(1);
    assert!(to.stderr.contains("nothing may be redriven to"), "{}", to.stderr);

    let executed = all("latest", &["--execute", "--reason", "n may be a word"]);
    assert_eq!(executed["executed"]["sent"], 1);
    assert_eq!(judged(&all("latest", &["--execute"])), ["done", "refused"]);
    assert_eq!(on_topic(platform), [json!("1"), json!("2")]);
    let listed = platform.run(&["dlq", "list", "-o", "json"]).with(0).json();
    let done = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["redriven"] == true);
    assert_eq!(done.count(), 1, "the letters stay, and one is marked");
}

/// Ids of the events on the topic.
fn on_topic(platform: &Platform) -> Vec<serde_json::Value> {
    let lines = platform.tail("orders");
    lines.iter().map(|line| line["id"].clone()).collect()
}
