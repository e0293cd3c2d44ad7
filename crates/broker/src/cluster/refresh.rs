//! Keeps what is known of the cluster up to date, and asks whoever can answer.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use evenkeel_event::TopicName;
use evenkeel_event::backoff::Backoff;
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::protocol::{Request, StrBytes};

use super::{Inner, Leader};
use crate::connection::Known;
use crate::error::Error;
use evenkeel_event::TopicPartition;

/// How long one silent broker may hold up a question that another can answer.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(2);
/// How long the cluster is held at a time while nothing happens; a dropped cluster ends this task within it.
const HOLD_MAX: Duration = Duration::from_millis(200);

/// Asks for metadata when something is suspect, while a leader is missing, and when what is known is old.
pub(super) async fn run(cluster: Weak<Inner>) {
    let mut rounds = 0_u32;
    let mut waited = Duration::ZERO;
    while let Some(inner) = cluster.upgrade() {
        let idle = Duration::from_millis(inner.kafka.metadata_max_age_ms);
        let missing = rounds > 0 || something_missing(&inner);
        let wait = if missing {
            Backoff::RECONNECT.wait(rounds.max(1), rand::random())
        } else {
            idle.saturating_sub(waited).min(HOLD_MAX)
        };
        let told = tokio::time::timeout(wait, inner.refresh.notified()).await.is_ok();
        waited += wait;
        if !told && !missing && waited < idle {
            continue;
        }
        waited = Duration::ZERO;
        try_suspects(&inner);
        let refreshed = inner.refresh().await.is_ok();
        rounds = if refreshed && !something_missing(&inner) {
            0
        } else {
            rounds.saturating_add(1)
        };
    }
}

/// Reaches for nodes whose connections broke or that are down, so that those who wait for their partitions learn whether
/// they are gone or back. One attempt per node is under way at a time.
fn try_suspects(inner: &Arc<Inner>) {
    let mut nodes = std::mem::take(&mut *inner.lock_suspects());
    nodes.extend(inner.metadata.borrow().down.iter().copied());
    for node in nodes {
        if !inner.lock_tried().insert(node) {
            continue;
        }
        let inner = inner.clone();
        tokio::spawn(async move {
            inner.reach(node).await;
            inner.lock_tried().remove(&node);
        });
    }
}

fn something_missing(inner: &Inner) -> bool {
    !inner.metadata.borrow().down.is_empty() || leader_missing(inner)
}

fn leader_missing(inner: &Inner) -> bool {
    let metadata = inner.metadata.borrow();
    metadata.topics.values().any(|topic| {
        topic.partitions.iter().any(|partition| {
            let partition = TopicPartition::new(topic.name.clone(), partition.index);
            metadata.leader(&partition) == Leader::Gone
        })
    })
}

impl Inner {
    /// Notes whether `node` answers now. A connection that was made before says nothing of that: it may stand open to a
    /// broker that stands still, and it outlives the attempts at a second one that failed meanwhile.
    async fn reach(self: &Arc<Self>, node: i32) {
        let Some(connection) = self.shared.ready(node) else {
            // What comes of it is noted by the attempt itself.
            return drop(self.connection(&self.shared, node).await);
        };
        let nothing = MetadataRequest::default()
            .with_topics(Some(Vec::new()))
            .with_allow_auto_topic_creation(false);
        let timeout = self.kafka.request_timeout().min(SILENCE_MAX);
        let answered = connection.call(&nothing, timeout).await;
        self.mark(node, answered.is_err_and(|error| error.is_outage()));
    }

