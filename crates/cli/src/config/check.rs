//! What the types of the settings cannot say.

use anyhow::{Context as _, Result, bail};
use evenkeel_event::TopicName;

use super::settings::{Data, Kafka, Publish, Registry, Sasl, Standby, Tls, Topics};
use super::{Mechanism, Settings};

/// Least room for what is parked, and for what waits in memory, bytes.
const ROOM_MIN: u64 = 1 << 20;

/// Refuses settings that cannot be meant, by their names and never by their secrets.
pub(super) fn check(settings: &Settings) -> Result<()> {
    kafka(&settings.kafka)?;
    registry(&settings.registry)?;
    topics(&settings.topics)?;
    publish(&settings.publish)?;
    standby(&settings.standby)?;
    data(&settings.data)
}

fn kafka(kafka: &Kafka) -> Result<()> {
    if kafka.brokers.is_empty() {
        bail!("kafka.brokers is empty: name one HOST:PORT of the cluster at least");
    }
    for address in &kafka.brokers {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            bail!("kafka.brokers holds \"{address}\", which is no HOST:PORT with a port from 1 to 65535");
        }
    }
    if kafka.request_timeout_ms == 0 {
        bail!("kafka.request_timeout_ms is 0: a broker needs some time to answer");
    }
    tls(&kafka.tls)?;
    sasl(&kafka.sasl)
}

fn tls(tls: &Tls) -> Result<()> {
    let files = [&tls.ca_file, &tls.certificate_file, &tls.key_file];
    if !tls.enabled && files.iter().any(|file| !file.is_empty()) {
        bail!(
            "kafka.tls names files, but kafka.tls.enabled is false, so that connections would not be encrypted: set it to true"
        );
    }
    if tls.certificate_file.is_empty() != tls.key_file.is_empty() {
        bail!("kafka.tls.certificate_file and kafka.tls.key_file go together: set both or none");
    }
    Ok(())
}

fn sasl(sasl: &Sasl) -> Result<()> {
    let (has_name, has_password) = (!sasl.username.is_empty(), !sasl.password.reveal().is_empty());
    match sasl.mechanism {
        Mechanism::None if has_name || has_password => {
            bail!("kafka.sasl has credentials, but kafka.sasl.mechanism is \"none\": name the mechanism")
        }
        Mechanism::Plain | Mechanism::ScramSha256 | Mechanism::ScramSha512 if !has_name || !has_password => {
            bail!("kafka.sasl.mechanism needs kafka.sasl.username and kafka.sasl.password")
        }
        Mechanism::Oauthbearer if !has_password => {
            bail!("kafka.sasl.mechanism \"oauthbearer\" needs the token in kafka.sasl.password")
        }
        Mechanism::AwsMskIam if !cfg!(feature = "aws") => bail!(
            "kafka.sasl.mechanism is \"aws-msk-iam\", which this build does not know: build evenkeel with --features aws"
        ),
        _ => Ok(()),
    }
}

fn registry(registry: &Registry) -> Result<()> {
    // The address is shown in many places, so that it must hold no secret (invariant **private**).
    let authority = registry.url.split_once("://");
    if authority.is_some_and(|(_, rest)| {
        rest.split(['/', '?', '#'])
            .next()
            .is_some_and(|at| at.contains('@'))
    }) {
        bail!("registry.url holds credentials: set registry.domain and registry.token instead");
    }
    if registry.domain.is_empty() && !registry.token.reveal().is_empty() {
        bail!("registry.token is set without registry.domain, the domain that it belongs to: set both");
    }
    Ok(())
}

fn topics(topics: &Topics) -> Result<()> {
    if topics.partitions < 1 {
        bail!(
            "topics.partitions is {}: a topic has at least 1",
            topics.partitions
        );
    }
    if topics.replication < 1 && topics.replication != -1 {
        bail!(
            "topics.replication is {}: it is at least 1, or -1 for the cluster's default",
            topics.replication
        );
    }
    Ok(())
}

fn publish(publish: &Publish) -> Result<()> {
    TopicName::publish_letters(&publish.application)
        .context("publish.application also names a directory and a dead-letter topic")?;
    if publish.park_after_ms == 0 {
        bail!("publish.park_after_ms is 0: give a partition some time to answer");
    }
    at_least("publish.buffer_bytes_max", publish.buffer_bytes_max as u64)
}

fn standby(standby: &Standby) -> Result<()> {
    let url = standby.url.reveal();
    let is_known = ["postgres://", "postgresql://", "dynamodb:"]
        .iter()
        .any(|start| url.starts_with(start));
    if !url.is_empty() && !is_known {
        bail!(
            "standby.url begins with neither postgres:// nor dynamodb: (empty: what is parked is kept in data.directory)"
        );
    }
    at_least("standby.bytes_max", standby.bytes_max)
}

fn at_least(name: &str, bytes: u64) -> Result<()> {
    if bytes < ROOM_MIN {
        bail!("{name} is {bytes} bytes: it is at least {ROOM_MIN}");
    }
    Ok(())
}

fn data(data: &Data) -> Result<()> {
    if data.directory.as_os_str().is_empty() {
        bail!("data.directory is empty: name the directory that keeps what is parked");
    }
    Ok(())
}
