//! The data directory: whether it can be written, what its disk has left, and what each partition takes there (KIP-113,
//! KIP-827).

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
        describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
    },
    protocol::StrBytes,
};

use crate::{node::Node, storage::topics::Topic};

pub(super) fn answer(node: &Node, request: &DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let path = &node.config.data_dir;
    let result = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(path.display().to_string()))
        .with_topics(
            node.topics
                .all()
                .iter()
                .filter_map(|topic| described(topic, request))
                .collect(),
        );
    // -1 says that it is not known.
    let space = rustix::fs::statvfs(path).ok();
    let bytes = |blocks: fn(&rustix::fs::StatVfs) -> u64| {
        let bytes = space
            .as_ref()
            .map(|space| blocks(space).saturating_mul(space.f_frsize));
        bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
    };
    let usable = if node.disk.is_full() {
        0
    } else {
        bytes(|space| space.f_bavail)
    };
    let error = if node.disk.is_failing() {
        ResponseError::KafkaStorageError.code()
    } else {
        0
    };
    let result = result
        .with_error_code(error)
        .with_total_bytes(bytes(|space| space.f_blocks))
        .with_usable_bytes(usable);
    DescribeLogDirsResponse::default().with_results(vec![result])
}

/// A topic as far as it is asked for: all of it when nothing is named.
fn described(topic: &Topic, request: &DescribeLogDirsRequest) -> Option<DescribeLogDirsTopic> {
    let wanted = match &request.topics {
        Some(topics) => Some(
            &topics
                .iter()
                .find(|asked| *asked.topic == *topic.name)?
                .partitions,
        ),
        None => None,
    };
    let partitions = (0..)
        .zip(&topic.partitions)
        .filter(|(number, _)| wanted.is_none_or(|wanted| wanted.contains(number)))
        .map(|(number, partition)| {
            let bytes = partition.bytes_after(partition.bounds().start);
            DescribeLogDirsPartition::default()
                .with_partition_index(number)
                .with_partition_size(i64::try_from(bytes).unwrap_or(i64::MAX))
        });
    Some(
        DescribeLogDirsTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.name.clone())))
            .with_partitions(partitions.collect()),
    )
}
