//! From settings to a publisher.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel::schema_cache::Auth;
use evenkeel::{Config, EventType, Fleet, Mode, NewTopics, Publisher, Registry};

use crate::config::{Settings, WithoutStore};
use crate::{connect, shared_standby};

/// Where an application keeps what it has on this machine.
pub(crate) fn directory(settings: &Settings, application: &str) -> PathBuf {
    settings.data.directory.join("applications").join(application)
}

/// Settings of a publisher as the commands use it; the caller adds the events.
pub(crate) fn config(settings: &Settings, event_types: Vec<EventType>) -> Config {
    let publish = &settings.publish;
    let directory = directory(settings, &publish.application);
    let mut config = Config::new(&publish.application, connect::kafka(&settings.kafka), directory);
    config.registry = Some(registry(settings));
    config.event_types = event_types;
    config.new_topics = settings.topics.create_missing.then_some(NewTopics {
        partitions: settings.topics.partitions,
        replication: settings.topics.replication,
    });
    config.standby_bytes_max = settings.standby.bytes_max;
    config.buffer_bytes_max = publish.buffer_bytes_max;
    config.out_after = Duration::from_millis(publish.park_after_ms);
    config
}

/// Starts a publisher that parks where the settings say; Kafka need not be there.
pub(crate) async fn publisher(settings: &Settings, event_types: Vec<EventType>) -> Result<Publisher> {
    let mut config = config(settings, event_types);
    config.fleet = fleet(settings).await?;
    start(config).await
}

/// Starts a publisher that parks on this machine's disk, and shares nothing.
pub(crate) async fn publisher_alone(settings: &Settings) -> Result<Publisher> {
    start(config(settings, Vec::new())).await
}

async fn start(config: Config) -> Result<Publisher> {
    Publisher::start(config)
        .await
        .context("the publisher did not start")
}

/// The standby store that the application's processes share; `None` where each has its own.
pub(crate) async fn fleet(settings: &Settings) -> Result<Option<Fleet>> {
    let store = shared_standby::of(settings).await?;
    Ok(store.map(|store| Fleet {
        mode: match settings.standby.without_store {
            WithoutStore::Publish => Mode::Available,
            WithoutStore::Refuse => Mode::Strict,
        },
        ..Fleet::new(store)
    }))
}

fn registry(settings: &Settings) -> Registry {
    let registry = Registry::new(&settings.registry.url);
    if settings.registry.domain.is_empty() {
        return registry;
    }
    registry.with_auth(Auth::Basic {
        username: settings.registry.domain.clone(),
        password: evenkeel_broker::Secret::new(settings.registry.token.reveal()),
    })
}
