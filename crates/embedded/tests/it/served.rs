//! A broker for one test: in this process on a runtime of its own, or in a child process that can be killed.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use evenkeel_embedded::{Broker, Config, faults::Faults};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::Client;

pub(crate) struct Served {
    pub(crate) directory: TempDir,
    runtime: Runtime,
    broker: Option<Broker>,
    pub(crate) address: SocketAddr,
}

pub(crate) fn config(directory: &Path) -> Config {
    let mut config = Config::new(directory);
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config
}

impl Served {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let mut config = config(directory.path());
        change(&mut config);
        let broker = runtime.block_on(evenkeel_embedded::start(config)).unwrap();
        let address = broker.address();
        Self {
            directory,
            runtime,
            broker: Some(broker),
            address,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn faults(&self) -> Faults {
        self.broker.as_ref().unwrap().faults()
    }

    /// Runs something on the broker's runtime.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn stop(&mut self) {
        self.runtime.block_on(self.broker.take().unwrap().stop()).unwrap();
    }

    /// Starts again on the same directory and port.
    pub(crate) fn start_again(&mut self) {
        self.start_with(|_| {});
    }

    /// Starts again with other settings.
    pub(crate) fn start_with(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = config(self.directory.path());
        config.listen = self.address;
        change(&mut config);
        self.broker = Some(self.runtime.block_on(evenkeel_embedded::start(config)).unwrap());
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }
}

/// A broker in a process of its own.
pub(crate) struct Spawned {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Spawned {
    /// Starts one, with shell commands such as `ulimit` before it.
    pub(crate) fn start(directory: &Path, before: &str) -> Self {
        Self::with(directory, before, &[])
    }

    /// Starts one that deletes and compacts all the time.
    pub(crate) fn cleaning(directory: &Path) -> Self {
        Self::with(directory, "", &["127.0.0.1:0", "1"])
    }

    fn with(directory: &Path, before: &str, arguments: &[&str]) -> Self {
        let script = format!("{before}\nexec \"$0\" \"$@\"");
        let mut child = Command::new("bash")
            .args(["-c", &script])
            .arg(env!("CARGO_BIN_EXE_evenkeel-embedded-serve"))
            .arg(directory)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().parse().expect("the broker did not start");
        Self { child, address }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // After `kill` there is nothing left to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
