use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::server::{Server, lacking};
use crate::tools::{printed_path, script, skipped};

/// A running PostgreSQL, new and empty, that ends when this value is dropped, or when the process that holds it ends in
/// whatever way. Durable as one in production: `fsync` is on.
#[derive(Debug)]
pub struct PostgresServer(Server<Described>);

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
    let programs = [("python3", "--version"), ("openssl", "version")];
    let needed = if tls { programs.as_slice() } else { &programs[..1] };
    let lacking = lacking(needed);
    lacking.or_else(|| printed_path(script("postgres/fetch"), &[]).err())
}

impl PostgresServer {
    /// Starts a server and returns when it answers.
    ///
    /// # Panics
    /// When it does not start; the message holds the end of its log.
    #[must_use]
    pub fn start(tls: bool, settings: &[(&str, &str)]) -> Self {
        let mut arguments: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("--set={name}={value}"))
            .collect();
        if tls {
            arguments.push("--tls".to_owned());
        }
        Self(Server::start("PostgreSQL", "postgres", &arguments))
    }

    /// The URL of its database `postgres`, as its superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as(&self.0.described.user, &self.0.described.password, "postgres")
    }

    /// The URL of a database, as a user.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let port = self.0.described.port;
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
    }

    /// The certificate authority that signed its certificate, and one that signed nothing here.
    ///
    /// # Panics
    /// When it was started without TLS.
    #[must_use]
    pub fn authorities(&self) -> (&Path, &Path) {
        let tls = self.0.described.tls.as_ref().expect("it was started without TLS");
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

    fn run(&self, name: &str, arguments: &[&str]) {
        self.0.run(name, arguments, &self.0.described.folder);
    }
}
