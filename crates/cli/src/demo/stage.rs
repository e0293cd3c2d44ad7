//! What the demo plays on: a broker that can be taken away, a registry on it, names of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use evenkeel_broker::config::Kafka;
use evenkeel_broker::{Cluster, Leader};
use evenkeel_embedded::Broker;
use evenkeel_embedded::proxy::Proxy;
use evenkeel_event::clock::SystemClock;
use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_server::domains::Domains;
use evenkeel_server::platform::Topics;

use crate::commands::broker;
use crate::hosted_registry::HostedRegistry;
use crate::registry::Registry;

/// Longest wait for the cluster to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The platform of one run.
pub(super) struct Stage {
    /// The events' topic.
    pub(super) topic: TopicName,
    /// Name of the publishing application.
    pub(super) application: String,
    /// Name of the consuming group.
    pub(super) group: String,
    /// How everything but the final check reaches Kafka.
    pub(super) kafka: Kafka,
    /// Past the proxy, where there is one.
    pub(super) direct: Cluster,
    pub(super) domains: Arc<Domains>,
    /// The topics of schemas and of domains.
    pub(super) internal: Topics,
    /// Where the registry listens.
    pub(super) registry_url: String,
    registry: HostedRegistry,
    power: Power,
}

/// What makes the outage.
enum Power {
    /// The embedded broker is really stopped and started again.
    Embedded {
        broker: Option<Broker>,
        directory: std::path::PathBuf,
        listen: std::net::SocketAddr,
    },
    /// A running Kafka is somebody's: a proxy in between cuts it off.
    Proxied(Proxy),
}

impl Stage {
    /// Sets the stage on `directory`: with the embedded broker, or against the Kafka at `bootstrap`.
    pub(super) async fn set(directory: &Path, bootstrap: Option<&str>, settings: &Kafka) -> Result<Self> {
        let (power, kafka, direct, prefix) = match bootstrap {
            None => {
                let directory = directory.join("broker");
                let started = broker::start(&directory, ([127, 0, 0, 1], 0).into()).await?;
                let listen = started.address();
                let kafka = Kafka::at(listen.to_string());
                let direct = kafka.clone();
                (
                    Power::Embedded {
                        broker: Some(started),
                        directory,
                        listen,
                    },
                    kafka,
                    direct,
                    String::new(),
                )
            }
            Some(bootstrap) => {
                let proxy = Proxy::start(bootstrap)
                    .with_context(|| format!("no proxy can stand before {bootstrap}"))?;
                let brokers = |list: &str| list.split(',').map(str::to_owned).collect();
                let kafka = Kafka {
                    brokers: brokers(proxy.bootstrap()),
                    ..settings.clone()
                };
                let direct = Kafka {
                    brokers: brokers(bootstrap),
                    ..settings.clone()
                };
                (Power::Proxied(proxy), kafka, direct, run_prefix())
            }
        };
        let direct = Cluster::connect(direct)
            .await
            .context("Kafka cannot be reached")?;
        let internal = Topics::with_prefix(&prefix, -1)?;
        let clock = Arc::new(SystemClock::default());
        let domains = evenkeel_server::platform::domains(&direct, &internal, clock).await?;
        domains.loaded().await;
        let config = evenkeel_server::registry::Config::default();
        let registry = HostedRegistry::serve(&direct, &internal, Arc::clone(&domains), config).await?;
        Ok(Self {
            topic: TopicName::new(&format!("{prefix}orders"))?,
            application: format!("{prefix}shop"),
            group: format!("{prefix}revenue"),
            kafka,
            direct,
            domains,
            internal,
            registry_url: registry.url(),
            registry,
            power,
        })
    }

    /// The registry as `domain` sees it.
    pub(super) fn registry(&self, domain: &str, token: &str) -> Registry {
        Registry::at(&self.registry_url, domain, token)
    }

    /// Takes Kafka away.
    pub(super) async fn cut(&mut self) -> Result<&'static str> {
        match &mut self.power {
            Power::Embedded { broker, .. } => {
                if let Some(broker) = broker.take() {
                    broker.stop().await?;
                }
                Ok("the broker is stopped")
            }
            Power::Proxied(proxy) => {
                proxy.cut().await;
                Ok("every connection to Kafka is cut, and new ones are refused")
            }
        }
    }

    /// Gives Kafka back and waits until it answers.
    pub(super) async fn restore(&mut self) -> Result<()> {
        match &mut self.power {
            Power::Embedded {
                broker,
                directory,
                listen,
            } => *broker = Some(broker::start(directory, *listen).await?),
            Power::Proxied(proxy) => proxy.restore().await,
        }
        self.answering().await
    }

    async fn answering(&self) -> Result<()> {
        let partition = TopicPartition::new(self.topic.clone(), 0);
        tokio::time::timeout(PATIENCE, async {
            loop {
                // What it says meanwhile is of no interest: it is asked again.
                drop(self.direct.refresh().await);
                if let Leader::At { .. } = self.direct.metadata().leader(&partition) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .map_err(|_| anyhow!("Kafka did not come back within {} s", PATIENCE.as_secs()))
    }

    /// Stops what the demo started; a Kafka of the user's keeps all topics.
    pub(super) async fn strike(self) -> Result<()> {
        self.registry.stop();
        if let Power::Embedded {
            broker: Some(broker), ..
        } = self.power
        {
            broker.stop().await?;
        }
        Ok(())
    }
}

/// Topics of a run on somebody's cluster bear its name, so that two runs do not meet.
fn run_prefix() -> String {
    let random: [u8; 4] = rand::random();
    format!("evenkeel-demo-{:08x}-", u32::from_be_bytes(random))
}
