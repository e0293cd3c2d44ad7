//! Deletes the records of a partition before an offset.

use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse,
    delete_records_request::DeleteRecordsPartition,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
};
use uuid::Uuid;

use super::Call;
use crate::{
    node::{Node, stopping},
    storage::{batch::Refusal, writer::Job},
};

/// Answers with the new first offset of each partition.
pub(super) async fn answer(node: &Node, call: &Call, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let result = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            partitions.push(match one(node, call, &topic.name, asked).await {
                Ok(start) => result.with_low_watermark(start),
                Err(refusal) => result
                    .with_low_watermark(-1)
                    .with_error_code(refusal.error.code()),
            });
        }
        topics.push(
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn one(node: &Node, call: &Call, topic: &str, asked: &DeleteRecordsPartition) -> Result<i64, Refusal> {
    let unknown = |error| Refusal::new(error, "there is no such partition");
    let topic = node.topic(Uuid::nil(), topic).map_err(unknown)?;
    let partition = node
        .partition(call, &topic, asked.partition_index, -1)
        .map_err(unknown)?;
    let before = asked.offset;
    let deleted = node
        .ask(|answer| Job::DeleteRecords {
            partition,
            before,
            answer,
        })
        .await;
    deleted.unwrap_or_else(|| Err(stopping()))
}
