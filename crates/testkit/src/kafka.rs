use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::server::{Server, lacking};
use crate::tools::{printed_path, script, skipped};

/// A running Apache Kafka that ends when this value is dropped, or when the process that holds it ends in whatever way.
#[derive(Debug)]
pub struct Kafka(Server<Described>);

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Version of Apache Kafka, as Maven Central names it. Default: that of `EVENKEEL_KAFKA_VERSION`, else 4.3.0.
    pub version: String,
    /// 1 or 3, each broker and controller.
    pub nodes: u8,
    /// Whether to listen on [`Listener::Ssl`], [`Listener::Mtls`] and [`Listener::SaslSsl`] as well.
    pub tls: bool,
    /// Further server properties: name and value.
    pub properties: Vec<(String, String)>,
    /// Flags of the JVM instead of those for a quick start: a benchmark wants the optimising compiler.
    pub jvm: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        let version = std::env::var("EVENKEEL_KAFKA_VERSION").unwrap_or_else(|_| "4.3.0".to_owned());
        Self {
            version,
            nodes: 1,
            tls: false,
            properties: Vec::new(),
            jvm: None,
        }
    }
}

/// The listeners that a node can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Neither encryption nor authentication; always there.
    Plaintext,
    /// TLS; clients show no certificate.
    Ssl,
    /// TLS; clients must show the certificate of [`Tls::client_certificate`].
    Mtls,
    /// TLS with SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 with the user of [`Sasl`]; OAUTHBEARER with unsigned tokens.
    /// Kafka 4 refuses the SCRAM of librdkafka before 2.6 (it repeats the client's nonce), which Debian 12's kcat has.
    SaslSsl,
}

impl Listener {
    fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::Mtls => "MTLS",
            Self::SaslSsl => "SASL_SSL",
        }
    }
}

/// One node as it was started.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// Broker id, from 1.
    pub id: u32,
    /// Its folder: `server.properties`, `kafka.log`, `data/`.
    pub folder: PathBuf,
    /// Port on 127.0.0.1 of every listener, by Kafka's name for it; the same after a restart.
    pub ports: BTreeMap<String, u16>,
}

/// Certificates of the TLS listeners, as PEM files.
#[derive(Debug, Clone, Deserialize)]
pub struct Tls {
    /// The authority that signed the nodes' certificate (127.0.0.1 and localhost).
    pub ca: PathBuf,
    /// An authority that signed nothing here: a client that trusts only it must refuse the nodes.
    pub stranger_ca: PathBuf,
    /// A client certificate that [`Listener::Mtls`] accepts.
    pub client_certificate: PathBuf,
    /// Its private key, PKCS#8.
    pub client_key: PathBuf,
}

/// The user that the SASL listener knows.
#[derive(Debug, Clone, Deserialize)]
pub struct Sasl {
    /// Name.
    pub user: String,
    /// Password, made for tests.
    pub password: String,
}

#[derive(Debug, Deserialize)]
struct Described {
    version: String,
    folder: PathBuf,
    bootstrap: BTreeMap<String, String>,
    nodes: Vec<Node>,
    tls: Option<Tls>,
    sasl: Option<Sasl>,
}

/// Starts Apache Kafka, or says why it cannot be had on this machine and returns `None`.
///
/// # Panics
/// With `CI=true`, when it cannot be had; anywhere, when it is there and does not start.
#[must_use]
pub fn kafka_or_skip(options: Options) -> Option<Kafka> {
    match missing(&options) {
        Some(reason) => skipped(&format!("no Apache Kafka {}: {reason}", options.version)),
        None => Some(Kafka::start(options)),
    }
}

/// What Kafka needs and this machine lacks.
fn missing(options: &Options) -> Option<String> {
    let lacking = lacking(&[
        ("java", "-version"),
        ("python3", "--version"),
        ("openssl", "version"),
    ]);
    lacking.or_else(|| printed_path(script("kafka/fetch"), &[&options.version]).err())
}

impl Kafka {
    /// Starts the nodes and returns when each of them answers.
    ///
    /// # Panics
    /// When they do not start; the message holds the end of their log.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let nodes = options.nodes.to_string();
        let mut arguments: Vec<String> = ["--version", &options.version, "--nodes", &nodes]
            .map(str::to_owned)
            .into();
        if options.tls {
            arguments.push("--tls".to_owned());
        }
        for (name, value) in &options.properties {
            arguments.push(format!("--set={name}={value}"));
        }
        if let Some(flags) = &options.jvm {
            arguments.push(format!("--jvm={flags}"));
        }
        Self(Server::start("Kafka", "kafka", &arguments))
    }

    /// Addresses of the plaintext listener: `host:port`, with commas between when there are several nodes.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        self.bootstrap_of(Listener::Plaintext)
    }

    /// Addresses of a listener.
    ///
    /// # Panics
    /// When it was not asked for in [`Options::tls`].
    #[must_use]
    pub fn bootstrap_of(&self, listener: Listener) -> &str {
        self.0
            .described
            .bootstrap
            .get(listener.name())
            .expect("this Kafka was started without TLS")
    }

    /// The nodes, in the order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.0.described.nodes
    }

    /// Certificates, when it was started with TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        self.0.described.tls.as_ref()
    }

    /// The SASL user, when it was started with TLS.
    #[must_use]
    pub fn sasl(&self) -> Option<&Sasl> {
        self.0.described.sasl.as_ref()
    }

    /// Kills a node at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&self, id: u32) {
        self.signal(id, "KILL");
    }

    /// Asks a node to shut down cleanly and waits until it is gone.
    pub fn shut_down(&self, id: u32) {
        self.signal(id, "TERM");
    }

    /// Stops a node from running, as `kill -STOP` does: its connections stay open and nothing answers.
    pub fn pause(&self, id: u32) {
        self.signal(id, "STOP");
    }

    /// Lets a paused node go on.
    pub fn resume(&self, id: u32) {
        self.signal(id, "CONT");
    }

    /// Starts a killed or shut down node again on its data and ports; returns when it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self, id: u32) {
        self.run("kafka/start", &["--node", &id.to_string(), "--folder"]);
    }

    /// A console tool of this version, by the name that Kafka's distribution gives it, e.g. `kafka-console-consumer`.
    #[must_use]
    pub fn console(&self, tool: &str) -> Command {
        let mut command = Command::new(script("kafka/console"));
        command
            .arg(tool)
            .env("EVENKEEL_KAFKA_VERSION", &self.0.described.version);
        command
    }

    fn signal(&self, id: u32, name: &str) {
        self.run("kafka/stop", &["--node", &id.to_string(), "--signal", name]);
    }

    fn run(&self, name: &str, arguments: &[&str]) {
        self.0.run(name, arguments, &self.0.described.folder);
    }
}
