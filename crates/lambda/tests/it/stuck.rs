//! What on-call is told while nothing can be sent on.

use serde_json::Value;

use crate::park::park;
use crate::runtime_api::{Answer, Function, schedule};
use crate::stage::{LONG, Stage};

fn error(answer: Answer) -> Value {
    match answer {
        Answer::Error { body, .. } => body,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_fails_by_name_while_kafka_or_the_store_is_gone_and_nothing_is_lost() {
    let Some(mut stage) = Stage::new().await else {
        return;
    };
    let keys = park(&mut stage, 2, 20).await;
    let mut function = Function::start(&stage.variables());
    let said = error(function.invoke(&schedule(), LONG));
    let message = said["errorMessage"].as_str().unwrap();
    assert_eq!(said["errorType"], "NothingMoves");
    for expected in ["38 events of orders-api stay parked", "EVENKEEL_KAFKA__BROKERS"] {
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(function.metrics(1).await["ParkedEvents"], 38);
    let lines = function.stdout().lines().count();
    stage.start_broker().await;
    let server = stage.postgres();
    server.kill();
    let said = error(function.invoke(&schedule(), LONG));
    let message = said["errorMessage"].as_str().unwrap();
    assert_eq!(said["errorType"], "StandbyStore");
    assert!(
        message.contains("EVENKEEL_STANDBY__URL") && !message.contains("postgres://"),
        "{message}"
    );
    assert_eq!(
        function.stdout().lines().count(),
        lines,
        "what is not known is not measured"
    );
    server.restart();
    let report = function.drain(LONG);
    assert_eq!(
        (&report["ended"], &report["left"]),
        (&"empty".into(), &0.into()),
        "{report}"
    );
    stage.check(&keys, 20).await;
}
