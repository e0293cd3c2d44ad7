//! `evenkeel worker` sends on what dead processes left, whatever happens to it.

use serde_json::json;

use crate::platform::{Beside, Platform, until};
use crate::standby::{lines, platform};

fn metrics(worker: &str) -> String {
    let url = format!("{worker}/metrics");
    ureq::get(&url)
        .call()
        .and_then(|mut answer| answer.body_mut().read_to_string())
        .unwrap_or_default()
}

fn start(platform: &Platform) -> (Beside, String) {
    let mut worker = platform.begin(&["worker", "-o", "json"]);
    let admin = worker.next()["admin"].as_str().unwrap().to_owned();
    (worker, admin)
}

#[test]
fn several_applications_are_drained_and_a_held_one_waits() {
    let mut platform = platform();
    platform.set("EVENKEEL_PUBLISH__APPLICATION", "tills");
    platform.run_with(&["publish", "orders"], lines(100, 1)).with(0);
    platform.stop();
    platform.run_with(&["publish", "orders"], lines(101, 4)).with(0);
    platform.run(&["standby", "hold"]).with(0);
    platform.set("EVENKEEL_PUBLISH__APPLICATION", "evenkeel-cli");
    platform.run_with(&["publish", "orders"], lines(1, 3)).with(0);
    let _broker = platform.begin_broker();
    let (mut worker, admin) = start(&platform);
    let shows = |line: &str| until(|| metrics(&admin).contains(&format!("{line}\n")));
    shows("evenkeel_standby_events{application=\"evenkeel-cli\"} 0");
    shows("evenkeel_standby_drained_events_total{application=\"evenkeel-cli\"} 3");
    shows("evenkeel_standby_places_held{application=\"tills\"} 1");
    shows("evenkeel_standby_events{application=\"tills\"} 4");
    platform
        .run(&["standby", "release", "--application", "tills"])
        .with(0);
    shows("evenkeel_standby_events{application=\"tills\"} 0");
    assert_eq!(worker.terminate(), 0);
}

#[test]
fn killed_at_any_point_it_leaves_every_event_once_and_in_order() {
    let mut platform = platform();
    platform.stop();
    platform.run_with(&["publish", "orders"], lines(1, 3_000)).with(0);
    let _broker = platform.begin_broker();
    for _ in 0..3 {
        let (mut worker, admin) = start(&platform);
        until(|| metrics(&admin).contains("evenkeel_standby_events{application=\"evenkeel-cli\"}"));
        worker.kill();
    }
    let (mut worker, admin) = start(&platform);
    until(|| metrics(&admin).contains("evenkeel_standby_events{application=\"evenkeel-cli\"} 0\n"));
    assert_eq!(worker.terminate(), 0);
    // Nobody decodes them here: the registry is down.
    let lines = platform.tail("orders");
    let ids: Vec<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..3_001).map(|n| n.to_string()).collect();
    assert_eq!(ids.len(), expected.len());
    assert!(ids == expected, "not in order, or not once");
}

#[test]
fn it_lets_go_of_a_store_when_its_application_starts() {
    let mut platform = platform();
    platform.stop();
    platform.run_with(&["publish", "orders"], lines(1, 2)).with(0);
    let (mut worker, _) = start(&platform);
    let list = || platform.run(&["standby", "list", "-o", "json"]).with(0).json();
    until(|| list()[0]["in_use"] == json!(true));
    let receipts = platform
        .run_with(&["publish", "orders"], lines(3, 1))
        .with(0)
        .lines();
    assert_eq!(receipts[0]["outcome"], "parked");
    assert_eq!(list()[0]["events"], json!(3));
    assert_eq!(worker.terminate(), 0);
}
