//! `evenkeel dev` as a process of its own, on free ports and a temporary directory, and commands beside it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
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
    /// Settings of the platform and of commands.
    settings: Vec<(&'static str, String)>,
}

/// A process that runs beside the platform until it is dropped.
pub(crate) struct Beside {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Beside {
    pub(crate) fn write(&mut self, lines: &str) {
        self.input.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
    }

    /// The next line that it prints.
    pub(crate) fn next(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Ends its standard input and waits for its end.
    pub(crate) fn end(mut self) -> i32 {
        drop(self.input.take());
        self.child.wait().unwrap().code().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, as an operator does, and waits for its end.
    pub(crate) fn terminate(&mut self) -> i32 {
        signal(&self.child, "TERM");
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The command that prints what lies on a topic.
pub(crate) const fn tail_of(topic: &str) -> [&str; 8] {
    ["tail", topic, "--from", "beginning", "--to", "end", "-o", "json"]
}

/// Sends a signal by its name without SIG.
pub(crate) fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let mut kill = Command::new("kill");
    assert!(kill.args([&format!("-{name}"), &id]).status().unwrap().success());
}

impl Platform {
    pub(crate) fn start() -> Self {
        let mut platform = Self {
            directory: tempfile::tempdir().unwrap(),
            process: None,
            addresses: Value::Null,
            credentials: None,
            park_after_ms: 60_000,
            settings: Vec::new(),
        };
        platform.start_again();
        platform
    }

    /// A setting of the platform from its next start on, and of commands from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.settings.retain(|(other, _)| *other != name);
        self.settings.push((name, value.to_owned()));
    }

    /// The next start, and those after it, take the present addresses.
    pub(crate) fn stay_at_these_addresses(&mut self) {
        for (setting, part) in [
            ("EVENKEEL_BROKER__LISTEN", "broker"),
            ("EVENKEEL_SERVER__REGISTRY_LISTEN", "registry"),
        ] {
            let address = self.address(part).trim_start_matches("http://").to_owned();
            self.set(setting, &address);
        }
    }

    /// Starts a command that goes on running beside the platform.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Beside {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Beside {
            input: child.stdin.take(),
            output,
            child,
        }
    }

    /// The embedded broker of the stopped platform by itself: nothing drains what is parked.
    pub(crate) fn begin_broker(&self) -> Beside {
        let broker = self.begin(&["broker"]);
        let address = self.address("broker").to_owned();
        until(|| std::net::TcpStream::connect(&address).is_ok());
        broker
    }

    pub(crate) fn start_again(&mut self) {
        let log = File::create(self.path().join("dev.log")).unwrap();
        let mut child = command(self.path())
            .envs(self.settings.clone())
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
        signal(&child, "TERM");
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

    /// Runs a command with `input` on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Ended {
        run(self.command(arguments), input)
    }

    /// A command against the platform.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.path());
        self.settle(&mut command);
        command.args(arguments);
        command
    }

    /// A shell with `evenkeel` on its path.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let binaries = Path::new(env!("CARGO_BIN_EXE_evenkeel")).parent().unwrap();
        let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell
            .args(["-eu", "-c", script])
            .current_dir(self.path())
            .env("PATH", path);
        self.settle(&mut shell);
        shell
    }

    /// Lets a command find the platform.
    fn settle(&self, command: &mut Command) {
        command
            .envs(self.settings.clone())
            .env("EVENKEEL_KAFKA__BROKERS", self.address("broker"))
            .env("EVENKEEL_REGISTRY__URL", self.address("registry"))
            .env("EVENKEEL_PUBLISH__PARK_AFTER_MS", self.park_after_ms.to_string());
        if let Some((domain, token)) = &self.credentials {
            command
                .env("EVENKEEL_REGISTRY__DOMAIN", domain)
                .env("EVENKEEL_REGISTRY__TOKEN", token);
        }
    }

    /// What lies on a topic, from its beginning to its present end.
    pub(crate) fn tail(&self, topic: &str) -> Vec<Value> {
        self.run(&tail_of(topic)).with(0).lines()
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
pub(crate) fn run(mut command: Command, input: impl AsRef<[u8]>) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read.
    child.stdin.take().unwrap().write_all(input.as_ref()).ok();
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
