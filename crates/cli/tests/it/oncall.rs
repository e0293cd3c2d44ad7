//! Every command of docs/ONCALL.md, on a machine where it is needed.

use crate::documented::{blocks, repository};
use crate::platform::Platform;
use crate::standby::{SCHEMA, lines};

/// An application that died with events parked for a topic that is gone.
fn stage() -> Platform {
    let mut platform = Platform::start();
    platform.set("EVENKEEL_PUBLISH__APPLICATION", "orders-api");
    platform
        .run_with(&["schema", "register", "orders-value", "--file", "-"], SCHEMA)
        .with(0);
    platform.run_with(&["publish", "orders"], lines(0, 1)).with(0);
    platform.run(&["topic", "delete", "orders", "--execute"]).with(0);
    platform.stay_at_these_addresses();
    platform.stop();
    platform.park_after_ms = 300;
    platform.run_with(&["publish", "orders"], lines(1, 3)).with(0);
    platform
}

#[test]
fn every_command_of_the_page_runs_and_in_the_end_nothing_is_parked() {
    let platform = stage();
    let _broker = platform.begin_broker();
    let page = std::fs::read_to_string(repository().join("docs/ONCALL.md")).unwrap();
    let commands = blocks(&page);
    assert!(commands.len() > 6, "the page shows no commands");
    for command in &commands {
        let mut shell = platform.shell(command);
        let output = shell.output().unwrap();
        // 100 says that something is wrong: that is why the page is read.
        let is_fine = matches!(output.status.code(), Some(0 | 100));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(is_fine, "{command}: {}\n{said}", output.status);
    }
    let exported = std::fs::read_to_string(platform.path().join("parked.ndjson")).unwrap();
    assert_eq!(exported.lines().count(), 3);
    assert_eq!(on_topic(&platform), 3);
    let left = platform.run(&["standby", "list", "-o", "json"]).with(0).json();
    assert_eq!(left, serde_json::json!([]));
}

/// Records on the topic, whether the registry is there or not.
fn on_topic(platform: &Platform) -> usize {
    platform.tail("orders").len()
}
