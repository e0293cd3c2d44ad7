//! What is parked is seen, kept and sent on as an operator wants.

use serde_json::{Value, json};

use crate::platform::{Platform, command, run, until};

pub(crate) const SCHEMA: &str =
    r#"{"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}"#;

/// A platform with a contract for orders, at addresses that it keeps, whose publishers park soon.
pub(crate) fn platform() -> Platform {
    let mut platform = Platform::start();
    let register = ["schema", "register", "orders-value", "--file", "-"];
    platform.run_with(&register, SCHEMA).with(0);
    platform
        .run(&["topic", "create", "orders", "--partitions", "2"])
        .with(0);
    // The schema is kept on disk from here on.
    platform.run_with(&["publish", "orders"], lines(0, 1)).with(0);
    platform.stay_at_these_addresses();
    platform.park_after_ms = 300;
    platform
}

/// Lines of one key with `n` from `first` on, each its own id.
pub(crate) fn lines(first: u32, count: u32) -> String {
    let line = |n: u32| format!("{{\"id\": \"{n}\", \"key\": \"a\", \"value\": {{\"n\": {n}}}}}\n");
    (first..first + count).map(line).collect()
}

pub(crate) fn on_topic(platform: &Platform, topic: &str) -> Vec<Value> {
    let lines = platform.tail(topic);
    lines.iter().map(|line| line["value"]["n"].clone()).collect()
}

fn list(platform: &Platform) -> Value {
    platform.run(&["standby", "list", "-o", "json"]).with(0).json()
}

fn numbers(count: u32) -> Vec<Value> {
    (0..count).map(|n| json!(n)).collect()
}

#[test]
fn a_running_application_is_looked_at_held_and_released() {
    let mut platform = platform();
    platform.stop();
    let mut running = platform.begin(&["publish", "orders"]);
    running.write(&lines(1, 2));
    for _ in 0..2 {
        assert_eq!(running.next()["outcome"], "parked");
    }
    is_seen_while_it_runs(&platform);
    hold_while_it_runs(&platform);
    platform.start_again();
    running.write(&lines(3, 2));
    for _ in 0..2 {
        assert_eq!(
            running.next()["outcome"],
            "parked",
            "it is parked behind what is held"
        );
    }
    assert_eq!(on_topic(&platform, "orders"), numbers(1));
    let listed = list(&platform);
    assert_eq!(
        (&listed[0]["held"], &listed[0]["hold_reason"]),
        (&json!(true), &json!("ticket 17"))
    );
    let table = platform.run(&["standby", "list"]).with(0).stdout;
    assert!(table.contains("held"), "{table}");
    until(|| {
        platform
            .admin("/metrics")
            .contains("evenkeel_standby_places_held{application=\"evenkeel-cli\"} 1\n")
    });
    let status = platform.run(&["status"]).with(100).stdout;
    assert!(
        status.contains("standby release --application evenkeel-cli"),
        "{status}"
    );

    platform.run(&["standby", "release", "--topic", "orders"]).with(0);
    until(|| on_topic(&platform, "orders") == numbers(5));
    assert_eq!(running.end(), 0);
    assert_eq!(list(&platform), json!([]));
}

/// Two events are parked, the registry and Kafka are down.
fn is_seen_while_it_runs(platform: &Platform) {
    let listed = list(platform);
    assert_eq!(
        (&listed[0]["in_use"], &listed[0]["events"], &listed[0]["held"]),
        (&json!(true), &json!(2), &json!(false))
    );
    let status = platform.run(&["status", "-o", "json"]).with(100).json();
    assert_eq!(
        (&status["standby"][0]["events"], &status["standby"][0]["in_use"]),
        (&json!(2), &json!(true))
    );
    let shown = platform.run(&["standby", "show", "-o", "json"]).with(0).lines();
    let ids: Vec<&Value> = shown.iter().map(|line| &line["id"]).collect();
    assert_eq!(ids, [&json!("1"), &json!("2")]);
    assert_eq!(
        (&shown[0]["position"], &shown[0]["key"]),
        (&json!(0), &json!("a"))
    );
    assert_eq!(
        shown[0]["value"],
        json!({"n": 1}),
        "the registry is down, and the application keeps its schemas: {}",
        shown[0]
    );
}

fn hold_while_it_runs(platform: &Platform) {
    let hold = [
        "standby",
        "hold",
        "--topic",
        "orders",
        "--reason",
        "ticket 17",
        "-o",
        "json",
    ];
    let holds = platform.run(&hold).with(0).json();
    assert_eq!(
        (&holds[0]["topic"], &holds[0]["reason"]),
        (&json!("orders"), &json!("ticket 17"))
    );
    // The running publisher sees it within a second or two, and Kafka is not back before.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
}

