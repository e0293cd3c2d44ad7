//! `evenkeel verify` as its users run it; `scripts/reliability` plays every scenario.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::platform::{command, run};

fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(path).unwrap()
}

#[test]
fn an_outage_breaks_no_promise_and_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let mut verify = command(directory.path());
    verify.args([
        "verify",
        "--scenario",
        "outage",
        "--stretch",
        "0.3",
        "--seed",
        "5",
        "-o",
        "json",
    ]);
    let ended = run(verify, "").with(0);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap();
    assert!(
        number("/events/published") > 100 && number("/events/parked") > 100,
        "{report}"
    );
    assert_eq!(number("/findings/lost"), 0);
    assert_eq!(number("/seed"), 5);
    assert!(report["drain_ms"].is_u64(), "{report}");
    assert!(ended.stderr.contains("every promise held"), "{}", ended.stderr);
}

/// A workload that promises more than a full store can hold.
#[test]
fn a_broken_promise_ends_with_100_and_says_how_to_play_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = directory.path().join("too-much.toml");
    let text = "promise = 'Every event is accepted.'\n[workload]\nseconds = 4\nbytes = 4000\nrate = 2000\n\
                standby_bytes_max = 8388608\n[[act]]\nat = 0.5\ndo = 'cut'\n";
    fs::write(&scenario, text).unwrap();
    let mut verify = command(directory.path());
    verify
        .args(["verify", "--seed", "5", "--scenario"])
        .arg(&scenario);
    let ended = run(verify, "").with(100);
    assert!(ended.stderr.contains("events were refused"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--seed 5"), "{}", ended.stderr);
    // In the store's own words.
    let cause = "bytes and cannot take";
    let fix = "bring Kafka back, or raise standby.bytes_max";
    assert!(
        ended.stdout.contains(cause) && ended.stdout.contains(fix),
        "{}",
        ended.stdout
    );
}

#[test]
fn what_cannot_be_played_is_refused_with_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    for (code, arguments, expected) in [
        (
            2,
            &["--scenario", "nothing"][..],
            "there is no scenario \"nothing\"; there are calm",
        ),
        (2, &["--scenario", "none.toml"], "none.toml cannot be read"),
        (2, &["--scenario", "elections"], "--broker"),
        (
            2,
            &["--scenario", "kill-broker", "--broker", "127.0.0.1:1"],
            "--control",
        ),
        (2, &["--rate", "0"], "rate is 0; it must be 1 to"),
        (2, &["--seconds", "0"], "seconds"),
        (
            1,
            &["--scenario", "calm", "--broker", "127.0.0.1:1"],
            "127.0.0.1:1",
        ),
    ] {
        let mut verify = command(directory.path());
        verify.arg("verify").args(arguments);
        let ended = run(verify, "").with(code);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn the_page_has_the_promise_and_a_figure_of_every_scenario() {
    let directory = tempfile::tempdir().unwrap();
    let mut verify = command(directory.path());
    verify.args(["verify", "--list", "-o", "json"]);
    let listed: Vec<Value> = serde_json::from_str(&run(verify, "").with(0).stdout).unwrap();
    let page = repository("docs/RELIABILITY.md");
    for scenario in &listed {
        let (name, promise) = (
            scenario["name"].as_str().unwrap(),
            scenario["promise"].as_str().unwrap(),
        );
        assert!(
            page.contains(&format!("| {name} | {promise} |")),
            "{name} is not in the page"
        );
        for place in scenario["places"].as_array().unwrap() {
            let place = place.as_str().unwrap();
            assert!(
                page.contains(&format!("| {name} | {place} |")),
                "no figures of {name} on {place}"
            );
        }
    }
}
