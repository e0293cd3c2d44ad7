//! A broker that can be taken away: the embedded one really stops, Apache Kafka is cut off by the proxy before it.

use std::fmt;
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
pub(crate) enum Place {
    Embedded,
    /// The Apache Kafka at this address.
    Kafka(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Embedded => "embedded broker",
            Self::Kafka(_) => "Apache Kafka",
        })
    }
}

/// How the broker goes away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outage {
    /// Connections are closed, new ones refused.
    Gone,
    /// Connections stay open and nothing passes; what was sent meanwhile arrives in the end.
    Silent,
}

/// The broker of one seed.
pub(crate) struct Ground {
    proxy: Proxy,
    direct: String,
    embedded: Option<Embedded>,
}

struct Embedded {
    /// None while it is stopped.
    broker: Option<Broker>,
    address: SocketAddr,
    directory: PathBuf,
}

impl Ground {
    pub(crate) async fn start(place: Place, directory: &Path) -> Result<Self> {
        let (direct, embedded) = match place {
            Place::Embedded => {
                let embedded = Embedded::start(directory.join("broker")).await?;
                (embedded.address.to_string(), Some(embedded))
            }
            Place::Kafka(direct) => (direct.to_owned(), None),
        };
        Ok(Self {
            proxy: Proxy::start(&direct)?,
            direct,
            embedded,
        })
    }

    /// What the publisher connects to.
    pub(crate) fn bootstrap(&self) -> &str {
        self.proxy.bootstrap()
    }

    /// How the judge reads, past every fault. The broker must be there.
    pub(crate) async fn direct(&self) -> Result<Cluster> {
        Ok(Cluster::connect(Kafka::at(self.direct.as_str())).await?)
    }

    /// Lets the next produce requests arrive and their answers get lost, until the broker goes away and returns.
    pub(crate) async fn lose_answers(&self, count: usize) {
        self.proxy.drop_responses(Api::PRODUCE, count).await;
    }

    /// Holds every request and answer back for this long, until the broker goes away and returns.
    pub(crate) async fn slow_down(&self, each_way: Duration) {
        self.proxy.delay(each_way).await;
    }

    pub(crate) async fn take_away(&mut self, outage: Outage) -> Result<()> {
        match outage {
            Outage::Gone => self.proxy.cut().await,
            Outage::Silent => self.proxy.hang().await,
        }
        if let (Outage::Gone, Some(embedded)) = (outage, &mut self.embedded) {
            let broker = embedded.broker.take().context("the broker is away already")?;
            broker.stop().await?;
        }
        Ok(())
    }

    pub(crate) async fn give_back(&mut self) -> Result<()> {
        if let Some(embedded) = &mut self.embedded
            && embedded.broker.is_none()
        {
            embedded.broker = Some(open(&embedded.directory, embedded.address).await?);
        }
        self.proxy.restore().await;
        Ok(())
    }
}

impl Embedded {
    async fn start(directory: PathBuf) -> Result<Self> {
        let broker = open(&directory, SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        Ok(Self {
            address: broker.address(),
            broker: Some(broker),
            directory,
        })
    }
}

async fn open(directory: &Path, listen: SocketAddr) -> Result<Broker> {
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
