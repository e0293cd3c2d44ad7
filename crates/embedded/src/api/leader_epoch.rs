//! Where a leader epoch ends. There is one, so it ends where the log does.

use std::sync::Arc;

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::OffsetForLeaderPartition,
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};
use uuid::Uuid;

use super::Call;
use crate::{
    node::Node,
    storage::{batch::LEADER_EPOCH, topics::Topic},
};

pub(super) fn answer(
    node: &Node,
    call: &Call,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .map(|asked| one(node, call, &topic.topic, asked))
            .collect();
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn one(node: &Node, call: &Call, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let result = EpochEndOffset::default().with_partition(asked.partition);
    let find = |topic: Arc<Topic>| node.partition(call, &topic, asked.partition, asked.current_leader_epoch);
    match node
        .topic(Uuid::nil(), topic)
        .and_then(find)
        .map(|found| found.bounds())
    {
        Ok(bounds) if asked.leader_epoch == LEADER_EPOCH => {
            result.with_leader_epoch(LEADER_EPOCH).with_end_offset(bounds.end)
        }
        Ok(_) => result,
        Err(error) => result.with_error_code(ResponseError::code(&error)),
    }
}
