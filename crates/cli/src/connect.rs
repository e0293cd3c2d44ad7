//! From settings to a cluster.

use anyhow::{Context as _, Result};
use evenkeel_broker::config::{Kafka, Mechanism, Sasl, Tls};
use evenkeel_broker::{Cluster, Secret};

use crate::config::{self, Settings};

/// Connects to the cluster that the settings name, and waits for its first answer.
pub(crate) async fn cluster(settings: &Settings) -> Result<Cluster> {
    Cluster::connect(kafka(&settings.kafka))
        .await
        .context("Kafka cannot be used (kafka.brokers says where it is)")
}

/// How to reach the cluster, in the broker crate's words.
pub(crate) fn kafka(settings: &config::Kafka) -> Kafka {
    let mut kafka = Kafka::default();
    kafka.brokers.clone_from(&settings.brokers);
    kafka.client_id.clone_from(&settings.client_id);
    kafka.request_timeout_ms = settings.request_timeout_ms;
    kafka.tls = settings.tls.enabled.then(|| Tls {
        ca_file: filled(&settings.tls.ca_file).map(Into::into),
        cert_file: filled(&settings.tls.certificate_file).map(Into::into),
        key_file: filled(&settings.tls.key_file).map(Into::into),
    });
    kafka.sasl = mechanism(settings.sasl.mechanism).map(|mechanism| Sasl {
        mechanism,
        username: settings.sasl.username.clone(),
        password: Secret::new(settings.sasl.password.reveal()),
        token: filled(settings.sasl.password.reveal()).map(Secret::new),
    });
    #[cfg(feature = "aws")]
    if settings.sasl.mechanism == config::Mechanism::AwsMskIam {
        kafka.token_provider = Some(std::sync::Arc::new(evenkeel_broker::aws::MskIam::new(None)));
    }
    kafka
}

fn mechanism(mechanism: config::Mechanism) -> Option<Mechanism> {
    match mechanism {
        config::Mechanism::None => None,
        config::Mechanism::Plain => Some(Mechanism::Plain),
        config::Mechanism::ScramSha256 => Some(Mechanism::ScramSha256),
        config::Mechanism::ScramSha512 => Some(Mechanism::ScramSha512),
        // Amazon's is OAUTHBEARER with a token that is made from AWS credentials.
        config::Mechanism::Oauthbearer | config::Mechanism::AwsMskIam => Some(Mechanism::OauthBearer),
    }
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