    /// Asks for `topics` and takes the answer in.
    pub(super) async fn ask_metadata(self: &Arc<Self>, topics: &BTreeSet<TopicName>) -> Result<(), Error> {
        let named = |name: &TopicName| {
            MetadataRequestTopic::default().with_name(Some(StrBytes::from_string(name.to_string()).into()))
        };
        let request = MetadataRequest::default()
            .with_topics(Some(topics.iter().map(named).collect()))
            .with_allow_auto_topic_creation(false);
        let response = self.ask(&request).await?;
        let refused = response
            .topics
            .iter()
            .find(|topic| !matches!(topic.error_code, 0 | 3 | 5 | 100));
        let refused = refused.map(|topic| {
            let name = topic
                .name
                .as_ref()
                .map_or_else(String::new, |name| name.to_string());
            Error::check(topic.error_code, "Metadata", name, None)
        });
        self.metadata.send_if_modified(|known| {
            let mut changed = (**known).clone();
            changed.merge(response);
            if changed == **known {
                return false;
            }
            *known = Arc::new(changed);
            true
        });
        self.forget_what_is_gone();
        self.refreshed.fetch_add(1, Ordering::AcqRel);
        refused.unwrap_or(Ok(()))
    }

    /// Topics that were deleted are asked for no more; connections to nodes that left are closed.
    fn forget_what_is_gone(&self) {
        let known = self.metadata.borrow().clone();
        self.lock_topics().retain(|topic| known.topic(topic).is_some());
        let keep = |node: i32| node < 0 || known.nodes.contains_key(&node);
        self.shared.retain(keep);
        self.produce.retain(keep);
    }

    /// Asks the first broker that answers: those with a connection, then those that are up, then all. One that is
    /// silent holds the others up for a moment only; when all are, each is given the whole time.
    pub(super) async fn ask<R: Request>(self: &Arc<Self>, request: &R) -> Result<R::Response, Error> {
        let whole = self.kafka.request_timeout();
        match self.ask_each(request, whole.min(SILENCE_MAX)).await {
            Err(Error::TimedOut { .. }) => self.ask_each(request, whole).await,
            outcome => outcome,
        }
    }

    /// [`Error::TimedOut`] when one of them was silent and none answered.
    async fn ask_each<R: Request>(
        self: &Arc<Self>,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, Error> {
        let mut failures: Vec<Error> = Vec::new();
        for node in self.candidates() {
            let connected = tokio::time::timeout(timeout, self.connection(&self.shared, node)).await;
            let answered = match connected {
                Ok(Ok(connection)) => connection.call(request, timeout).await,
                Ok(Err(error)) => Err(error),
                Err(_) => Err(Error::TimedOut {
                    address: self.address(node).unwrap_or_default(),
                    request: Known::of(R::KEY).name,
                    after: timeout,
                    written: false,
                }),
            };
            match answered {
                Ok(response) => return Ok(response),
                // Another broker of the cluster would say the same.
                Err(error @ (Error::Unsupported { .. } | Error::Config(_))) => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(telling(failures))
    }

    fn candidates(&self) -> Vec<i32> {
        let known = self.metadata.borrow().clone();
        let mut nodes: Vec<i32> = known.nodes.keys().copied().collect();
        nodes.sort_by_key(|node| (self.shared.ready(*node).is_none(), known.down.contains(node)));
        let settings = i32::try_from(self.kafka.brokers.len()).unwrap_or(i32::MAX);
        nodes.extend((1..=settings).map(|position| -position));
        nodes
    }
}

/// The most telling of several failures: a refusal says more than silence, which names all who were silent.
fn telling(mut failures: Vec<Error>) -> Error {
    let refused = failures.iter().position(|error| !error.is_outage());
    let silent = || {
        failures
            .iter()
            .position(|error| matches!(error, Error::TimedOut { .. }))
    };
    if let Some(position) = refused.or_else(silent) {
        return failures.swap_remove(position);
    }
    if failures.len() == 1
        && let Some(only) = failures.pop()
    {
        return only;
    }
    let mut addresses: Vec<String> = Vec::new();
    let mut reason = "no address is known".to_owned();
    for error in failures {
        if let Error::Unreachable { address, .. }
        | Error::Disconnected { address, .. }
        | Error::TimedOut { address, .. } = &error
            && !addresses.contains(address)
        {
            addresses.push(address.clone());
        }
        reason = match error {
            Error::Unreachable { reason, .. } | Error::Disconnected { reason, .. } => reason,
            other => other.to_string(),
        };
    }
    Error::Unreachable {
        address: addresses.join(", "),
        reason,
    }
}
