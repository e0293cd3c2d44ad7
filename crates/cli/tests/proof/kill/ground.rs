//! A broker that can be taken away: the embedded one really stops, Apache Kafka is cut off by a proxy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use evenkeel_broker::{Cluster, Kafka};
use evenkeel_embedded::Broker;
use evenkeel_embedded::proxy::{Api, Proxy};

/// Longest wait for a broker to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which broker a seed is played on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Embedded,
    /// The Apache Kafka at this address.
    Kafka(&'static str),
}

/// How the broker goes away. The embedded one can only stop.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outage {
    /// Connections are closed, new ones refused.
    Gone,
    /// Connections stay open and nothing passes; what was sent meanwhile arrives in the end.
    Silent,
}

/// The broker of one seed.
pub(super) enum Ground {
    Embedded {
        broker: Option<Broker>,
        address: SocketAddr,
        directory: PathBuf,
    },
    Kafka {
        proxy: Proxy,
        direct: &'static str,
    },
}

impl Ground {
    pub(super) async fn start(place: Place, directory: &Path) -> Result<Self> {
        match place {
            Place::Embedded => {
                let directory = directory.join("broker");
                let free = SocketAddr::from(([127, 0, 0, 1], 0));
                let broker = embedded(&directory, free).await?;
                let address = broker.address();
                Ok(Self::Embedded {
                    broker: Some(broker),
                    address,
                    directory,
                })
            }
            Place::Kafka(direct) => Ok(Self::Kafka {
                proxy: Proxy::start(direct)?,
                direct,
            }),
        }
    }

    /// What the publisher connects to.
    pub(super) fn bootstrap(&self) -> String {
        match self {
            Self::Embedded { address, .. } => address.to_string(),
            Self::Kafka { proxy, .. } => proxy.bootstrap().to_owned(),
        }
    }

    /// How the judge reads, past every fault. The broker must be there.
    pub(super) async fn direct(&self) -> Result<Cluster> {
        let bootstrap = match self {
            Self::Embedded { address, .. } => address.to_string(),
            Self::Kafka { direct, .. } => (*direct).to_owned(),
        };
        Ok(Cluster::connect(Kafka::at(bootstrap)).await?)
    }

    /// Lets the next produce requests arrive and their answers get lost. The embedded broker has nothing in between.
    pub(super) async fn lose_answers(&self, count: usize) {
        if let Self::Kafka { proxy, .. } = self {
            proxy.drop_responses(Api::PRODUCE, count).await;
        }
    }

    /// Holds every request and answer back for this long, until the broker goes away and returns.
    pub(super) async fn slow_down(&self, each_way: Duration) {
        if let Self::Kafka { proxy, .. } = self {
            proxy.delay(each_way).await;
        }
    }

    pub(super) async fn take_away(&mut self, outage: Outage) -> Result<()> {
        match (self, outage) {
            (Self::Embedded { broker, .. }, _) => {
                broker
                    .take()
                    .context("the broker is away already")?
                    .stop()
                    .await?;
            }
            (Self::Kafka { proxy, .. }, Outage::Gone) => proxy.cut().await,
            (Self::Kafka { proxy, .. }, Outage::Silent) => proxy.hang().await,
        }
        Ok(())
    }

    pub(super) async fn give_back(&mut self) -> Result<()> {
        match self {
            Self::Embedded {
                broker,
                address,
                directory,
            } => *broker = Some(embedded(directory, *address).await?),
            Self::Kafka { proxy, .. } => proxy.restore().await,
        }
        Ok(())
    }
}

async fn embedded(directory: &Path, listen: SocketAddr) -> Result<Broker> {
    let mut config = evenkeel_embedded::Config::new(directory);
    config.listen = listen;
    let begun = Instant::now();
    loop {
        match evenkeel_embedded::start(config.clone()).await {
            Ok(broker) => return Ok(broker),
            // Connections of the last one may still hold the port.
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
