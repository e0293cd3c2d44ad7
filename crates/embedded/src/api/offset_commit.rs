//! Keeps a group's offsets: answered when they are durable.

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::OffsetCommitRequestPartition,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};

use super::Call;
use crate::{
    groups::machine::Speaker,
    node::Node,
    storage::{
        offsets::{Committed, Fact},
        writer::Job,
    },
};

/// Bytes of metadata that may go with an offset, as Kafka has it by default.
const METADATA_BYTES_MAX: usize = 4096;

pub(super) async fn answer(node: &Node, call: &Call, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let speaker = Speaker {
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
    };
    let taken = if request.group_id.is_empty() {
        Err(ResponseError::InvalidGroupId)
    } else {
        node.groups.check_commit(&request.group_id, speaker)
    };
    let (results, facts) = sort(node, call, &request, taken);
    let kept = if facts.is_empty() {
        Ok(())
    } else {
        keep(node, facts).await
    };
    let mut results = results.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let result = results
                .next()
                .unwrap_or(Err(ResponseError::UnknownServerError))
                .and(kept);
            OffsetCommitResponsePartition::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(result.err().map_or(0, |error| error.code()))
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// What is refused, partition by partition, and the facts of the rest.
fn sort(
    node: &Node,
    call: &Call,
    request: &OffsetCommitRequest,
    taken: Result<(), ResponseError>,
) -> (Vec<Result<(), ResponseError>>, Vec<Fact>) {
    let mut results = Vec::new();
    let mut facts = Vec::new();
    for topic in &request.topics {
        let known = node.topics.named(&topic.name);
        for asked in &topic.partitions {
            let exists = known
                .as_ref()
                .is_some_and(|topic| topic.partition(asked.partition_index).is_some());
            let broken = call.refuses(&topic.name, Some(asked.partition_index));
            let result = broken.map_or(taken, Err).and_then(|()| check(exists, asked));
            if result.is_ok() {
                facts.push(fact(&request.group_id, &topic.name, asked));
            }
            results.push(result);
        }
    }
    (results, facts)
}

fn check(exists: bool, asked: &OffsetCommitRequestPartition) -> Result<(), ResponseError> {
    if !exists {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    let bytes = asked
        .committed_metadata
        .as_ref()
        .map_or(0, |metadata| metadata.len());
    if bytes > METADATA_BYTES_MAX {
        Err(ResponseError::OffsetMetadataTooLarge)
    } else {
        Ok(())
    }
}

fn fact(group: &str, topic: &str, asked: &OffsetCommitRequestPartition) -> Fact {
    let metadata = asked
        .committed_metadata
        .as_ref()
        .map(|metadata| metadata.to_string())
        .unwrap_or_default();
    let committed = Committed {
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata,
    };
    Fact::Committed {
        group: group.into(),
        topic: topic.into(),
        partition: asked.partition_index,
        committed,
    }
}

async fn keep(node: &Node, facts: Vec<Fact>) -> Result<(), ResponseError> {
    match node.ask(|answer| Job::Commit { facts, answer }).await {
        Some(Ok(())) => Ok(()),
        // Kafka's own answer to an offset that could not be written; clients try again.
        Some(Err(_)) => Err(ResponseError::CoordinatorNotAvailable),
        None => Err(ResponseError::NotCoordinator),
    }
}
