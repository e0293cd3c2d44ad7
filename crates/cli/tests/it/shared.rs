//! A standby store that several processes share, in a real PostgreSQL: its users see no difference.

use std::process::Command;

use evenkeel_testkit::{PostgresServer, postgres_or_skip};
use serde_json::{Value, json};

use crate::platform::{Platform, command, run, until};
use crate::standby::{lines, on_topic, platform};

/// A checker whose publishers share `server`.
fn verify(directory: &std::path::Path, server: &PostgresServer, scenario: &str) -> Command {
    let mut verify = command(directory);
    verify.args(["verify", "--standby", &server.url(), "--scenario", scenario]);
    verify.args(["--publishers", "4", "--keys", "100", "--seed", "5", "-o", "json"]);
    verify
}

#[test]
fn processes_that_share_keys_lose_double_and_reorder_nothing() {
    let Some(server) = postgres_or_skip(false, &[]) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    for (scenario, kills) in [("outage", 0), ("flap", 0), ("kill-publisher", 1)] {
        let ended = run(verify(directory.path(), &server, scenario), "").with(0);
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap();
        assert!(
            number("/events/published") > 100 && number("/events/parked") > 100,
            "{report}"
        );
        assert!(number("/kills") >= kills, "{report}");
        assert!(ended.stderr.contains("every promise held"), "{}", ended.stderr);
    }
}

/// The binary with AWS's libraries makes the table and publishes over it. What faults do there is played by hand: DynamoDB
/// local on a busy machine is too slow for them.
#[cfg(feature = "aws")]
#[test]
fn processes_share_a_table_of_dynamodb() {
    let Some(server) = evenkeel_testkit::dynamodb_or_skip() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let aws = |arguments: &[&str]| {
        let mut command = command(directory.path());
        command
            .args(arguments)
            .env("AWS_ENDPOINT_URL_DYNAMODB", server.endpoint())
            .envs([("AWS_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", "test")])
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("EVENKEEL_STANDBY__URL", "dynamodb:parked");
        run(command, "")
    };
    aws(&["standby", "list"]).with(1);
    aws(&["standby", "init"]).with(0);
    let verify = ["verify", "--standby", "dynamodb:parked", "--scenario", "calm"];
    let options = [
        "--publishers",
        "2",
        "--rate",
        "50",
        "--seconds",
        "3",
        "-o",
        "json",
    ];
    let ended = aws(&[&verify[..], &options].concat()).with(0);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(
        report.pointer("/events/published").and_then(Value::as_u64) > Some(100),
        "{report}"
    );
    aws(&["standby", "list"]).with(0);
}

fn parked(platform: &Platform) -> u64 {
    let listed = platform.run(&["standby", "list", "-o", "json"]).with(0).json();
    let rows = listed.as_array().unwrap();
    rows.iter().map(|row| row["events"].as_u64().unwrap()).sum()
}

#[test]
fn what_one_process_parked_is_sent_on_by_another() {
    let Some(server) = postgres_or_skip(false, &[]) else {
        return;
    };
    let mut platform = platform();
    platform.run(&["standby", "init"]).with(1);
    platform.set("EVENKEEL_STANDBY__URL", &server.url());
    platform.run(&["standby", "init"]).with(0);
    platform.run_with(&["publish", "orders"], lines(1, 2)).with(0);
    platform.stop();
    for first in [3, 6] {
        let receipts = platform
            .run_with(&["publish", "orders"], lines(first, 3))
            .with(0)
            .lines();
        assert!(
            receipts.iter().all(|receipt| receipt["outcome"] == "parked"),
            "{receipts:?}"
        );
    }
    assert_eq!(parked(&platform), 6);
    let mut drain = platform.begin(&["standby", "drain", "-o", "json"]);
    let progress = drain.next();
    assert_eq!(progress["events_left"], 6);
    assert!(
        progress["reason"]
            .as_str()
            .unwrap()
            .contains("cannot reach Kafka"),
        "{progress}"
    );
    assert_eq!(drain.terminate(), 1);
    let status = platform.run(&["status", "-o", "json"]).with(100).json();
    let shown = status["standby"].as_array().unwrap();
    assert!(shown.iter().any(|standby| standby["events"] == 6), "{status}");
    let places = hold_orders(&platform);
    let shown = platform.run(&["standby", "show", "-o", "json"]).with(0).lines();
    let exported = platform.run(&["standby", "export"]).with(0).lines();
    assert_eq!((shown.len(), exported.len()), (6, 6));
    assert!(
        shown
            .iter()
            .chain(&exported)
            .all(|line| line["value"]["n"].is_number()),
        "{shown:?}"
    );
    // The platform drains what is in the store of its own settings.
    platform.start_again();
    an_unknown_application_has_no_store(&mut platform);
    // It knows of the hold, of which a command on another machine may have told the store.
    let are_held = format!("evenkeel_standby_places_held{{application=\"evenkeel-cli\"}} {places}\n");
    until(|| platform.admin("/metrics").contains(&are_held));
    assert_eq!(parked(&platform), 6);
    platform.run(&["standby", "release", "--topic", "orders"]).with(0);
    until(|| parked(&platform) == 0);
    let numbers: Vec<Value> = (0..9).map(|number| json!(number)).collect();
    assert_eq!(on_topic(&platform, "orders"), numbers);
    let is_empty = "evenkeel_standby_events{application=\"evenkeel-cli\"} 0\n";
    until(|| platform.admin("/metrics").contains(is_empty));
}

