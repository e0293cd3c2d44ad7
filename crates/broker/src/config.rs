//! How to reach Kafka: addresses, TLS, SASL, time-outs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::token::TokenProvider;

/// The `[kafka]` section: how to reach one Kafka cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// Addresses to begin with, `host:port` each, at least one.
    pub brokers: Vec<String>,
    /// Name under which brokers log and limit us.
    pub client_id: String,
    /// TLS; absent means plain text.
    pub tls: Option<Tls>,
    /// SASL; absent means no credentials.
    pub sasl: Option<Sasl>,
    /// Longest wait for a connection with its handshakes, milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest wait for an answer, milliseconds, where the caller gives none.
    pub request_timeout_ms: u64,
    /// Age at which metadata is asked for again although nothing failed, milliseconds.
    pub metadata_max_age_ms: u64,
    /// Gives the tokens of OAUTHBEARER, when they do not stand in the settings.
    #[serde(skip)]
    pub token_provider: Option<Arc<dyn TokenProvider>>,
}

/// How the broker is known to be the right one, and how we show who we are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file with the authorities to trust; absent means those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// PEM file with our certificate chain (mutual TLS).
    pub cert_file: Option<PathBuf>,
    /// PEM file with our private key (mutual TLS).
    pub key_file: Option<PathBuf>,
}

/// Credentials.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// User name (PLAIN and SCRAM).
    #[serde(default)]
    pub username: String,
    /// Password (PLAIN and SCRAM).
    #[serde(default)]
    pub password: Secret,
    /// A fixed token (OAUTHBEARER), where no provider is set.
    #[serde(default)]
    pub token: Option<Secret>,
}

/// SASL mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    /// RFC 4616. The password goes over the wire: use it with TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// RFC 7677.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// RFC 5802 with SHA-512, as Kafka's KIP-84.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// RFC 7628, KIP-255.
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
}

/// A text that is never shown: its `Debug` and `Display` print `***` (invariant **private**).
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: vec!["127.0.0.1:9092".to_owned()],
            client_id: "evenkeel".to_owned(),
            tls: None,
            sasl: None,
            connect_timeout_ms: 10_000,
            request_timeout_ms: 30_000,
            metadata_max_age_ms: 60_000,
            token_provider: None,
        }
    }
}

impl Kafka {
    /// Plain text and no credentials, with the default time-outs.
    #[must_use]
    pub fn at(broker: impl Into<String>) -> Self {
        Self {
            brokers: vec![broker.into()],
            ..Self::default()
        }
    }

    pub(crate) const fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

impl Mechanism {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; for the wire alone.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let text = r#"
            brokers = ["a:9093"]
            [tls]
            ca_file = "ca.pem"
            [sasl]
            mechanism = "SCRAM-SHA-512"
            username = "orders"
            password = "hunter2"
            token = "eyJhbGciOi"
        "#;
        let kafka: Kafka = toml::from_str(text).unwrap();
        let sasl = kafka.sasl.clone().unwrap();
        assert_eq!(sasl.mechanism, Mechanism::ScramSha512);
        assert_eq!(sasl.password.reveal(), "hunter2");
        let shown = format!("{kafka:?} {}", sasl.password);
        assert!(!shown.contains("hunter2") && !shown.contains("eyJ"), "{shown}");
        assert_eq!(kafka.request_timeout_ms, 30_000);
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(toml::from_str::<Kafka>("broker = 'a:1'").is_err());
        assert!(toml::from_str::<Kafka>("[sasl]\nmechanism = 'GSSAPI'").is_err());
    }
}