fn a_hold_of_nothing_is_seen(platform: &Platform) {
    let listed = list(platform);
    assert_eq!(
        (&listed[0]["held"], &listed[0]["events"]),
        (&json!(true), &json!(0)),
        "{listed}"
    );
}

#[test]
fn an_export_goes_on_behind_its_cursor_and_can_be_published() {
    let mut platform = platform();
    platform.run(&["standby", "hold"]).with(0);
    a_hold_of_nothing_is_seen(&platform);
    platform.stop();
    let events = [
        r#"{"id": "1", "key": "a", "value": {"n": 1}, "source": "/till", "subject": "s", "time": "2010-12-01T08:26:00.000Z"}"#,
        r#"{"id": "2", "key": "a", "value": {"n": 2}, "headers": [["own", "x"], ["none", null]]}"#,
        r#"{"id": "3", "key": "a", "value": {"n": "three"}}"#,
    ];
    platform
        .run_with(&["publish", "orders"], &(events.join("\n") + "\n"))
        .with(100);
    let schemas = platform
        .path()
        .join("evenkeel-data/applications/evenkeel-cli/schemas");
    let away = std::fs::rename(&schemas, schemas.with_extension("away"));
    away.unwrap();
    let away = platform.run(&["standby", "export"]).with(100);
    assert_eq!(
        away.lines().len(),
        2,
        "what cannot be decoded is exported too: {}",
        away.stderr
    );
    std::fs::rename(schemas.with_extension("away"), &schemas).unwrap();
    let all = platform.run(&["standby", "export"]).with(0);
    assert!(
        all.stderr.contains("1 dead letters are left out"),
        "{}",
        all.stderr
    );
    let all = all.lines();
    assert_eq!(
        (
            &all[0]["value"],
            &all[0]["source"],
            &all[0]["subject"],
            &all[0]["time"]
        ),
        (
            &json!({"n": 1}),
            &json!("/till"),
            &json!("s"),
            &json!("2010-12-01T08:26:00.000Z")
        )
    );
    assert_eq!(all[1]["headers"], json!([["own", "x"], ["none", null]]));
    let cursor = all[0]["parked"]["cursor"].as_str().unwrap();
    let rest = platform
        .run(&["standby", "export", "--after", cursor])
        .with(0)
        .lines();
    assert_eq!(rest, all[1..]);

    platform.start_again();
    let exported = platform.run(&["standby", "export"]).with(0).stdout;
    platform.set("EVENKEEL_PUBLISH__APPLICATION", "another");
    platform.run(&["topic", "create", "copies"]).with(0);
    platform
        .run_with(&["schema", "register", "copies-value", "--file", "-"], SCHEMA)
        .with(0);
    platform.park_after_ms = 60_000;
    platform.run_with(&["publish", "copies"], &exported).with(0);
    assert_eq!(on_topic(&platform, "copies"), [json!(1), json!(2)]);
    assert_eq!(
        on_topic(&platform, "orders"),
        numbers(1),
        "an export changes nothing"
    );
}

/// A platform that is stopped, with `orders` events parked for one topic, and five for another.
fn parked(orders: u32) -> Platform {
    let mut platform = platform();
    platform.run(&["topic", "create", "bills"]).with(0);
    platform
        .run_with(&["schema", "register", "bills-value", "--file", "-"], SCHEMA)
        .with(0);
    platform.run_with(&["publish", "bills"], lines(0, 1)).with(0);
    platform.stop();
    platform
        .run_with(&["publish", "orders"], lines(1, orders))
        .with(0);
    platform.run_with(&["publish", "bills"], lines(1, 5)).with(0);
    platform
}

#[test]
fn a_drain_keeps_its_rate_and_its_choice_and_tells_how_far_it_is() {
    let platform = parked(60);
    let _broker = platform.begin_broker();
    let drain = [
        "standby", "drain", "--topic", "orders", "--rate", "20", "-o", "json",
    ];
    let drained = platform.run(&drain).with(0);
    assert!(
        drained.stderr.contains("5 events are held or were not chosen"),
        "{}",
        drained.stderr
    );
    let progress = drained.lines();
    let left: Vec<u64> = progress
        .iter()
        .map(|line| line["events_left"].as_u64().unwrap())
        .collect();
    assert!(
        left.is_sorted_by(|one, next| one >= next) && left.last() == Some(&0),
        "{left:?}"
    );
    assert!(left.len() > 1 && left[0] > 20, "it went at once: {left:?}");
    let last = progress.last().unwrap();
    assert_eq!(
        (&last["events_sent"], &last["events_kept"]),
        (&json!(60), &json!(5))
    );
    assert!(progress[0]["eta_seconds"].is_u64() && progress[0]["bytes_left"].as_u64().unwrap() > 0);
    let drained = platform.run(&["standby", "drain"]).with(0);
    assert!(drained.stderr.contains("nothing is parked"), "{}", drained.stderr);
    assert_eq!(list(&platform), json!([]));
}

