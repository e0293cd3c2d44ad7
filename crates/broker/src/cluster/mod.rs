//! One Kafka cluster: connections, metadata, and whom to ask.

mod metadata;
pub(crate) mod pool;
mod refresh;
mod settle;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_event::{TopicName, TopicPartition};
use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::sync::{Notify, watch};

use crate::config::Kafka;
use crate::connection::task::End;
use crate::connection::{Connection, dial, tls};
use crate::error::Error;
pub use metadata::{Leader, Metadata, Node, Partition, Topic};
pub(crate) use metadata::{address, read_topic};
use pool::Pool;
use refresh::SILENCE_MAX;

/// A Kafka cluster. Cheap to clone; connections close when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    kafka: Kafka,
    tls: Option<Arc<rustls::ClientConfig>>,
    metadata: watch::Sender<Arc<Metadata>>,
    /// Topics that were asked for and exist; bounded by the topics of the cluster.
    topics: Mutex<BTreeSet<TopicName>>,
    refresh: Notify,
    /// Nodes that a connection broke with and that have not been tried since.
    suspects: Mutex<BTreeSet<i32>>,
    /// Nodes that are being tried.
    tried: Mutex<BTreeSet<i32>>,
    /// Counts answers, so that several who want a refresh at once share one.
    refreshed: AtomicU64,
    refreshing: tokio::sync::Mutex<()>,
    /// For short requests.
    shared: Pool,
    /// For produce requests.
    produce: Pool,
    appender: crate::append::Appender,
}

impl Cluster {
    /// Prepares access to the cluster without reaching for it: what needs an answer connects by itself.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the settings cannot be used: no address, a certificate file that cannot be read.
    pub fn new(kafka: Kafka) -> Result<Self, Error> {
        if kafka.brokers.is_empty() {
            return Err(Error::Config(
                "kafka.brokers is empty: give at least one host:port".to_owned(),
            ));
        }
        if let Some(wrong) = kafka.brokers.iter().find(|broker| !broker.contains(':')) {
            return Err(Error::Config(format!(
                "kafka.brokers holds \"{wrong}\", expected host:port"
            )));
        }
        let tls = kafka.tls.as_ref().map(tls::client).transpose()?;
        let inner = Arc::new(Inner {
            kafka,
            tls,
            metadata: watch::Sender::new(Arc::new(Metadata::default())),
            topics: Mutex::default(),
            refresh: Notify::new(),
            suspects: Mutex::default(),
            tried: Mutex::default(),
            refreshed: AtomicU64::new(0),
            refreshing: tokio::sync::Mutex::default(),
            shared: Pool::default(),
            produce: Pool::default(),
            appender: crate::append::Appender::default(),
        });
        tokio::spawn(refresh::run(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// As [`new`](Self::new), and waits for a first answer of the cluster.
    ///
    /// # Errors
    /// When no broker can be reached, or one refuses us.
    pub async fn connect(kafka: Kafka) -> Result<Self, Error> {
        let cluster = Self::new(kafka)?;
        cluster.refresh().await?;
        Ok(cluster)
    }

    /// What is known now, without asking.
    #[must_use]
    pub fn metadata(&self) -> Arc<Metadata> {
        self.inner.metadata.borrow().clone()
    }

    /// Tells of every change to what is known: leaders that are gone or known again among it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Metadata>> {
        self.inner.metadata.subscribe()
    }

    /// The topic `name`, asked for when it is not known yet; from then on it is kept up to date.
    ///
    /// # Errors
    /// [`Error::TopicMissing`] when it does not exist, else why no answer could be had.
    pub async fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, Error> {
        if let Some(topic) = self.metadata().topic(name) {
            return Ok(topic.clone());
        }
        self.topic_anew(name).await
    }

    /// The topic `name` as the cluster knows it now.
    ///
    /// # Errors
    /// [`Error::TopicMissing`] when it does not exist, else why no answer could be had.
    pub async fn topic_anew(&self, name: &TopicName) -> Result<Arc<Topic>, Error> {
        self.inner.ask_metadata(&BTreeSet::from([name.clone()])).await?;
        let topic = self.metadata().topic(name).cloned();
        let topic = topic.ok_or_else(|| Error::TopicMissing {
            topic: name.to_string(),
        })?;
        self.inner.lock_topics().insert(name.clone());
        Ok(topic)
    }

    /// Asks the cluster for all topics that were asked for before.
    ///
    /// # Errors
    /// Why no broker gave an answer.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.inner.refresh().await
    }

    /// Why the cluster gives no answer when it is asked now, for people; `None`: it answers. Waits for at most `within`.
    pub async fn complaint(&self, within: Duration) -> Option<String> {
        match tokio::time::timeout(within, self.refresh()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("Kafka does not answer".to_owned()),
        }
    }

    /// Wants what is known of leaders to be asked for soon: something failed.
    pub fn suspect(&self) {
        self.inner.refresh.notify_one();
    }

    /// The leader of `partition`, asked for when it is not known.
    ///
    /// # Errors
    /// [`Error::Leaderless`] when it has none at present, [`Error::TopicMissing`], or why no answer could be had.
    pub async fn leader(&self, partition: &TopicPartition) -> Result<i32, Error> {
        if let Leader::At { node, .. } = self.metadata().leader(partition) {
            return Ok(node);
        }
        self.topic_anew(&partition.topic).await?;
        match self.metadata().leader(partition) {
            Leader::At { node, .. } => Ok(node),
            Leader::Gone => Err(Error::Leaderless {
                partition: partition.clone(),
            }),
            Leader::Unknown => Err(Error::TopicMissing {
                topic: partition.to_string(),
            }),
        }
    }

    /// Asks any broker.
    pub(crate) async fn ask<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        self.inner.ask(request).await
    }

