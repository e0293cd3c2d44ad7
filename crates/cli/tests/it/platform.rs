//! `evenkeel dev` as a process of its own, on free ports and a temporary directory, and commands beside it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(90);

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The lines of a stream.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A running platform.
pub(crate) struct Platform {
    directory: TempDir,
    process: Option<(Child, BufReader<ChildStdout>)>,
    pub(crate) addresses: Value,
    credentials: Option<(String, String)>,
    /// After how long commands park, milliseconds. Long at first: on a busy machine no event is to park by chance.
    pub(crate) park_after_ms: u32,
}

impl Platform {
    pub(crate) fn start() -> Self {
        let mut platform = Self {
            directory: tempfile::tempdir().unwrap(),
            process: None,
            addresses: Value::Null,
            credentials: None,
            park_after_ms: 60_000,
        };
        platform.start_again();
        platform
    }

    pub(crate) fn start_again(&mut self) {
        let log = File::create(self.path().join("dev.log")).unwrap();
        let mut child = command(self.path())
            .args(["dev", "-o", "json"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let log = || std::fs::read_to_string(self.path().join("dev.log")).unwrap();
        assert!(!line.is_empty(), "dev did not start: {}", log());
        self.addresses = serde_json::from_str(&line).unwrap();
        self.process = Some((child, stdout));
    }

    /// Asks it to stop, as an operator does, and waits for its end.
    pub(crate) fn stop(&mut self) {
        let (mut child, _stdout) = self.process.take().unwrap();
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        let status = child.wait().unwrap();
        let log = std::fs::read_to_string(self.path().join("dev.log")).unwrap();
        assert!(status.success(), "{status}: {log}");
    }

    /// Further commands act as this domain.
    pub(crate) fn act_as(&mut self, domain: &str, token: &str) {
        self.credentials = Some((domain.to_owned(), token.to_owned()));
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn address(&self, part: &str) -> &str {
        self.addresses[part].as_str().unwrap()
    }

    /// Runs a command against the platform with `input` on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = command(self.path());
        command
            .env("EVENKEEL_KAFKA__BROKERS", self.address("broker"))
            .env("EVENKEEL_REGISTRY__URL", self.address("registry"))
            .env("EVENKEEL_PUBLISH__PARK_AFTER_MS", self.park_after_ms.to_string())
            .args(arguments);
        if let Some((domain, token)) = &self.credentials {
            command
                .env("EVENKEEL_REGISTRY__DOMAIN", domain)
                .env("EVENKEEL_REGISTRY__TOKEN", token);
        }
        run(command, input)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "")
    }

    /// The body of an answer of the admin listener.
    pub(crate) fn admin(&self, path: &str) -> String {
        let url = format!("{}{path}", self.address("admin"));
        let mut answer = ureq::get(&url).call().unwrap();
        answer.body_mut().read_to_string().unwrap()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The binary in `directory`, with free ports and nothing of the caller's settings.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("EVENKEEL_")) {
        command.env_remove(name);
    }
    command
        .current_dir(directory)
        .env("EVENKEEL_BROKER__LISTEN", "127.0.0.1:0")
        .env("EVENKEEL_SERVER__REGISTRY_LISTEN", "127.0.0.1:0")
        .env("EVENKEEL_SERVER__ADMIN_LISTEN", "127.0.0.1:0");
    command
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "it did not come to pass in {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
