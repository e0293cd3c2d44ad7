use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde::Deserialize;

use crate::tools::{printed_path, runs, script, skipped};

/// A running DynamoDB local, all in memory, that ends when this value is dropped, or when the process that holds it ends in
/// whatever way. It takes any credentials and region; all see the same tables.
#[derive(Debug)]
pub struct DynamoDb {
    described: Described,
    /// The watcher ends the server when this pipe is closed.
    pipe: Option<ChildStdin>,
    watcher: Child,
}

#[derive(Debug, Deserialize)]
struct Described {
    endpoint: String,
    folder: PathBuf,
}

/// Starts DynamoDB local, or says why it cannot be had on this machine and returns `None`.
///
/// # Panics
/// With `CI=true`, when it cannot be had; anywhere, when it is there and does not start.
#[must_use]
pub fn dynamodb_or_skip() -> Option<DynamoDb> {
    match missing() {
        Some(reason) => skipped(&format!("no DynamoDB local: {reason}")),
        None => Some(DynamoDb::start()),
    }
}

/// What it needs and this machine lacks.
fn missing() -> Option<String> {
    for (program, argument) in [("java", "-version"), ("python3", "--version")] {
        if !runs(program, argument) {
            return Some(format!("{program} is not installed"));
        }
    }
    printed_path(script("dynamodb/fetch"), &[]).err()
}

impl DynamoDb {
    /// Starts the server and returns when it answers.
    ///
    /// # Panics
    /// When it does not start; the message holds the end of its log.
    #[must_use]
    pub fn start() -> Self {
        let mut command = Command::new(script("dynamodb/start"));
        // A Ctrl-C ends the test process; the watcher must outlive it to clean up.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut watcher = command
            .arg("--foreground")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/dynamodb/start runs");
        let pipe = watcher.stdin.take();
        let mut line = String::new();
        BufReader::new(watcher.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("scripts/dynamodb/start prints one line");
        let described =
            serde_json::from_str(&line).expect("DynamoDB local did not start, its complaint is above");
        Self {
            described,
            pipe,
            watcher,
        }
    }

    /// Where it answers: `http://127.0.0.1:` and its port.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.described.endpoint
    }

    /// Its folder, which holds its log.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        &self.described.folder
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // The server is gone when the watcher is; that it ended badly changes nothing here.
        drop(self.watcher.wait());
    }
}