    /// Asks `node`, over the connection for short requests.
    pub(crate) async fn ask_node<R: Request>(&self, node: i32, request: &R) -> Result<R::Response, Error> {
        let connection = self.connection(&self.inner.shared, node).await?;
        connection.call(request, self.inner.kafka.request_timeout()).await
    }

    /// Asks all nodes at once, and returns what those say that are not silent for [`SILENCE_MAX`].
    pub(crate) async fn of_each_node<T, Answer>(&self, ask: impl Fn(i32) -> Answer) -> Vec<T>
    where
        Answer: Future<Output = T>,
    {
        let metadata = self.metadata();
        let asked = metadata
            .nodes
            .keys()
            .map(|node| tokio::time::timeout(SILENCE_MAX, ask(*node)));
        let answered = futures_util::future::join_all(asked).await;
        answered.into_iter().flatten().collect()
    }

    /// The node that keeps the state of the group `group`.
    ///
    /// # Errors
    /// When no coordinator is there (yet), or no answer could be had.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<i32, Error> {
        self.settled(|| self.find_coordinator(group)).await
    }

    async fn find_coordinator(&self, group: &str) -> Result<i32, Error> {
        let request = FindCoordinatorRequest::default()
            .with_key_type(0)
            .with_coordinator_keys(vec![StrBytes::from_string(group.to_owned())]);
        let response = self.ask(&request).await?;
        let subject = format!("group {group}");
        Error::check(response.error_code, "FindCoordinator", &subject, None)?;
        let Some(found) = response.coordinators.first() else {
            return Err(Error::Refused {
                request: "FindCoordinator",
                subject,
                code: 15,
                message: "an empty answer".to_owned(),
            });
        };
        Error::check(
            found.error_code,
            "FindCoordinator",
            &subject,
            found.error_message.as_deref(),
        )?;
        if !self.metadata().nodes.contains_key(&found.node_id.0) {
            self.refresh().await?;
        }
        Ok(found.node_id.0)
    }

    /// The connection to `node` in `pool`, made when there is none.
    pub(crate) async fn connection(&self, pool: &Pool, node: i32) -> Result<Connection, Error> {
        self.inner.connection(pool, node).await
    }

    /// The pool for produce requests.
    pub(crate) fn produce_pool(&self) -> &Pool {
        &self.inner.produce
    }

    pub(crate) fn appender(&self) -> &crate::append::Appender {
        &self.inner.appender
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.inner.kafka.request_timeout()
    }
}

impl Inner {
    async fn connection(self: &Arc<Self>, pool: &Pool, node: i32) -> Result<Connection, Error> {
        if let Some(connection) = pool.ready(node) {
            return Ok(connection);
        }
        let address = self.address(node).ok_or_else(|| Error::Unreachable {
            address: format!("node {node}"),
            reason: "the cluster does not list it at present".to_owned(),
        })?;
        let cluster = Arc::downgrade(self);
        let on_close = move |end: End| {
            // A broken connection may mean that the node is gone: try, so that its partitions are told of it.
            if let (End::Broken, Some(cluster)) = (end, cluster.upgrade()) {
                cluster.lock_suspects().insert(node);
                cluster.refresh.notify_one();
            }
        };
        let outcome = pool
            .connection(node, || {
                dial::dial(&self.kafka, self.tls.as_ref(), &address, on_close)
            })
            .await;
        // A node that refuses our credentials is there: its partitions are not out, somebody must mend the access.
        self.mark(node, outcome.as_ref().is_err_and(Error::is_outage));
        outcome
    }

    /// Notes whether `node` can be reached.
    fn mark(&self, node: i32, down: bool) {
        self.metadata.send_if_modified(|known| {
            if known.down.contains(&node) == down || !known.nodes.contains_key(&node) {
                return false;
            }
            let known = Arc::make_mut(known);
            if down {
                known.down.insert(node);
            } else {
                known.down.remove(&node);
            }
            true
        });
        if down {
            self.refresh.notify_one();
        }
    }

    /// Where `node` is. Below 0 stand the addresses from the settings.
    fn address(&self, node: i32) -> Option<String> {
        if node < 0 {
            let index = usize::try_from(-1 - node).ok()?;
            return self.kafka.brokers.get(index).cloned();
        }
        self.metadata
            .borrow()
            .nodes
            .get(&node)
            .map(|node| node.address.clone())
    }

    fn lock_topics(&self) -> std::sync::MutexGuard<'_, BTreeSet<TopicName>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_suspects(&self) -> std::sync::MutexGuard<'_, BTreeSet<i32>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_tried(&self) -> std::sync::MutexGuard<'_, BTreeSet<i32>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn refresh(self: &Arc<Self>) -> Result<(), Error> {
        let before = self.refreshed.load(Ordering::Acquire);
        let _one = self.refreshing.lock().await;
        if self.refreshed.load(Ordering::Acquire) > before {
            return Ok(());
        }
        let topics = self.lock_topics().clone();
        self.ask_metadata(&topics).await
    }
}
