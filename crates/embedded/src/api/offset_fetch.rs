//! A group's committed offsets: of the partitions asked for, or of all.

use std::collections::BTreeMap;

use kafka_protocol::{
    messages::{
        OffsetFetchRequest, OffsetFetchResponse, TopicName,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
    protocol::StrBytes,
};

use super::{Call, text};
use crate::{node::Node, storage::offsets::Committed};

/// Before version 8 one group is asked for, then a list.
pub(super) fn answer(node: &Node, call: &Call, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.version < 8 {
        let asked = request.topics.map(|topics| {
            topics
                .into_iter()
                .map(|topic| (topic.name, topic.partition_indexes))
                .collect()
        });
        let topics = look_up(node, &request.group_id, asked)
            .into_iter()
            .map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(|(number, committed)| {
                    one(call, number, committed).with_error_code(broken(call, &name, number))
                });
                let partitions = partitions.collect();
                OffsetFetchResponseTopic::default()
                    .with_name(name)
                    .with_partitions(partitions)
            });
        return OffsetFetchResponse::default().with_topics(topics.collect());
    }
    let groups = request.groups.into_iter().map(|group| {
        let asked = group.topics.map(|topics| {
            topics
                .into_iter()
                .map(|topic| (topic.name, topic.partition_indexes))
                .collect()
        });
        let topics = look_up(node, &group.group_id, asked)
            .into_iter()
            .map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(|(number, committed)| {
                    one_of_many(number, committed).with_error_code(broken(call, &name, number))
                });
                let partitions = partitions.collect();
                OffsetFetchResponseTopics::default()
                    .with_name(name)
                    .with_partitions(partitions)
            });
        let topics = topics.collect();
        OffsetFetchResponseGroup::default()
            .with_group_id(group.group_id)
            .with_topics(topics)
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

/// The code by which a fault refuses a partition, 0 when none does.
fn broken(call: &Call, topic: &str, number: i32) -> i16 {
    call.refuses(topic, Some(number)).map_or(0, |error| error.code())
}

type Found = Vec<(TopicName, Vec<(i32, Option<Committed>)>)>;

fn look_up(node: &Node, group: &str, asked: Option<Vec<(TopicName, Vec<i32>)>>) -> Found {
    let Some(asked) = asked else {
        let mut topics: BTreeMap<String, Vec<(i32, Option<Committed>)>> = BTreeMap::new();
        for ((topic, number), committed) in node.offsets.of_group(group) {
            topics.entry(topic).or_default().push((number, Some(committed)));
        }
        return topics
            .into_iter()
            .map(|(name, found)| (TopicName(StrBytes::from_string(name)), found))
            .collect();
    };
    let look = |(topic, numbers): (TopicName, Vec<i32>)| {
        let found = numbers
            .into_iter()
            .map(|number| (number, node.offsets.get(group, &topic, number)));
        let found = found.collect();
        (topic, found)
    };
    asked.into_iter().map(look).collect()
}

fn one(call: &Call, number: i32, committed: Option<Committed>) -> OffsetFetchResponsePartition {
    let (offset, epoch, metadata) = parts(committed);
    OffsetFetchResponsePartition::default()
        .with_partition_index(number)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(if call.version >= 5 { epoch } else { -1 })
        .with_metadata(text(metadata))
}

fn one_of_many(number: i32, committed: Option<Committed>) -> OffsetFetchResponsePartitions {
    let (offset, epoch, metadata) = parts(committed);
    OffsetFetchResponsePartitions::default()
        .with_partition_index(number)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(epoch)
        .with_metadata(text(metadata))
}

/// Offset -1 says that nothing is committed.
fn parts(committed: Option<Committed>) -> (i64, i32, String) {
    committed.map_or((-1, -1, String::new()), |known| {
        (known.offset, known.leader_epoch, known.metadata)
    })
}
