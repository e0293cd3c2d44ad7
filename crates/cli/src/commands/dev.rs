//! `evenkeel dev`: the whole platform in one process on one data directory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use evenkeel_broker::Cluster;
use evenkeel_embedded::Broker;
use evenkeel_event::clock::SystemClock;
use evenkeel_server::admin;
use evenkeel_server::platform::Topics;
use evenkeel_server::registry::{self, Registry};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{broker, worker};
use crate::config::{Mechanism, Settings};
use crate::connect;
use crate::exit::Outcome;
use crate::output::{Format, print_line, say};

/// Longest wait for the registry to read its topics.
const LOAD_WITHIN: Duration = Duration::from_secs(60);
/// Longest wait at the end for requests that have begun.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Where the platform listens.
#[derive(Debug, Serialize)]
struct Addresses {
    broker: SocketAddr,
    registry: String,
    admin: String,
}

/// A part that serves until it is stopped.
pub(super) struct Part {
    name: &'static str,
    task: JoinHandle<std::io::Result<()>>,
}

pub(crate) async fn run(format: Format, settings: &Settings) -> Result<Outcome> {
    let registry_listener = listen(
        "registry",
        "server.registry_listen",
        settings.server.registry_listen,
    )
    .await?;
    let admin_listener = listen(
        "admin listener",
        "server.admin_listen",
        settings.server.admin_listen,
    )
    .await?;
    let broker = broker::start(&settings.data.directory.join("broker"), settings.broker.listen)
        .await
        .context("the platform did not start (broker.listen and data.directory say where it is to run)")?;
    let addresses = Addresses {
        broker: broker.address(),
        registry: url(&registry_listener)?,
        admin: url(&admin_listener)?,
    };
    let own = at_home(settings, &broker);
    let registry = registry(&own).await?;
    let stop = CancellationToken::new();
    let (reports, watched) = watch::channel(worker::NOTHING_PARKED);
    let clock = Arc::new(SystemClock::default());
    let mut parts = [
        Part::spawn(
            "registry",
            registry::serve(registry_listener, registry, stop.clone().cancelled_owned()),
        ),
        Part::spawn(
            "admin listener",
            admin::serve(admin_listener, watched, clock, stop.clone().cancelled_owned()),
        ),
    ];
    let drain = tokio::spawn(worker::drain(own, reports, stop.clone()));
    tell(format, &addresses, settings)?;
    let [registry, admin] = &mut parts;
    let ended = tokio::select! {
        interrupted = broker::interrupted() => interrupted,
        ended = registry.ended() => ended,
        ended = admin.ended() => ended,
    };
    say!("stopping");
    stop.cancel();
    drain.await.context("the drain stopped early")?;
    if ended.is_ok() {
        for part in &mut parts {
            part.close().await?;
        }
    }
    broker
        .stop()
        .await
        .context("the embedded broker did not stop cleanly")?;
    ended.map(|()| Outcome::Fine)
}

/// Nameless callers may write to the registry of `dev`, so nothing of it is shown to the network.
async fn listen(name: &str, setting: &str, address: SocketAddr) -> Result<TcpListener> {
    if !address.ip().is_loopback() {
        bail!("{setting} is {address}; evenkeel dev listens on loopback only: use 127.0.0.1 or ::1");
    }
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "the {name} cannot listen on {address}; set {setting} to another port, or to 0 for any free one"
        )
    })
}

fn url(listener: &TcpListener) -> Result<String> {
    let address = listener.local_addr().context("a listener has no address")?;
    Ok(format!("http://{address}"))
}

/// The settings as they are for what runs beside this broker.
fn at_home(settings: &Settings, broker: &Broker) -> Settings {
    let mut own = settings.clone();
    own.kafka.brokers = vec![broker.address().to_string()];
    own.kafka.tls.enabled = false;
    own.kafka.sasl.mechanism = Mechanism::None;
    own
}

async fn registry(own: &Settings) -> Result<Arc<Registry>> {
    let cluster = Cluster::connect(connect::kafka(&own.kafka))
        .await
        .context("the embedded broker does not answer")?;
    let topics = Topics::with_prefix(&own.kafka.internal_topic_prefix, -1)
        .context("kafka.internal_topic_prefix makes no topic names")?;
    let clock = Arc::new(SystemClock::default());
    let domains = evenkeel_server::platform::domains(&cluster, &topics, clock.clone())
        .await
        .with_context(|| format!("the topic {} cannot be used", topics.evenkeel))?;
    let config = registry::Config {
        dev: true,
        ..registry::Config::default()
    };
    let registry = evenkeel_server::platform::registry(&cluster, &topics, domains, clock, config)
        .await
        .with_context(|| format!("the topic {} cannot be used", topics.schemas))?;
    tokio::time::timeout(LOAD_WITHIN, registry.loaded())
        .await
        .map_err(|_| {
            anyhow!(
                "the registry did not read its topics within {} s",
                LOAD_WITHIN.as_secs()
            )
        })?;
    Ok(registry)
}

impl Part {
    pub(super) fn spawn(
        name: &'static str,
        serve: impl Future<Output = std::io::Result<()>> + Send + 'static,
    ) -> Self {
        Self {
            name,
            task: tokio::spawn(serve),
        }
    }

    /// Waits until it ends although nobody stopped it.
    pub(super) async fn ended(&mut self) -> Result<()> {
        let outcome = (&mut self.task).await;
        let name = self.name;
        outcome
            .with_context(|| format!("the {name} ended early"))?
            .with_context(|| format!("the {name} ended"))?;
        bail!("the {name} ended")
    }

    pub(super) async fn close(&mut self) -> Result<()> {
        match tokio::time::timeout(CLOSE_WITHIN, &mut self.task).await {
            // A client that keeps its connection busy does not keep the platform from stopping.
            Err(_) => self.task.abort(),
            Ok(outcome) => outcome
                .with_context(|| format!("the {} ended early", self.name))?
                .with_context(|| format!("the {} did not stop cleanly", self.name))?,
        }
        Ok(())
    }
}

fn tell(format: Format, addresses: &Addresses, settings: &Settings) -> Result<()> {
    if format != Format::Table {
        print_line(addresses)?;
    }
    let Addresses {
        broker,
        registry,
        admin,
    } = addresses;
    say!("Kafka     {broker}   (embedded broker, not for production: one node, no replication)");
    say!("registry  {registry}   (nameless writes belong to the domain \"anonymous\")");
    say!("admin     {admin}/health/ready, {admin}/metrics");
    say!("data      {}", settings.data.directory.display());
    say!("next, in another terminal:");
    let broker = broker.to_string();
    if !settings.kafka.brokers.contains(&broker) {
        say!("  export EVENKEEL_KAFKA__BROKERS={broker}");
    }
    if settings.registry.url.trim_end_matches('/') != registry {
        say!("  export EVENKEEL_REGISTRY__URL={registry}");
    }
    say!("  evenkeel schema register orders-value --file order.avsc");
    say!("  echo '{{\"key\": \"1\", \"value\": {{...}}}}' | evenkeel publish orders");
    say!("  evenkeel tail orders --from beginning");
    say!("  evenkeel status");
    say!("Ctrl-C stops it; started again, it finds everything.");
    Ok(())
}
