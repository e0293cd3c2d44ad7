use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde::Deserialize;

use crate::tools::{printed_path, runs, script, skipped};

/// A running PostgreSQL, new and empty, that ends when this value is dropped, or when the process that holds it ends in
/// whatever way. Durable as one in production: `fsync` is on.
#[derive(Debug)]
pub struct PostgresServer {
    described: Described,
    /// The watcher ends the server when this pipe is closed.
    pipe: Option<ChildStdin>,
    watcher: Child,
}

#[derive(Debug, Deserialize)]
struct Described {
    folder: PathBuf,
    port: u16,
    user: String,
    password: String,
    tls: Option<Authorities>,
}

#[derive(Debug, Deserialize)]
struct Authorities {
    ca: PathBuf,
    stranger_ca: PathBuf,
}

/// Starts PostgreSQL with these settings beside its own, or says why it cannot be had on this machine and returns `None`.
/// With `tls` it speaks TLS as well, with a certificate for 127.0.0.1 and localhost.
///
/// # Panics
/// With `CI=true`, when it cannot be had; anywhere, when it is there and does not start.
#[must_use]
pub fn postgres_or_skip(tls: bool, settings: &[(&str, &str)]) -> Option<PostgresServer> {
    match missing(tls) {
        Some(reason) => skipped(&format!("no PostgreSQL: {reason}")),
        None => Some(PostgresServer::start(tls, settings)),
    }
}

/// What it needs and this machine lacks.
fn missing(tls: bool) -> Option<String> {
    if !runs("python3", "--version") {
        return Some("python3 is not installed".to_owned());
    }
    if tls && !runs("openssl", "version") {
        return Some("openssl is not installed".to_owned());
    }
    printed_path(script("postgres/fetch"), &[]).err()
}

impl PostgresServer {
    /// Starts a server and returns when it answers.
    ///
    /// # Panics
    /// When it does not start; the message holds the end of its log.
    #[must_use]
    pub fn start(tls: bool, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(script("postgres/start"));
        command.arg("--foreground");
        if tls {
            command.arg("--tls");
        }
        for (name, value) in settings {
            command.args(["--set", &format!("{name}={value}")]);
        }
        // A Ctrl-C ends the test process; the watcher must outlive it to clean up.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut watcher = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/postgres/start runs");
        let pipe = watcher.stdin.take();
        let mut line = String::new();
        BufReader::new(watcher.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("scripts/postgres/start prints one line");
        let described =
            serde_json::from_str(&line).expect("PostgreSQL did not start, its complaint is above");
        Self {
            described,
            pipe,
            watcher,
        }
    }

    /// The URL of its database `postgres`, as its superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as(&self.described.user, &self.described.password, "postgres")
    }

    /// The URL of a database, as a user.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let port = self.described.port;
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
    }

    /// The certificate authority that signed its certificate, and one that signed nothing here.
    ///
    /// # Panics
    /// When it was started without TLS.
    #[must_use]
    pub fn authorities(&self) -> (&Path, &Path) {
        let tls = self.described.tls.as_ref().expect("it was started without TLS");
        (&tls.ca, &tls.stranger_ca)
    }

    /// Kills it at once, as `kill -9` does, and waits until all its processes are gone.
    pub fn kill(&self) {
        self.run("postgres/stop", &["--signal", "KILL"]);
    }

    /// Stops it from running, as `kill -STOP` does: its connections stay open and nothing answers.
    pub fn pause(&self) {
        self.run("postgres/stop", &["--signal", "STOP"]);
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.run("postgres/stop", &["--signal", "CONT"]);
    }

    /// Starts a killed server again on its data and port; returns when it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.run("postgres/start", &["--folder"]);
    }

    /// Runs a script on this server's folder, which is its last argument.
    fn run(&self, name: &str, arguments: &[&str]) {
        let status = Command::new(script(name))
            .args(arguments)
            .arg(&self.described.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .expect("the scripts of PostgreSQL run");
        assert!(status.success(), "scripts/{name} {arguments:?} failed");
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // The server is gone when the watcher is; that it ended badly changes nothing here.
        drop(self.watcher.wait());
    }
}
