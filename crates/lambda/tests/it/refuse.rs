//! What the function refuses: settings at its start, events of foreign sources.

use serde_json::json;

use crate::runtime_api::{Answer, Function};
use crate::stage::{LONG, Variables};

/// Settings that need nothing to be there.
fn variables(changed: (&str, Option<&str>)) -> Variables {
    let mut all = vec![
        ("EVENKEEL_PUBLISH__APPLICATION", "orders-api"),
        ("EVENKEEL_KAFKA__BROKERS", "127.0.0.1:1"),
        (
            "EVENKEEL_STANDBY__URL",
            "postgres://me:hunter2@127.0.0.1:1/orders",
        ),
    ];
    all.retain(|(name, _)| *name != changed.0);
    all.extend(changed.1.map(|value| (changed.0, value)));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    all.into_iter().map(owned).collect()
}

#[test]
fn settings_that_cannot_be_meant_are_an_init_error_that_names_the_variable() {
    for (name, value) in [
        ("EVENKEEL_KAFKA__BROKERS", None),
        ("EVENKEEL_KAFKA__BROKRES", Some("a:1")),
        ("EVENKEEL_STANDBY__URL", Some("mysql://me:hunter2@db/orders")),
    ] {
        let mut function = Function::start(&variables((name, value)));
        let Answer::InitError(said) = function.answer() else {
            panic!("{name} is taken");
        };
        let message = said["errorMessage"].as_str().unwrap();
        assert_eq!(said["errorType"], "Settings");
        assert!(
            message.contains(name) && !message.contains("hunter2"),
            "{message}"
        );
        assert_eq!(function.end().code(), Some(1));
    }
}

#[test]
fn a_batch_of_another_source_is_refused_and_the_function_goes_on() {
    let mut function = Function::start(&variables(("EVENKEEL_LOG", Some("warn"))));
    let queue = json!({"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": "{}"}]});
    for (event, expected) in [
        (&queue, "aws:sqs"),
        (&json!("wake up"), "Payload"),
        (&json!({}), "EVENKEEL_STANDBY__URL"),
    ] {
        let Answer::Error { body, .. } = function.invoke(event, LONG) else {
            panic!("{event} is taken");
        };
        let said = body.to_string();
        assert!(said.contains(expected) && !said.contains("hunter2"), "{said}");
    }
}
