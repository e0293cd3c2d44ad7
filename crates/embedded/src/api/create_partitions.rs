//! Adds partitions to topics.

use kafka_protocol::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
};

use super::{Call, text};
use crate::{
    node::{NODE, Node},
    storage::{batch::Refusal, topic_change::Change},
};

/// Raises each topic to the number that is asked for.
pub(super) async fn answer(
    node: &Node,
    call: &Call,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let result = CreatePartitionsTopicResult::default().with_name(asked.name.clone());
        results.push(match one(node, call, &asked, request.validate_only).await {
            Ok(()) => result,
            Err(refusal) => result
                .with_error_code(refusal.error.code())
                .with_error_message(text(refusal.reason)),
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn one(node: &Node, call: &Call, asked: &CreatePartitionsTopic, dry: bool) -> Result<(), Refusal> {
    if let Some(error) = call.refuses(&asked.name, None) {
        return Err(Refusal::new(error, "a fault refuses the topic"));
    }
    let ours = |broker_ids: &[_]| broker_ids == [NODE];
    let assignments = asked.assignments.as_deref().unwrap_or_default();
    if !assignments.iter().all(|assigned| ours(&assigned.broker_ids)) {
        let reason = "each new partition is assigned to broker 1 alone";
        return Err(Refusal::new(ResponseError::InvalidReplicaAssignment, reason));
    }
    let change = Change::Partitions(asked.count);
    node.change_topic(&asked.name, change, dry).await.map(drop)
}
