//! The node, the topics and their partitions.

use std::sync::Arc;

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::Call;
use crate::{
    node::{NODE, Node},
    storage::{
        batch::LEADER_EPOCH,
        topic_config::Given,
        topics::{Topic, check_name},
    },
};

/// Answers with all topics, or with those asked for.
pub(super) async fn answer(node: &Node, call: &Call, request: MetadataRequest) -> MetadataResponse {
    let create = node.config.auto_create_topics && (call.version < 4 || request.allow_auto_topic_creation);
    let topics = match request.topics {
        // In version 0 an empty list asks for all, later it asks for none.
        Some(asked) if call.version > 0 || !asked.is_empty() => {
            let mut topics = Vec::with_capacity(asked.len());
            for topic in asked {
                topics.push(one(node, call, topic, create).await);
            }
            topics
        }
        _ => node
            .topics
            .all()
            .iter()
            .map(|topic| known(node, call, topic))
            .collect(),
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE)
        .with_host(node.host())
        .with_port(node.port());
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_string(node.cluster.clone())))
        .with_controller_id(NODE)
        .with_topics(topics)
}

async fn one(node: &Node, call: &Call, asked: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    let Some(name) = asked.name.filter(|_| asked.topic_id.is_nil()) else {
        return match node.topics.with_id(asked.topic_id) {
            Some(topic) => known(node, call, &topic),
            None => unknown(None, asked.topic_id, ResponseError::UnknownTopicId),
        };
    };
    if let Some(error) = call.refuses(&name, None) {
        return unknown(Some(name), Uuid::nil(), error);
    }
    match find_or_create(node, &name, create).await {
        Ok(topic) => known(node, call, &topic),
        Err(error) => unknown(Some(name), Uuid::nil(), error),
    }
}

async fn find_or_create(node: &Node, name: &str, create: bool) -> Result<Arc<Topic>, ResponseError> {
    if let Some(topic) = node.topics.named(name) {
        return Ok(topic);
    }
    check_name(name).map_err(|_| ResponseError::InvalidTopicException)?;
    if !create {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    match node
        .create_topic(name, node.config.default_partitions, Given::new())
        .await
    {
        Ok(topic) => Ok(topic),
        // Somebody else was quicker.
        Err(refusal) => node.topics.named(name).ok_or(refusal.error),
    }
}

fn unknown(name: Option<TopicName>, id: Uuid, error: ResponseError) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_name(name)
        .with_topic_id(id)
        .with_error_code(error.code())
}

fn known(node: &Node, call: &Call, topic: &Topic) -> MetadataResponseTopic {
    let named = Some(TopicName(StrBytes::from_string(topic.name.clone())));
    if let Some(error) = call.refuses(&topic.name, None) {
        return unknown(named, topic.id, error);
    }
    let partitions = topic.partitions.iter().map(|partition| {
        let number = partition.number;
        let led = MetadataResponsePartition::default()
            .with_partition_index(number)
            .with_leader_id(NODE)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE]);
        let leaderless = node.faults.has_no_leader(&topic.name, number);
        let error = leaderless.then_some(ResponseError::LeaderNotAvailable);
        match call.refuses(&topic.name, Some(number)).or(error) {
            None => led,
            // Without its leader nobody is in sync.
            Some(error) => led
                .with_error_code(error.code())
                .with_leader_id(BrokerId(-1))
                .with_isr_nodes(Vec::new()),
        }
    });
    MetadataResponseTopic::default()
        .with_name(named)
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}
