//! Which letters were redriven, by what every platform on the cluster wrote down.

use anyhow::{Context as _, Result};
use evenkeel_broker::Cluster;
use evenkeel_event::TopicName;
use evenkeel_server::platform::EVENKEEL;
use evenkeel_worker::redrive::Ledger;

use crate::commands::domain;
use crate::config::Settings;

/// The ledgers that tell of some dead-letter topics.
pub(crate) struct Ledgers {
    own: Ledger,
    /// Of platforms on the same cluster whose names bear a prefix (`kafka.internal_topic_prefix`), by that.
    others: Vec<(String, Ledger)>,
}

impl Ledgers {
    /// Reads the ledgers of the dead-letter topics `letters`.
    pub(crate) async fn read(cluster: &Cluster, letters: &[TopicName], settings: &Settings) -> Result<Self> {
        let own = domain::internal_topics(settings)?.evenkeel;
        let topics = cluster.topics().await.context("the topics cannot be listed")?;
        let mut others = Vec::new();
        for topic in topics.into_iter().map(|topic| topic.name) {
            let prefix = topic.as_str().strip_suffix(EVENKEEL).filter(|_| topic != own);
            let prefix = prefix.filter(|prefix| letters.iter().any(|letters| is_under(letters, prefix)));
            if let Some(prefix) = prefix.map(str::to_owned) {
                others.push((prefix, Ledger::read(cluster, topic).await?));
            }
        }
        let own = Ledger::read(cluster, own).await?;
        Ok(Self { own, others })
    }

    /// True when a letter on `topic` was sent on.
    pub(crate) fn is_done(&self, topic: &TopicName, identity: &str) -> bool {
        let mut others = self.others.iter().filter(|(prefix, _)| is_under(topic, prefix));
        self.own.is_done(identity) || others.any(|(_, ledger)| ledger.is_done(identity))
    }
}

fn is_under(topic: &TopicName, prefix: &str) -> bool {
    topic.as_str().starts_with(prefix)
}
