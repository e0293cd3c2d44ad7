//! Java's Avro library as judge: built by `scripts/judges/avro.sh`, asked over ndjson.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use evenkeel_testkit::skipped;
use serde_json::Value;

/// Answers of the judge, one per question in the same order; `None`, with a line that says so, on a machine that cannot run it.
///
/// With `CI=true` a judge that cannot run is a failure.
pub(crate) fn ask(questions: &[Value]) -> Option<Vec<Value>> {
    match try_ask(questions) {
        Ok(answers) => {
            assert_eq!(answers.len(), questions.len(), "the judge answers every question");
            Some(answers)
        }
        Err(reason) => skipped(&format!("no Avro judge: {reason}")),
    }
}

fn try_ask(questions: &[Value]) -> Result<Vec<Value>, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/judges/avro.sh");
    let built = Command::new(&script)
        .output()
        .map_err(|error| format!("{}: {error}", script.display()))?;
    if !built.status.success() {
        return Err(format!(
            "{}: {}",
            script.display(),
            String::from_utf8_lossy(&built.stderr)
        ));
    }
    let class_path = String::from_utf8(built.stdout).map_err(|error| error.to_string())?;
    let mut judge = Command::new("java")
        .args([
            "-XX:+UseSerialGC",
            "-Xmx512m",
            "-cp",
            class_path.trim(),
            "AvroJudge",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("java: {error}"))?;
    let mut stdin = judge.stdin.take().unwrap();
    let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let asking = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = judge.wait_with_output().map_err(|error| error.to_string())?;
    asking.join().unwrap().map_err(|error| error.to_string())?;
    let answers = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    answers
        .lines()
        .map(|line| serde_json::from_str(line).map_err(|error| error.to_string()))
        .collect()
}