#[test]
fn a_process_that_starts_while_the_store_is_away_does_what_its_mode_says_and_finds_it_later() {
    let Some(server) = postgres_or_skip(false, &[]) else {
        return;
    };
    server.kill();
    let mut platform = platform();
    platform.set("EVENKEEL_STANDBY__URL", &server.url());
    platform.set("EVENKEEL_STANDBY__WITHOUT_STORE", "refuse");
    let refused = platform.run_with(&["publish", "orders"], lines(1, 1)).with(1);
    let said = refused.stdout + &refused.stderr;
    assert!(
        said.contains("standby.without_store") && said.contains("cannot be asked: PostgreSQL"),
        "{said}"
    );

    platform.set("EVENKEEL_STANDBY__WITHOUT_STORE", "publish");
    let published = platform.run_with(&["publish", "orders"], lines(1, 1)).with(0);
    assert_eq!(published.lines()[0]["outcome"], "published");
    let mut publish = platform.begin(&["publish", "orders"]);
    publish.write(&lines(2, 1));
    assert_eq!(publish.next()["outcome"], "published");
    let alarm = || platform.run(&["status"]).stdout.contains("standby-unreachable");
    until(alarm);
    server.restart();
    until(|| !alarm());
    platform.stop();
    publish.write(&lines(3, 1));
    assert_eq!(publish.next()["outcome"], "parked");
    assert_eq!(publish.end(), 0);
    assert_eq!(parked(&platform), 1);
}

/// Holds all of the six that are parked, and returns in how many places they lie.
fn hold_orders(platform: &Platform) -> usize {
    let hold = [
        "standby",
        "hold",
        "--topic",
        "orders",
        "--reason",
        "wrong prices",
        "-o",
        "json",
    ];
    let held = platform.run(&hold).with(0);
    assert_eq!(held.json()[0]["reason"], "wrong prices");
    assert!(
        held.stderr.contains("6 parked events are held"),
        "{}",
        held.stderr
    );
    let listed = platform.run(&["standby", "list", "-o", "json"]).with(0).json();
    let all = listed.as_array().unwrap();
    assert!(all.iter().all(|place| place["held"] == true), "{listed}");
    all.len()
}

/// Two names that PostgreSQL has one schema for.
#[test]
fn a_store_is_one_applications_until_another_one_takes_it_over() {
    let Some(server) = postgres_or_skip(false, &[]) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let standby = |application: &str, arguments: &[&str]| {
        let mut command = command(directory.path());
        command
            .args([&["standby"], arguments].concat())
            .env("EVENKEEL_STANDBY__URL", server.url())
            .env("EVENKEEL_PUBLISH__APPLICATION", application);
        run(command, "")
    };
    standby("bills.api", &["init", "--take-over"]).with(0);
    standby("bills.api", &["init"]).with(0);
    for verb in ["init", "list", "drain"] {
        let refused = standby("bills-api", &[verb]).with(1).stderr;
        for expected in [
            "the application bills.api parks in it, not bills-api",
            "init --take-over",
        ] {
            assert!(refused.contains(expected), "{refused}");
        }
    }
    standby("bills-api", &["init", "--take-over"]).with(0);
    standby("bills-api", &["list"]).with(0);
    standby("bills.api", &["list"]).with(1);
}

/// It has none that is empty, and gets none by being looked for.
fn an_unknown_application_has_no_store(platform: &mut Platform) {
    platform.set("EVENKEEL_PUBLISH__APPLICATION", "typo");
    for verb in ["list", "show", "drain"] {
        let refused = platform.run(&["standby", verb]).with(1);
        for expected in ["publish.application", "there is no such schema"] {
            assert!(refused.stderr.contains(expected), "{}", refused.stderr);
        }
    }
    platform.set("EVENKEEL_PUBLISH__APPLICATION", "evenkeel-cli");
}

#[test]
fn a_store_that_cannot_be_reached_or_used_is_named_without_its_password() {
    let directory = tempfile::tempdir().unwrap();
    for (url, expected) in [
        (
            "postgres://me:hunter2@127.0.0.1:1/orders",
            "standby.url says where it is",
        ),
        ("dynamodb:parked", "--features aws"),
    ] {
        if cfg!(feature = "aws") && url.starts_with("dynamodb") {
            continue;
        }
        let mut list = command(directory.path());
        list.args(["standby", "list"]).env("EVENKEEL_STANDBY__URL", url);
        let ended = run(list, "").with(1);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
}
