//! Reads records, and waits for more of them: a wait ends with an append, not with a timer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        FetchRequest, FetchResponse,
        fetch_request::FetchTopic,
        fetch_response::{FetchableTopicResponse, PartitionData},
    },
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::Call;
use crate::{
    node::Node,
    storage::partition::{Bounds, Partition, ReadError},
};

/// One partition that is asked for, with what is known of it.
#[derive(Debug, Clone)]
struct Wanted {
    offset: i64,
    bytes_max: usize,
    partition: Result<Arc<Partition>, ResponseError>,
}

/// What was read of one partition.
struct Read {
    bounds: Option<Bounds>,
    result: Result<Bytes, ResponseError>,
}

/// Answers when `min_bytes` are there, something is wrong, or the time is up.
pub(super) async fn answer(
    node: &Node,
    call: &Call,
    request: FetchRequest,
    closed: &CancellationToken,
) -> (FetchResponse, Option<OwnedSemaphorePermit>) {
    if request.session_id != 0 {
        // Sessions are not kept: no answer has ever carried an id, and the client begins a new one.
        let error = ResponseError::FetchSessionIdNotFound.code();
        return (FetchResponse::default().with_error_code(error), None);
    }
    let wanted = request
        .topics
        .iter()
        .flat_map(|topic| wanted(node, call, topic))
        .collect::<Vec<_>>();
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    wait_for(
        &wanted,
        u64::try_from(request.min_bytes).unwrap_or(0),
        wait,
        closed,
    )
    .await;
    let limit = usize::try_from(node.config.limits.fetch_bytes).unwrap_or(usize::MAX);
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(limit);
    let there = wanted.iter().map(Wanted::bytes_there).sum::<u64>();
    let reserve = u32::try_from(there.min(bytes_max as u64)).unwrap_or(u32::MAX);
    let share = Arc::clone(&node.fetch_bytes)
        .acquire_many_owned(reserve)
        .await
        .ok();
    let read = tokio::task::spawn_blocking(move || read_all(&wanted, bytes_max))
        .await
        .unwrap_or_default();
    (response(request.topics, read), share)
}

fn wanted<'a>(node: &'a Node, call: &'a Call, topic: &'a FetchTopic) -> impl Iterator<Item = Wanted> + 'a {
    let found = node.topic(topic.topic_id, &topic.topic);
    topic.partitions.iter().map(move |asked| Wanted {
        offset: asked.fetch_offset,
        bytes_max: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        partition: found
            .clone()
            .and_then(|topic| node.partition(call, &topic, asked.partition, asked.current_leader_epoch)),
    })
}

impl Wanted {
    /// Bytes that a read would find, as far as is known without one.
    fn bytes_there(&self) -> u64 {
        let bytes = self
            .partition
            .as_ref()
            .map_or(0, |partition| partition.bytes_after(self.offset));
        bytes.min(self.bytes_max.max(1) as u64)
    }

    /// Whether there is nothing to wait for.
    fn is_wrong(&self) -> bool {
        match &self.partition {
            Ok(partition) => {
                let Bounds { start, end } = partition.bounds();
                partition.is_gone() || self.offset < start || self.offset > end
            }
            Err(_) => true,
        }
    }
}

async fn wait_for(wanted: &[Wanted], bytes_min: u64, wait: Duration, closed: &CancellationToken) {
    let deadline = Instant::now() + wait;
    let bell = Arc::new(Notify::new());
    loop {
        for partition in wanted.iter().filter_map(|wanted| wanted.partition.as_ref().ok()) {
            partition.ring(&bell);
        }
        let there: u64 = wanted.iter().map(Wanted::bytes_there).sum();
        if there >= bytes_min || wanted.iter().any(Wanted::is_wrong) {
            return;
        }
        let rung = tokio::select! {
            rung = timeout_at(deadline, bell.notified()) => rung.is_ok(),
            () = closed.cancelled() => false,
        };
        if !rung {
            return;
        }
    }
}

/// Reads partition by partition until the answer is full. The first records come whole, however large they are, so
/// that no reader is stuck (KIP-74).
fn read_all(wanted: &[Wanted], bytes_max: usize) -> Vec<Read> {
    let mut left = bytes_max;
    let mut empty = true;
    let mut all = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let read = read_one(wanted, left.min(wanted.bytes_max), empty);
        if let Ok(records) = &read.result {
            left = left.saturating_sub(records.len());
            empty &= records.is_empty();
        }
        all.push(read);
    }
    all
}

fn read_one(wanted: &Wanted, bytes_max: usize, at_least_one: bool) -> Read {
    let partition = match &wanted.partition {
        Ok(partition) => partition,
        Err(error) => {
            return Read {
                bounds: None,
                result: Err(*error),
            };
        }
    };
    let result = match partition.read(wanted.offset, bytes_max, at_least_one) {
        Ok(records) => Ok(records),
        Err(ReadError::OutOfRange(bounds)) => {
            return Read {
                bounds: Some(bounds),
                result: Err(ResponseError::OffsetOutOfRange),
            };
        }
        Err(ReadError::Gone) => Err(ResponseError::UnknownTopicOrPartition),
        Err(ReadError::Io(error)) => {
            tracing::error!(topic = partition.topic, partition = partition.number, %error, "a log could not be read");
            Err(ResponseError::KafkaStorageError)
        }
    };
    Read {
        bounds: Some(partition.bounds()),
        result,
    }
}

fn response(topics: Vec<FetchTopic>, read: Vec<Read>) -> FetchResponse {
    let mut read = read.into_iter();
    let responses = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let unread = Read {
                bounds: None,
                result: Err(ResponseError::UnknownServerError),
            };
            on_wire(asked.partition, read.next().unwrap_or(unread))
        });
        let partitions = partitions.collect();
        FetchableTopicResponse::default()
            .with_topic(topic.topic)
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions)
    });
    FetchResponse::default().with_responses(responses.collect())
}

fn on_wire(number: i32, read: Read) -> PartitionData {
    let bounds = read.bounds.unwrap_or(Bounds { start: -1, end: -1 });
    let data = PartitionData::default()
        .with_partition_index(number)
        .with_high_watermark(bounds.end)
        .with_last_stable_offset(bounds.end)
        .with_log_start_offset(bounds.start);
    match read.result {
        Ok(records) => data.with_records(Some(records)),
        Err(error) => data
            .with_error_code(error.code())
            .with_records(Some(Bytes::new())),
    }
}
