//! Appends batches. They go to the log when the request is read; the answer waits until they are durable.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};
use tokio::sync::oneshot;

use super::{Call, text};
use crate::{
    clock::now_ms,
    node::{Node, stopping},
    storage::{
        append::{Append, Appended},
        batch::{self, Refusal},
        partition::Partition,
        writer::Job,
    },
};

/// A produce request in the log's hands.
#[derive(Debug)]
pub(super) struct Pending {
    topics: Vec<TopicProduceData>,
    /// For each partition in order: refused already, or in the log's hands.
    checked: Vec<Result<Arc<Partition>, Refusal>>,
    appended: Option<oneshot::Receiver<Vec<Appended>>>,
    wants_answer: bool,
}

/// Checks every batch and hands the good ones to the log.
pub(super) fn submit(node: &Node, call: &Call, mut request: ProduceRequest) -> Pending {
    let mut appends = Vec::new();
    let mut taken = Vec::new();
    let whole = refuse_whole(&request);
    let now = now_ms();
    for topic in &mut request.topic_data {
        for data in &mut topic.partition_data {
            let records = data.records.take();
            let checked = match &whole {
                Some(refusal) => Err(refusal.clone()),
                None => check(
                    node,
                    call,
                    request.acks,
                    (&topic.name, topic.topic_id),
                    data,
                    records,
                    now,
                ),
            };
            taken.push(checked.map(|append| {
                let partition = Arc::clone(&append.partition);
                appends.push(append);
                partition
            }));
        }
    }
    let appended = if appends.is_empty() {
        None
    } else {
        node.tell(|answer| Job::Append { appends, answer })
    };
    Pending {
        topics: request.topic_data,
        checked: taken,
        appended,
        wants_answer: request.acks != 0,
    }
}

fn refuse_whole(request: &ProduceRequest) -> Option<Refusal> {
    if request.transactional_id.is_some() {
        let reason = "transactions are not supported by the embedded broker";
        return Some(Refusal::new(
            ResponseError::TransactionalIdAuthorizationFailed,
            reason,
        ));
    }
    if !(-1..=1).contains(&request.acks) {
        let reason = format!("acks is {}, expected -1, 0 or 1", request.acks);
        return Some(Refusal::new(ResponseError::InvalidRequiredAcks, reason));
    }
    None
}

fn check(
    node: &Node,
    call: &Call,
    acks: i16,
    (name, id): (&str, uuid::Uuid),
    data: &PartitionProduceData,
    records: Option<Bytes>,
    now: i64,
) -> Result<Append, Refusal> {
    let unknown = |error| Refusal::new(error, "there is no such partition");
    let topic = match call.version {
        ..13 => node
            .topics
            .named(name)
            .ok_or(ResponseError::UnknownTopicOrPartition),
        _ => node.topics.with_id(id).ok_or(ResponseError::UnknownTopicId),
    };
    let topic = topic.map_err(unknown)?;
    let partition = node
        .partition(call, &topic, data.index, -1)
        .map_err(|error| Refusal::new(error, "the partition is not there, not led, or broken on order"))?;
    if acks == -1 && node.faults.is_short_of_replicas(&topic.name, data.index) {
        let reason = "the partition has too few replicas in sync";
        return Err(Refusal::new(ResponseError::NotEnoughReplicas, reason));
    }
    let batch = records.unwrap_or_default();
    let header = batch::check(&batch, &topic.rules(now))?;
    Ok(Append {
        partition,
        header,
        batch,
        segment_bytes: topic.obeyed.segment_bytes,
    })
}

impl Pending {
    /// Waits until everything is durable or refused; `None` when no answer is wanted.
    pub(super) async fn answer(self, _node: &Node) -> Option<ProduceResponse> {
        let appended = match self.appended {
            Some(receiver) => receiver.await.ok(),
            None => None,
        };
        if !self.wants_answer {
            return None;
        }
        let mut appended = appended.unwrap_or_default().into_iter();
        let mut checked = self.checked.into_iter();
        let topics = self.topics.into_iter().map(|topic| {
            let partitions = topic.partition_data.iter().map(|data| {
                let partition = checked.next().unwrap_or_else(|| Err(stopping()));
                let appended = partition.and_then(|partition| {
                    let offset = appended.next().unwrap_or_else(|| Err(stopping()))?;
                    Ok((offset, partition.bounds().start))
                });
                on_wire(data.index, appended)
            });
            let partitions = partitions.collect();
            TopicProduceResponse::default()
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions)
        });
        Some(ProduceResponse::default().with_responses(topics.collect()))
    }
}

fn on_wire(index: i32, result: Result<(i64, i64), Refusal>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match result {
        Ok((offset, start)) => response
            .with_base_offset(offset)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(start),
        Err(refusal) => response
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1)
            .with_error_code(refusal.error.code())
            .with_error_message(text(refusal.reason)),
    }
}
