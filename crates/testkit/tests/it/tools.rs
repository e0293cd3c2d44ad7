use std::process::Command;

use evenkeel_testkit::{kcat_or_skip, python_or_skip};

#[test]
fn the_python_environment_has_the_judges() {
    let Some(python) = python_or_skip() else { return };
    let output = Command::new(python)
        .args(["-c", "import confluent_kafka.schema_registry.avro, fastavro"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn kcat_runs() {
    let Some(kcat) = kcat_or_skip() else { return };
    assert!(Command::new(kcat).arg("-V").output().unwrap().status.success());
}
