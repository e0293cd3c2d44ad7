//! A schedule drains all, a stream only wakes, and time has an end.

use std::time::Duration;

use evenkeel_event::clock::Timestamp;
use evenkeel_store::{Holds, Scope};
use serde_json::{Value, json};

use crate::park::park;
use crate::runtime_api::{Answer, Function, schedule, stream};
use crate::stage::{LONG, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_drains_all_that_is_parked() {
    let Some(stage) = Stage::new().await else { return };
    drains_all(stage).await;
}

#[cfg(feature = "aws")]
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_drains_all_that_is_parked_in_dynamodb() {
    let Some(stage) = Stage::dynamodb().await else {
        return;
    };
    drains_all(stage).await;
}

async fn drains_all(mut stage: Stage) {
    let keys = park(&mut stage, 4, 50).await;
    stage.start_broker().await;
    let mut function = Function::start(&stage.variables());
    let report = function.drain(LONG);
    let expected = json!({
        "application": "orders-api", "drained": 4 * 49, "left": 0, "aside": 0, "held": 0, "oldest_age_ms": null, "ended": "empty",
        "alarms": []
    });
    assert_eq!(report, expected, "{}", function.stderr());
    stage.check(&keys, 50).await;
    let metrics = function.metrics(1).await;
    assert_eq!(
        (&metrics["ParkedEvents"], &metrics["Drained"]),
        (&json!(0), &json!(4 * 49))
    );
    // Nothing was kept of that invocation: the same process finds nothing, and then what came meanwhile.
    assert_eq!(function.drain(LONG)["drained"], 0);
    assert!(!function.stderr().contains("ERROR"), "{}", function.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_only_wakes_it_and_every_record_is_answered_well() {
    let Some(mut stage) = Stage::new().await else {
        return;
    };
    let well = |id: &str| Answer::Response {
        id: id.to_owned(),
        body: json!({"batchItemFailures": []}),
    };
    let mut function = Function::start(&stage.variables());
    assert_eq!(
        function.invoke(&stream(), LONG),
        well("1"),
        "nothing is parked yet"
    );
    let keys = park(&mut stage, 2, 10).await;
    // Kafka is gone: an error would bring the same records again and again.
    assert_eq!(function.invoke(&stream(), LONG), well("2"));
    function.says("NothingMoves").await;
    stage.start_broker().await;
    // The records speak of one partition; what is parked is what the table says.
    assert_eq!(watched(&stage, &mut function).await, (well("3"), true));
    stage.check(&keys, 10).await;
    // What it writes must not wake it: for nothing it writes nothing.
    assert_eq!(watched(&stage, &mut function).await, (well("4"), false));
}

/// Wakes it, and sees whether it takes a lease.
async fn watched(stage: &Stage, function: &mut Function) -> (Answer, bool) {
    let store = stage.store().await;
    let mut has_leased = false;
    function.begin(&stream(), LONG);
    loop {
        has_leased |= !store.leases().await.unwrap().is_empty();
        if let Some(answer) = function.has_answered() {
            return (answer, has_leased);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_the_time_is_left_to_the_next_invocation() {
    let Some(mut stage) = Stage::new().await else {
        return;
    };
    let keys = park(&mut stage, 8, 2_500).await;
    stage.start_broker().await;
    stage.faults().slow_disk(Duration::from_secs(1));
    let mut function = Function::start(&stage.variables());
    let number = |report: &Value, name: &str| report[name].as_u64().unwrap();
    let mut invocations = 0;
    // On a slow machine the time of one is over before anything is sent.
    let left = loop {
        let report = function.drain(Duration::from_secs(4));
        invocations += 1;
        assert_eq!(report["ended"], "time", "{report}");
        let left = number(&report, "left");
        assert!(left > 0 && number(&report, "oldest_age_ms") > 0, "{report}");
        if number(&report, "drained") > 0 {
            break left;
        }
    };
    assert_eq!(function.metrics(invocations).await["ParkedEvents"], left);
    let peak_kb = function.peak_kb();
    assert!(
        peak_kb.is_none_or(|kb| kb < 96 << 10),
        "20 MB were parked: {peak_kb:?}"
    );
    stage.faults().clear();
    // Its lease was given back: the next one, here of another process, does not wait for it to run out.
    assert_eq!(stage.store().await.leases().await.unwrap(), []);
    let mut next = Function::start(&stage.variables());
    let second = next.drain(LONG);
    assert_eq!(
        (&second["ended"], &second["left"]),
        (&json!("empty"), &json!(0)),
        "{second}"
    );
    stage.check(&keys, 2_500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_holds_stays_and_is_no_standstill() {
    let Some(mut stage) = Stage::new().await else {
        return;
    };
    let keys = park(&mut stage, 4, 50).await;
    stage.start_broker().await;
    let store = stage.store().await;
    let (nothing, mut holds) = (Holds::default(), Holds::default());
    holds
        .keep(Scope::default(), Timestamp::from_millis(0), "wrong prices")
        .unwrap();
    assert!(store.put_holds(&nothing, &holds).await.unwrap());
    let mut function = Function::start(&stage.variables());
    let report = function.drain(LONG);
    assert_eq!(
        (&report["drained"], &report["held"], &report["ended"]),
        (&json!(0), &json!(4 * 49), &json!("empty")),
        "{report}"
    );
    assert!(store.put_holds(&holds, &nothing).await.unwrap());
    assert_eq!(function.drain(LONG)["drained"], 4 * 49);
    stage.check(&keys, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_functions_at_the_same_time_send_each_event_once() {
    let Some(mut stage) = Stage::new().await else {
        return;
    };
    let keys = park(&mut stage, 8, 1_000).await;
    stage.start_broker().await;
    stage.faults().slow_disk(Duration::from_millis(20));
    let mut both = [
        Function::start(&stage.variables()),
        Function::start(&stage.variables()),
    ];
    for function in &mut both {
        function.begin(&schedule(), LONG);
    }
    let mut drained = 0;
    for function in &both {
        match function.answer() {
            Answer::Response { body, .. } => {
                assert_eq!(
                    (&body["ended"], &body["left"]),
                    (&json!("empty"), &json!(0)),
                    "{body}"
                );
                drained += body["drained"].as_u64().unwrap();
            }
            other => panic!("{other:?}: {}", function.stderr()),
        }
    }
    assert_eq!(drained, 8 * 999);
    stage.check(&keys, 1_000).await;
}
