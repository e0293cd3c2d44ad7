//! The registry and the domains of a platform, on its Kafka cluster.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_broker::{Cluster, Error};
use evenkeel_event::TopicName;
use evenkeel_event::clock::Clock;

use crate::domains::{self, Domains};
use crate::journal::{KafkaJournal, Topic};
use crate::registry::{self, Config, Registry};

/// How long one append is tried before its answer counts as lost.
const APPEND_PATIENCE: Duration = Duration::from_secs(15);
/// How long a record whose answer was lost is looked for in what is read.
const READ_BACK_PATIENCE: Duration = Duration::from_secs(2);

/// The topics that hold the platform's own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Schemas, in the format of Confluent's registry: `_schemas`.
    pub schemas: TopicName,
    /// Domains, token hashes, owners: `_evenkeel`.
    pub evenkeel: TopicName,
    /// Copies when they are created; -1 takes the broker's default.
    pub replication: i16,
}

/// How the name of the topic of domains and decisions ends; in front of it stands the platform's prefix.
pub const EVENKEEL: &str = "_evenkeel";

impl Topics {
    /// `_schemas` and `_evenkeel` behind a prefix, which may be empty.
    ///
    /// # Errors
    /// When the prefix makes no topic names.
    pub fn with_prefix(prefix: &str, replication: i16) -> Result<Self, evenkeel_event::topic::NameError> {
        let schemas = TopicName::new(&format!("{prefix}_schemas"))?;
        let evenkeel = TopicName::new(&format!("{prefix}{EVENKEEL}"))?;
        Ok(Self {
            schemas,
            evenkeel,
            replication,
        })
    }
}

/// Begins to follow the domains, and creates their topic if it is not there.
///
/// # Errors
/// When the cluster cannot be asked, or the topic is not fit for it.
pub async fn domains(
    cluster: &Cluster,
    topics: &Topics,
    clock: Arc<dyn Clock>,
) -> Result<Arc<Domains>, Error> {
    let topic = Topic {
        name: topics.evenkeel.clone(),
        replication: topics.replication,
        fence: domains::fence_key(),
        patience: APPEND_PATIENCE,
    };
    let journal = KafkaJournal::open(cluster.clone(), topic, Arc::clone(&clock)).await?;
    Ok(Arc::new(Domains::follow(
        Arc::new(journal),
        clock,
        READ_BACK_PATIENCE,
    )))
}

/// Starts a registry beside its domains, and creates its topic if it is not there.
///
/// # Errors
/// When the cluster cannot be asked, or the topic is not fit for it.
pub async fn registry(
    cluster: &Cluster,
    topics: &Topics,
    domains: Arc<Domains>,
    clock: Arc<dyn Clock>,
    config: Config,
) -> Result<Arc<Registry>, Error> {
    let topic = Topic {
        name: topics.schemas.clone(),
        replication: topics.replication,
        fence: registry::fence_key(),
        patience: APPEND_PATIENCE,
    };
    let journal = KafkaJournal::open(cluster.clone(), topic, clock).await?;
    Ok(Registry::start(Arc::new(journal), domains, config))
}
