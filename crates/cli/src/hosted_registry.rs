//! A registry in this process, on the Kafka that a demo or a check runs on, for as long as that lasts.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use evenkeel_broker::Cluster;
use evenkeel_event::clock::SystemClock;
use evenkeel_server::domains::Domains;
use evenkeel_server::platform::Topics;
use evenkeel_server::registry::{self, Config, Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// See the module. It stops when it is dropped.
pub(crate) struct HostedRegistry {
    registry: Arc<Registry>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl HostedRegistry {
    /// Serves it on a free loopback port, when it has read its topics.
    pub(crate) async fn serve(
        cluster: &Cluster,
        topics: &Topics,
        domains: Arc<Domains>,
        config: Config,
    ) -> Result<Self> {
        let clock = Arc::new(SystemClock::default());
        let registry = evenkeel_server::platform::registry(cluster, topics, domains, clock, config).await?;
        registry.loaded().await;
        let mut hosted = Self {
            registry,
            address: ([127, 0, 0, 1], 0).into(),
            stop: CancellationToken::new(),
        };
        hosted.start().await?;
        Ok(hosted)
    }

    /// Where it listens, the same after a stop.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no more requests.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Takes requests again.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address)
            .await
            .context("no port for the registry")?;
        self.address = listener.local_addr().context("no port for the registry")?;
        self.stop = CancellationToken::new();
        let (registry, stopped) = (Arc::clone(&self.registry), self.stop.clone().cancelled_owned());
        tokio::spawn(async move {
            if let Err(error) = registry::serve(listener, registry, stopped).await {
                tracing::error!(%error, "the registry ended");
            }
        });
        Ok(())
    }
}

impl Drop for HostedRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}