#[test]
fn partitions_share_the_rate_of_a_drain() {
    let platform = parked(300);
    let _broker = platform.begin_broker();
    let mut drain = platform.begin(&["standby", "drain", "--rate", "8"]);
    until(|| list(&platform).as_array().unwrap().len() == 1);
    let left = list(&platform);
    assert_eq!(
        left[0]["topic"], "orders",
        "what was parked first keeps the others waiting"
    );
    assert!(left[0]["events"].as_u64().unwrap() > 100, "{left}");
    drain.kill();
}

#[test]
fn a_missing_topic_is_an_alarm_until_it_is_created() {
    let mut platform = platform();
    platform.set("EVENKEEL_TOPICS__CREATE_MISSING", "false");
    platform.stop();
    platform.start_again();
    platform
        .run_with(&["schema", "register", "gone-value", "--file", "-"], SCHEMA)
        .with(0);
    let published = platform
        .run_with(&["publish", "gone"], lines(0, 2))
        .with(0)
        .lines();
    assert_eq!(published[0]["outcome"], "parked");
    until(|| list(&platform)[0]["alarms"][0]["kind"] == "topic-missing");
    let listed = platform.run(&["standby", "list"]).with(0);
    assert!(
        listed.stderr.contains("evenkeel topic create gone"),
        "{}",
        listed.stderr
    );
    let status = platform.run(&["status", "-o", "json"]).with(100).json();
    assert!(status["wrong"].to_string().contains("topic-missing"), "{status}");
    let raised = "evenkeel_standby_alarms{application=\"evenkeel-cli\",kind=\"topic-missing\"} 1\n";
    until(|| platform.admin("/metrics").contains(raised));

    platform.run(&["topic", "create", "gone"]).with(0);
    until(|| on_topic(&platform, "gone") == numbers(2));
    let cleared = "evenkeel_standby_alarms{application=\"evenkeel-cli\",kind=\"topic-missing\"} 0\n";
    until(|| platform.admin("/metrics").contains(cleared));
    assert_eq!(list(&platform), json!([]));
}

#[test]
fn a_letter_that_its_topic_refuses_is_kept_aside_while_others_pass() {
    let letters = "evenkeel-cli.publish.dlt";
    let mut platform = platform();
    platform.park_after_ms = 60_000;
    let create = |size: &str| {
        let set = format!("max.message.bytes={size}");
        platform
            .run(&["topic", "create", letters, "--partitions", "1", "--set", &set])
            .with(0);
    };
    create("4000");
    let wrong = |id: &str, bytes: usize| {
        let text = "x".repeat(bytes);
        format!("{{\"id\": \"{id}\", \"key\": \"a\", \"value\": {{\"n\": \"{text}\"}}}}\n")
    };
    let all = wrong("large", 9_000) + &wrong("small", 10) + &lines(1, 1);
    let receipts = platform.run_with(&["publish", "orders"], &all).with(100).lines();
    let outcome = |id: &str| receipts.iter().find(|receipt| receipt["id"] == id).unwrap()["outcome"].clone();
    assert_eq!(outcome("large"), "dead-lettered");
    assert_eq!(
        (outcome("small"), outcome("1")),
        (json!("dead-lettered"), json!("published"))
    );
    let on_letters = |platform: &Platform| {
        let lines = platform.tail(letters);
        lines.iter().map(|line| line["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(on_letters(&platform), [json!("small")]);
    let listed = list(&platform);
    assert_eq!(
        (&listed[0]["aside"], &listed[0]["events"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(listed[0]["alarms"][0]["kind"], "letter-refused");
    assert!(listed.to_string().contains("max.message.bytes"), "{listed}");
    let shown = platform.run(&["standby", "show", "-o", "json"]).with(0).lines();
    assert_eq!(
        (&shown[0]["id"], &shown[0]["kind"]),
        (&json!("large"), &json!("letter"))
    );

    platform.run(&["topic", "delete", letters, "--execute"]).with(0);
    create("1000000");
    platform.run(&["standby", "drain"]).with(0);
    assert_eq!(on_letters(&platform), [json!("large")]);
    assert_eq!(list(&platform), json!([]));
}

#[test]
fn what_cannot_be_is_refused_with_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, code, expected) in [
        (
            &["standby", "show", "--application", "none"][..],
            1,
            "applications that have one: none",
        ),
        (&["standby", "hold"], 1, "has no standby store"),
        (&["standby", "release"], 1, "has no standby store"),
        (
            &["standby", "export", "--after", "orders/7"],
            2,
            "TOPIC/PARTITION/POSITION",
        ),
        (&["standby", "drain", "--rate", "0"], 2, "--rate"),
        (&["standby", "show", "--partition", "1"], 2, "--topic"),
    ] {
        let mut refused = command(directory.path());
        refused.args(arguments);
        let ended = run(refused, "").with(code);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
}
