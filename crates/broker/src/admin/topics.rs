//! Topics: create, delete, list.

use std::time::Duration;

use evenkeel_event::backoff::Backoff;
use evenkeel_event::{TopicId, TopicName};
use kafka_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::{CreatePartitionsRequest, MetadataRequest, create_partitions_request};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use crate::cluster::{Cluster, Topic};
use crate::error::Error;

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// Partitions, 1 or more; -1 takes the broker's default.
    pub partitions: i32,
    /// Copies, 1 or more; -1 takes the broker's default.
    pub replication: i16,
    /// Settings that differ from the broker's defaults: name and value.
    pub configs: Vec<(String, String)>,
}

impl Cluster {
    /// Creates a topic and waits until its partitions have leaders.
    ///
    /// # Errors
    /// [`Error::is_already_there`] when it exists, else why it could not be created.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<TopicId, Error> {
        let configs = topic.configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_value(Some(StrBytes::from_string(value.clone())))
        });
        let creatable = CreatableTopic::default()
            .with_name(StrBytes::from_string(topic.name.to_string()).into())
            .with_num_partitions(topic.partitions)
            .with_replication_factor(topic.replication)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![creatable])
            .with_timeout_ms(self.timeout_ms());
        let response = self.ask_controller(&request).await?;
        let answered = response.topics.first();
        let (code, message) = answered.map_or((-1, None), |answered| {
            (answered.error_code, answered.error_message.as_deref())
        });
        Error::check(
            code,
            "CreateTopics",
            format_args!("topic {}", topic.name),
            message,
        )?;
        let id = answered.map_or(TopicId::UNKNOWN, |answered| {
            TopicId(answered.topic_id.into_bytes())
        });
        self.wait_for_leaders(&topic.name, id).await?;
        Ok(id)
    }

    /// Waits until this topic's partitions all have leaders.
    async fn wait_for_leaders(&self, name: &TopicName, id: TopicId) -> Result<(), Error> {
        let deadline = Instant::now() + self.request_timeout();
        let mut failures = 0;
        loop {
            match self.topic_anew(name).await {
                Ok(topic)
                    if (topic.id == id || id == TopicId::UNKNOWN)
                        && !topic.partitions.is_empty()
                        && topic
                            .partitions
                            .iter()
                            .all(|partition| partition.leader.is_some()) =>
                {
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.is_topic_missing() || error.is_outage() => {}
                Err(error) => return Err(error),
            }
            failures += 1;
            let wait = Backoff::RECONNECT.wait(failures, rand::random());
            if Instant::now() + wait >= deadline {
                return Err(Error::Refused {
                    request: "CreateTopics",
                    subject: format!("topic {name}"),
                    code: 5,
                    message: "it was created, but its partitions have no leaders yet".to_owned(),
                });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Raises the number of partitions to `total`. Keys may then belong to other partitions than before.
    ///
    /// # Errors
    /// Why the cluster refused, or gave no answer.
    pub async fn create_partitions(&self, name: &TopicName, total: i32) -> Result<(), Error> {
        let wanted = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(StrBytes::from_string(name.to_string()).into())
            .with_count(total)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![wanted])
            .with_timeout_ms(self.timeout_ms());
        let response = self.ask_controller(&request).await?;
        let answered = response.results.first();
        let (code, message) = answered.map_or((-1, None), |answered| {
            (answered.error_code, answered.error_message.as_deref())
        });
        Error::check(code, "CreatePartitions", format_args!("topic {name}"), message)
    }

    /// Deletes a topic with all its events.
    ///
    /// # Errors
    /// [`Error::is_topic_missing`] when it does not exist, else why it could not be deleted.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<(), Error> {
        let state =
            DeleteTopicState::default().with_name(Some(StrBytes::from_string(name.to_string()).into()));
        let request = DeleteTopicsRequest::default()
            .with_topics(vec![state])
            .with_timeout_ms(self.timeout_ms());
        let response = self.ask_controller(&request).await?;
        let answered = response.responses.first();
        let (code, message) = answered.map_or((-1, None), |answered| {
            (answered.error_code, answered.error_message.as_deref())
        });
        self.suspect();
        Error::check(code, "DeleteTopics", format_args!("topic {name}"), message)
    }

    /// Every topic that we may see, by name.
    ///
    /// # Errors
    /// Why no broker gave an answer.
    pub async fn topics(&self) -> Result<Vec<Topic>, Error> {
        let request = MetadataRequest::default()
            .with_topics(None)
            .with_allow_auto_topic_creation(false);
        let response = self.ask(&request).await?;
        let mut topics: Vec<Topic> = response
            .topics
            .into_iter()
            .filter_map(|topic| {
                let name = topic
                    .name
                    .as_ref()
                    .and_then(|name| TopicName::new(&name.0).ok())?;
                Some(crate::cluster::read_topic(name, topic))
            })
            .collect();
        topics.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(topics)
    }

    pub(super) fn timeout_ms(&self) -> i32 {
        // The broker gives up before we do, so that its reason reaches us.
        let timeout = self.request_timeout().saturating_sub(Duration::from_secs(1));
        i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
