//! What every connection shares.

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
};

use kafka_protocol::{ResponseError, messages::BrokerId, protocol::StrBytes};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Config,
    api::Call,
    faults::Board,
    groups::coordinator::Coordinator,
    storage::{
        batch::Refusal,
        disk::Disk,
        offsets::Offsets,
        partition::Partition,
        topic_change::Change,
        topic_config::Given,
        topics::{Topic, Topics},
        writer::Job,
    },
};

/// The one node's number.
pub(crate) const NODE: BrokerId = BrokerId(1);

/// One running broker.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    /// Where clients are told to connect.
    pub(crate) address: SocketAddr,
    pub(crate) cluster: String,
    pub(crate) topics: Arc<Topics>,
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) groups: Coordinator,
    /// What is broken on order.
    pub(crate) faults: Board,
    pub(crate) disk: Arc<Disk>,
    /// Bytes of requests that may still be read.
    pub(crate) request_bytes: Arc<Semaphore>,
    /// Bytes of records that may still be put into answers.
    pub(crate) fetch_bytes: Arc<Semaphore>,
    pub(crate) stopping: CancellationToken,
    pub(crate) jobs: mpsc::Sender<Job>,
}

impl Node {
    pub(crate) fn host(&self) -> StrBytes {
        StrBytes::from_string(self.address.ip().to_string())
    }

    pub(crate) fn port(&self) -> i32 {
        i32::from(self.address.port())
    }

    /// Gives the log's thread a job and waits for its answer; `None` when the broker is stopping.
    pub(crate) async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<T> {
        self.tell(job)?.await.ok()
    }

    /// Gives the log's thread a job; the answer comes later.
    pub(crate) fn tell<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<T>) -> Job,
    ) -> Option<oneshot::Receiver<T>> {
        let (answer, receiver) = oneshot::channel();
        self.jobs.send(job(answer)).ok()?;
        Some(receiver)
    }

    /// Finds a topic by its id if it has one, else by its name.
    pub(crate) fn topic(&self, id: Uuid, name: &str) -> Result<Arc<Topic>, ResponseError> {
        if id.is_nil() {
            self.topics
                .named(name)
                .ok_or(ResponseError::UnknownTopicOrPartition)
        } else {
            self.topics.with_id(id).ok_or(ResponseError::UnknownTopicId)
        }
    }

    /// Finds a partition that a request asks for; a client that knows a later leader epoch than ours knows another
    /// cluster.
    pub(crate) fn partition(
        &self,
        call: &Call,
        topic: &Topic,
        number: i32,
        epoch: i32,
    ) -> Result<Arc<Partition>, ResponseError> {
        let partition = topic
            .partition(number)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        if epoch > crate::storage::batch::LEADER_EPOCH {
            return Err(ResponseError::UnknownLeaderEpoch);
        }
        if let Some(error) = call.refuses(&topic.name, Some(number)) {
            return Err(error);
        }
        if self.faults.has_no_leader(&topic.name, number) {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        Ok(Arc::clone(partition))
    }

    /// Creates a topic, within the limit on partitions.
    pub(crate) async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        given: Given,
    ) -> Result<Arc<Topic>, Refusal> {
        self.check_room(partitions)?;
        let name = name.to_owned();
        let created = self
            .ask(|answer| Job::CreateTopic {
                name,
                partitions,
                given,
                answer,
            })
            .await;
        created.unwrap_or_else(|| Err(stopping()))
    }

    /// Changes a topic, or says whether it could be, within the limit on partitions.
    pub(crate) async fn change_topic(
        &self,
        name: &str,
        change: Change,
        dry: bool,
    ) -> Result<Arc<Topic>, Refusal> {
        let Some(topic) = self.topics.named(name) else {
            let reason = format!("there is no topic {name}");
            return Err(Refusal::new(ResponseError::UnknownTopicOrPartition, reason));
        };
        if let Change::Partitions(count) = change {
            let present = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            self.check_room(count.saturating_sub(present))?;
        }
        let topic = topic.id;
        let changed = self
            .ask(|answer| Job::ChangeTopic {
                topic,
                change,
                dry,
                answer,
            })
            .await;
        changed.unwrap_or_else(|| Err(stopping()))
    }

    fn check_room(&self, partitions: i32) -> Result<(), Refusal> {
        let most = usize::try_from(self.config.limits.partitions).unwrap_or(usize::MAX);
        let asked = usize::try_from(partitions).unwrap_or(0);
        if self.topics.partitions().saturating_add(asked) > most {
            let reason = format!("the broker's limit is {most} partitions of all topics together");
            return Err(Refusal::new(ResponseError::PolicyViolation, reason));
        }
        Ok(())
    }
}

/// The answer when the broker is stopping: clients try again.
pub(crate) fn stopping() -> Refusal {
    Refusal::new(ResponseError::NotLeaderOrFollower, "the broker is stopping")
}
