//! Starts, stops, and what a start refuses.

use evenkeel_embedded::{Config, Error};
use tempfile::TempDir;

use crate::{
    produce::PLAIN,
    served::{Served, config},
};

/// Why a broker does not start.
fn refusal(config: Config) -> Error {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime
        .block_on(evenkeel_embedded::start(config))
        .expect_err("it must not start")
}

#[test]
fn one_broker_per_directory() {
    let mut served = Served::start();
    let error = refusal(config(served.directory.path()));
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&served.directory.path().display().to_string())
    );
    served.restart();
}

#[test]
fn a_broker_that_was_dropped_gives_its_directory_back() {
    let directory = TempDir::new().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    drop(
        runtime
            .block_on(evenkeel_embedded::start(config(directory.path())))
            .unwrap(),
    );
    let mut tries = 0;
    while let Err(error) = runtime.block_on(evenkeel_embedded::start(config(directory.path()))) {
        assert!(matches!(error, Error::InUse { .. }) && tries < 10_000, "{error}");
        tries += 1;
        std::thread::yield_now();
    }
}

#[test]
fn only_loopback_is_listened_on() {
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path());
    config.listen = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(refusal(config), Error::NotLoopback { .. }));
}

#[test]
fn a_taken_port_is_named_and_the_directory_is_free_again() {
    let served = Served::start();
    let directory = TempDir::new().unwrap();
    let mut taken = config(directory.path());
    taken.listen = served.address;
    let error = refusal(taken.clone());
    assert!(error.to_string().contains(&served.address.to_string()), "{error}");
    assert!(matches!(refusal(taken), Error::Listen { .. }));
}

#[test]
fn another_format_and_a_strange_directory_are_refused() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("holiday.jpg"), "not ours").unwrap();
    assert!(matches!(refusal(config(directory.path())), Error::Format { .. }));
    std::fs::write(directory.path().join("format"), "evenkeel-embedded 99\n").unwrap();
    let error = refusal(config(directory.path()));
    assert!(error.to_string().contains("evenkeel-embedded 99"), "{error}");
}

#[test]
fn a_missing_catalog_is_noticed() {
    let mut served = Served::start();
    served.client().create("t", 1, &[]);
    served.stop();
    let catalog = served.directory.path().join("catalog.journal");
    std::fs::rename(&catalog, served.directory.path().join("away")).unwrap();
    assert!(matches!(
        refusal(config(served.directory.path())),
        Error::Damaged { .. }
    ));
    std::fs::rename(served.directory.path().join("away"), &catalog).unwrap();
    served.start_again();
    assert_eq!(served.client().offset("t", 0, -1).0, 0);
}

#[test]
fn segments_roll_and_are_found_again() {
    let mut served = Served::with(|config| config.segment_bytes = 1024 * 1024);
    served.client().create("t", 1, &[]);
    let value = "x".repeat(300_000);
    for number in 0..12 {
        let offset = served.client().produce("t", 0, PLAIN.of(&[&value])).base_offset;
        assert_eq!(offset, number);
    }
    for _ in 0..2 {
        assert_eq!(served.client().read("t", 0, 0).len(), 12);
        assert_eq!(served.client().read("t", 0, 7).len(), 5);
        served.restart();
    }
    // Without their checkpoints the segments are read again.
    served.stop();
    let mut removed = 0;
    for file in crate::crash::files(served.directory.path(), "checkpoint") {
        std::fs::remove_file(file).unwrap();
        removed += 1;
    }
    assert!(removed > 2, "{removed} checkpoints");
    served.start_again();
    assert_eq!(served.client().read("t", 0, 5).len(), 7);
}
