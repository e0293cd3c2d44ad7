//! One fetch of some partitions from one leader (sessionless, long poll).

use std::time::Duration;

use evenkeel_event::{TopicId, TopicPartition};
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::response::{Fetched, read};
use crate::cluster::Cluster;
use crate::cluster::pool::Pool;
use crate::error::Error;
use crate::produce::throttle;

/// The last version of Fetch that names topics.
const NAMED_TOPICS_AT_MOST: i16 = 12;

/// How much one fetch brings and how long it waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait at the broker for `bytes_min`.
    pub wait: Duration,
    /// Bytes below which the broker waits; 1 answers with whatever is there.
    pub bytes_min: i32,
    /// Bytes of the whole answer; one batch comes even if it is larger (KIP-74).
    pub bytes_max: i32,
    /// Bytes per partition.
    pub partition_bytes_max: i32,
    /// Only what is committed: no record of an open or aborted transaction.
    pub committed: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(500),
            bytes_min: 1,
            bytes_max: 16 << 20,
            partition_bytes_max: 1 << 20,
            committed: true,
        }
    }
}

/// From where a partition is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: TopicPartition,
    /// The topic's identity; unknown fetches by name.
    pub topic_id: TopicId,
    /// The next offset wanted.
    pub offset: i64,
    /// The leader epoch as metadata tells it; -1 does not check.
    pub leader_epoch: i32,
    /// The leader epoch of the batch before `offset`; -1 when not known. With it, a log that was cut behind `offset`
    /// is noticed (KIP-320, KIP-595).
    pub last_epoch: i32,
}

/// Fetches over connections of its own, so that its long polls hold up nobody else. Cheap to make.
#[derive(Debug)]
pub struct Fetcher {
    cluster: Cluster,
    pool: Pool,
}

impl Fetcher {
    /// A fetcher on `cluster`.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            pool: Pool::default(),
        }
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Fetches from `leader`. Several fetches may be under way on one connection; the broker answers them in order.
    ///
    /// # Errors
    /// When no answer comes or it cannot be read. Errors of single partitions are in their [`Fetched::state`].
    pub async fn fetch(
        &self,
        leader: i32,
        positions: &[Position],
        limits: &Limits,
    ) -> Result<Vec<Fetched>, Error> {
        let outcome = self.exchange(leader, positions, limits).await;
        let suspicious = match &outcome {
            Ok(list) => list.iter().any(|fetched| fetched.state.is_suspicious()),
            Err(_) => true,
        };
        if suspicious {
            self.cluster.suspect();
        }
        outcome
    }

    async fn exchange(
        &self,
        leader: i32,
        positions: &[Position],
        limits: &Limits,
    ) -> Result<Vec<Fetched>, Error> {
        let connection = self.cluster.connection(&self.pool, leader).await?;
        let by_name = positions
            .iter()
            .any(|position| position.topic_id == TopicId::UNKNOWN);
        let at_most = if by_name { NAMED_TOPICS_AT_MOST } else { i16::MAX };
        let version = connection.version::<FetchRequest>(at_most)?;
        let request = request(positions, limits, version > NAMED_TOPICS_AT_MOST);
        let timeout = limits.wait + self.cluster.request_timeout();
        let frame = connection.exchange(&request, version, timeout).await?;
        let response = read(frame, version, positions)
            .ok_or_else(|| connection.protocol::<FetchRequest>("the answer is malformed".to_owned()))?;
        connection.throttle(throttle(response.throttle_ms));
        Error::check(response.code, "Fetch", connection.address(), None)?;
        Ok(response.partitions)
    }
}

fn request(positions: &[Position], limits: &Limits, by_id: bool) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for position in positions {
        let wanted = FetchPartition::default()
            .with_partition(position.partition.partition)
            .with_current_leader_epoch(position.leader_epoch)
            .with_fetch_offset(position.offset)
            .with_last_fetched_epoch(position.last_epoch)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(limits.partition_bytes_max);
        let same = topics.iter_mut().find(|topic| {
            if by_id {
                topic.topic_id.as_bytes() == &position.topic_id.0
            } else {
                topic.topic.0.as_str() == position.partition.topic.as_str()
            }
        });
        if let Some(topic) = same {
            topic.partitions.push(wanted);
            continue;
        }
        let topic = FetchTopic::default().with_partitions(vec![wanted]);
        topics.push(if by_id {
            topic.with_topic_id(Uuid::from_bytes(position.topic_id.0))
        } else {
            topic.with_topic(StrBytes::from_string(position.partition.topic.to_string()).into())
        });
    }
    FetchRequest::default()
        .with_max_wait_ms(i32::try_from(limits.wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(limits.bytes_min)
        .with_max_bytes(limits.bytes_max)
        .with_isolation_level(i8::from(limits.committed))
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics)
}
