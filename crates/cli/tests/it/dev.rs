//! `evenkeel dev` starts, stops, and finds everything again.

use serde_json::json;

use crate::platform::{Platform, command, run, until};
use crate::standby::SCHEMA;

#[test]
fn a_second_start_finds_everything_and_sends_on_what_was_parked() {
    let mut platform = Platform::start();
    assert_eq!(platform.admin("/health/live"), "live\n");
    assert_eq!(platform.admin("/health/ready"), "ready\n");
    let register = ["schema", "register", "orders-value", "--file", "-"];
    platform.run_with(&register, SCHEMA).with(0);
    let first = platform
        .run_with(
            &["publish", "orders"],
            "{\"key\": \"a\", \"value\": {\"n\": 1}}\n",
        )
        .with(0);
    assert_eq!(first.lines()[0]["outcome"], "published");
    let status = platform.run(&["status", "-o", "json"]).with(0).json();
    assert_eq!((&status["ok"], &status["wrong"]), (&json!(true), &json!([])));
    platform.stop();

    platform.park_after_ms = 500;
    let second = platform
        .run_with(
            &["publish", "orders"],
            "{\"key\": \"a\", \"value\": {\"n\": 2}}\n",
        )
        .with(0);
    assert_eq!(second.lines()[0]["outcome"], "parked");
    let parked = platform.run(&["standby", "list", "-o", "json"]).with(0).json();
    assert_eq!(
        (&parked[0]["topic"], &parked[0]["events"]),
        (&json!("orders"), &json!(1))
    );
    let status = platform.run(&["status", "-o", "json"]).with(100).json();
    assert_eq!(status["cluster"]["reachable"], false);
    assert_eq!(status["registry"]["ready"], false);
    assert_eq!(status["standby"][0]["events"], 1);

    platform.start_again();
    let drained = "evenkeel_standby_events{application=\"evenkeel-cli\"} 0\n";
    until(|| platform.admin("/metrics").contains(drained));
    let metrics = platform.admin("/metrics");
    assert!(
        metrics.starts_with("# HELP evenkeel_standby_oldest_age_seconds "),
        "{metrics}"
    );
    platform.run(&["standby", "drain"]).with(0);
    let values: Vec<_> = platform.tail("orders");
    let values: Vec<_> = values.iter().map(|line| line["value"].clone()).collect();
    assert_eq!(values, [json!({"n": 1}), json!({"n": 2})]);
    platform.stop();
}

#[test]
fn a_directory_in_use_and_a_taken_port_are_named() {
    let platform = Platform::start();
    let second = platform.run(&["dev"]).with(1);
    assert!(
        second.stderr.contains("is in use by another broker"),
        "{}",
        second.stderr
    );
    let elsewhere = tempfile::tempdir().unwrap();
    for (setting, part) in [
        ("EVENKEEL_BROKER__LISTEN", "broker"),
        ("EVENKEEL_SERVER__REGISTRY_LISTEN", "registry"),
        ("EVENKEEL_SERVER__ADMIN_LISTEN", "admin"),
    ] {
        let taken = platform.address(part).trim_start_matches("http://");
        let mut dev = command(elsewhere.path());
        dev.arg("dev").env(setting, taken);
        let ended = run(dev, "").with(1);
        let expected = format!("cannot listen on {taken}");
        assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    }
}
