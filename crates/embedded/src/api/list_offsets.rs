//! The first offset, the next one, or the first at or after a time.

use std::{io, sync::Arc};

use kafka_protocol::{
    ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};
use uuid::Uuid;

use super::Call;
use crate::{
    node::Node,
    storage::{
        batch::LEADER_EPOCH,
        partition::{Found, Partition},
    },
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

pub(super) async fn answer(node: &Node, call: &Call, request: ListOffsetsRequest) -> ListOffsetsResponse {
    // Versions before 4 have no epoch, and the encoder refuses one.
    let epoch = if call.version >= 4 { LEADER_EPOCH } else { -1 };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let result = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            partitions.push(match one(node, call, &topic.name, asked).await {
                Ok(Some(Found { offset, timestamp_ms })) => result
                    .with_offset(offset)
                    .with_timestamp(timestamp_ms)
                    .with_leader_epoch(epoch),
                Ok(None) => result.with_offset(-1).with_timestamp(-1),
                Err(error) => result
                    .with_offset(-1)
                    .with_timestamp(-1)
                    .with_error_code(error.code()),
            });
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

async fn one(
    node: &Node,
    call: &Call,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<Option<Found>, ResponseError> {
    let topic = node.topic(Uuid::nil(), topic)?;
    let partition = node.partition(call, &topic, asked.partition_index, asked.current_leader_epoch)?;
    let at = |offset| {
        Ok(Some(Found {
            offset,
            timestamp_ms: -1,
        }))
    };
    match asked.timestamp {
        LATEST => at(partition.bounds().end),
        EARLIEST | EARLIEST_LOCAL => at(partition.bounds().start),
        NEWEST => search(partition, |partition| partition.find_newest()).await,
        time_ms if time_ms >= 0 => search(partition, move |partition| partition.find_time(time_ms)).await,
        // Tiered storage is not there, so nothing is in it.
        _ => Ok(None),
    }
}

async fn search(
    partition: Arc<Partition>,
    look: impl FnOnce(&Partition) -> io::Result<Option<Found>> + Send + 'static,
) -> Result<Option<Found>, ResponseError> {
    match tokio::task::spawn_blocking(move || look(&partition)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            tracing::error!(%error, "a log could not be searched");
            Err(ResponseError::KafkaStorageError)
        }
        Err(_) => Err(ResponseError::UnknownServerError),
    }
}
