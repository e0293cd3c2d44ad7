//! Breaks a running broker on order, from within: for tests, and for rehearsals of what a cluster may do to its clients.
//!
//! [`Broker::faults`](crate::Broker::faults) gives the handle. A fault meets the requests that it was injected for, so
//! many times or until it is lifted; the connections, the partitions and the disk have faults of their own.
//!
//! ```
//! use evenkeel_embedded::{Config, faults::{Fault, Requests}, proxy::Api};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! let mut config = Config::new(directory.path());
//! config.listen = "127.0.0.1:0".parse()?;
//! let broker = evenkeel_embedded::start(config).await?;
//! // The next produce request to the topic is appended, and its connection is closed without the answer.
//! let lost = broker.faults().inject(Requests::of(Api::PRODUCE).about("orders").times(1), Fault::LoseAnswer);
//! assert_eq!(lost.met(), 0);
//! lost.lift();
//! # broker.stop().await?;
//! # Ok(())
//! # })
//! # }
//! ```

mod board;
mod lines;

use std::{io, sync::Arc, time::Duration};

pub(crate) use board::{Board, Fate, Subject};
pub(crate) use lines::Line;

use crate::{node::Node, proxy::Api, storage::writer::Job};

/// The handle to a broker's faults. Copies break the same broker; faults stay when it is dropped.
#[derive(Debug, Clone)]
pub struct Faults {
    node: Arc<Node>,
}

/// Which requests a fault meets: all, until it is narrowed.
///
/// A topic is looked for in the requests that carry data or offsets of topics (Produce, Fetch, ListOffsets, Metadata,
/// OffsetCommit, OffsetFetch, DeleteRecords, OffsetForLeaderEpoch, CreateTopics, DeleteTopics, CreatePartitions); no other
/// request is about one. A request for all topics is about every topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    pub(crate) api: Option<Api>,
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<i32>,
    pub(crate) client: Option<String>,
    pub(crate) times: Option<u32>,
}

impl Requests {
    /// Every request.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The requests of one API.
    #[must_use]
    pub fn of(api: Api) -> Self {
        Self {
            api: Some(api),
            ..Self::default()
        }
    }

    /// Only what is about this topic.
    #[must_use]
    pub fn about(self, topic: impl Into<String>) -> Self {
        Self {
            topic: Some(topic.into()),
            ..self
        }
    }

    /// Only what is about partitions of this number, of the topic or of any.
    #[must_use]
    pub fn partition(self, number: i32) -> Self {
        Self {
            partition: Some(number),
            ..self
        }
    }

    /// Only those of the client with this client id.
    #[must_use]
    pub fn from_client(self, id: impl Into<String>) -> Self {
        Self {
            client: Some(id.into()),
            ..self
        }
    }

    /// Only the next `count` requests; then the fault lifts itself.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self {
            times: Some(count),
            ..self
        }
    }
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is not done, and answered with this error code of Kafka's protocol: where it names topics or partitions, only
    /// those that the fault is about are refused, and the others are done.
    Error(i16),
    /// It is done (what it appends is durable), and its connection is closed without the answer.
    LoseAnswer,
    /// It is done, and answered no sooner than so long after it was read.
    Delay(Duration),
    /// It is read and waits, and everything behind it on its connection. When the fault is lifted it is done, also when
    /// its client has closed the connection meanwhile, as a broker does that was paused.
    Hang,
    /// It is not done, and its connection is closed.
    Close,
    /// It is done and answered at once. The answer to a Produce or a Fetch asks its client to write nothing for so long, and
    /// nothing is read from its connection meanwhile, as by a broker whose quota was used up (KIP-219).
    Throttle(Duration),
}

/// A fault that was injected.
#[derive(Debug, Clone)]
pub struct Injected {
    node: Arc<Node>,
    id: u64,
}

impl Injected {
    /// Ends the fault. What it held goes on.
    pub fn lift(&self) {
        self.node.faults.lift(self.id);
    }

    /// How many requests it has met so far.
    #[must_use]
    pub fn met(&self) -> u32 {
        self.node.faults.met(self.id)
    }
}

impl Faults {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Lets a fault meet requests from now on. Of several that meet a request, the first injected decides on errors, and
    /// all others apply together.
    pub fn inject(&self, requests: Requests, fault: Fault) -> Injected {
        Injected {
            node: Arc::clone(&self.node),
            id: self.node.faults.inject(requests, fault),
        }
    }

    /// Ends every fault: connections that had gone silent are closed, requests that hang are done, partitions are led
    /// again, the disk has space and is quick.
    pub fn clear(&self) {
        self.node.faults.clear();
        self.node.disk.clear();
    }

    /// Closes every connection. New ones are taken.
    pub fn close_connections(&self) {
        self.node.faults.lines.close_all();
    }

    /// Closes new connections as soon as they come, or takes them again.
    pub fn refuse_connections(&self, refuse: bool) {
        self.node.faults.lines.refuse(refuse);
    }

    /// Makes every present connection half-open: what comes in on it is neither read nor done nor answered, and nothing
    /// closes it. New connections are served.
    pub fn silence_connections(&self) {
        self.node.faults.lines.silence_all();
    }

    /// Takes the leader from a partition, or gives it back: metadata says so (`LEADER_NOT_AVAILABLE`), and requests for the
    /// partition are answered with `NOT_LEADER_OR_FOLLOWER`.
    pub fn take_leader(&self, topic: &str, partition: i32, take: bool) {
        self.node.faults.take_leader(topic, partition, take);
    }

    /// Lets a partition have too few replicas in sync, or enough: what is produced with `acks=all` is answered with
    /// `NOT_ENOUGH_REPLICAS` and not appended.
    pub fn take_replicas(&self, topic: &str, partition: i32, take: bool) {
        self.node.faults.take_replicas(topic, partition, take);
    }

    /// Lets a partition forget every producer, as Kafka does when its snapshot is lost or the time is up. Answers
    /// `false` when there is no such partition or the broker is stopping. A restart may remember from the log.
    pub async fn forget_producers(&self, topic: &str, partition: i32) -> bool {
        let found = self.node.topics.named(topic);
        let Some(partition) = found.and_then(|topic| topic.partition(partition).cloned()) else {
            return false;
        };
        let forget = |answer| Job::ForgetProducers { partition, answer };
        self.node.ask(forget).await.is_some()
    }

    /// Fills the disk, or makes space on it: every write fails with ENOSPC, in the middle of its bytes.
    pub fn fill_disk(&self, full: bool) {
        self.node.disk.fill(full);
    }

    /// Makes every sync take so much longer; zero ends it.
    pub fn slow_disk(&self, delay: Duration) {
        self.node.disk.slow(delay);
    }
}

/// What a write to a full disk fails with.
pub(crate) fn no_space() -> io::Error {
    io::Error::new(
        io::ErrorKind::StorageFull,
        "no space left on device (a fault was injected)",
    )
}
