//! What a request is about, for faults that meet some topics only.

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        ApiKey, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
        FetchRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
        OffsetForLeaderEpochRequest, ProduceRequest,
    },
    protocol::Decodable,
};
use uuid::Uuid;

use crate::{faults::Subject, node::Node};

/// The topics and partitions that a request names, as far as it can be decoded; nothing where it is about none.
pub(super) fn of(node: &Node, key: ApiKey, version: i16, body: &Bytes) -> Vec<Subject> {
    subjects(node, key, version, body.clone()).unwrap_or_default()
}

fn subjects(node: &Node, key: ApiKey, version: i16, mut body: Bytes) -> Option<Vec<Subject>> {
    let body = &mut body;
    let of_data = |topic: &str, numbers: Vec<i32>| named(topic.to_owned(), numbers);
    let all = match key {
        ApiKey::Produce => each(ProduceRequest::decode(body, version).ok()?.topic_data, |topic| {
            let numbers = topic.partition_data.iter().map(|data| data.index).collect();
            named(name(node, &topic.name, topic.topic_id), numbers)
        }),
        ApiKey::Fetch => each(FetchRequest::decode(body, version).ok()?.topics, |topic| {
            let numbers = topic.partitions.iter().map(|asked| asked.partition).collect();
            named(name(node, &topic.topic, topic.topic_id), numbers)
        }),
        ApiKey::ListOffsets => each(ListOffsetsRequest::decode(body, version).ok()?.topics, |topic| {
            let numbers = topic.partitions.iter().map(|asked| asked.partition_index);
            of_data(&topic.name, numbers.collect())
        }),
        ApiKey::OffsetCommit => each(OffsetCommitRequest::decode(body, version).ok()?.topics, |topic| {
            let numbers = topic.partitions.iter().map(|asked| asked.partition_index);
            of_data(&topic.name, numbers.collect())
        }),
        ApiKey::DeleteRecords => each(
            DeleteRecordsRequest::decode(body, version).ok()?.topics,
            |topic| {
                let numbers = topic.partitions.iter().map(|asked| asked.partition_index);
                of_data(&topic.name, numbers.collect())
            },
        ),
        ApiKey::OffsetForLeaderEpoch => each(
            OffsetForLeaderEpochRequest::decode(body, version).ok()?.topics,
            |topic| {
                let numbers = topic.partitions.iter().map(|asked| asked.partition);
                of_data(&topic.topic, numbers.collect())
            },
        ),
        ApiKey::OffsetFetch => of_offset_fetch(&OffsetFetchRequest::decode(body, version).ok()?),
        _ => return whole_topics(node, key, version, body),
    };
    Some(all)
}

/// Requests that name topics without partitions.
fn whole_topics(node: &Node, key: ApiKey, version: i16, body: &mut Bytes) -> Option<Vec<Subject>> {
    let all = match key {
        ApiKey::Metadata => match MetadataRequest::decode(body, version).ok()?.topics {
            Some(topics) if version > 0 || !topics.is_empty() => each(topics, |topic| {
                let asked = topic.name.as_ref().map_or("", |name| name.as_str());
                whole(name(node, asked, topic.topic_id))
            }),
            _ => vec![(None, None)],
        },
        ApiKey::CreateTopics => each(CreateTopicsRequest::decode(body, version).ok()?.topics, |topic| {
            whole(topic.name.to_string())
        }),
        ApiKey::CreatePartitions => each(
            CreatePartitionsRequest::decode(body, version).ok()?.topics,
            |topic| whole(topic.name.to_string()),
        ),
        ApiKey::DeleteTopics => {
            let request = DeleteTopicsRequest::decode(body, version).ok()?;
            let mut all = each(request.topics, |topic| {
                let asked = topic.name.as_ref().map_or("", |name| name.as_str());
                whole(name(node, asked, topic.topic_id))
            });
            all.extend(each(request.topic_names, |name| whole(name.to_string())));
            all
        }
        _ => return None,
    };
    Some(all)
}

fn of_offset_fetch(request: &OffsetFetchRequest) -> Vec<Subject> {
    let everything = || vec![(None, None)];
    let before_8 = request.topics.iter().flatten();
    let mut all: Vec<Subject> = before_8
        .flat_map(|topic| named(topic.name.to_string(), topic.partition_indexes.clone()))
        .collect();
    for group in &request.groups {
        all.extend(group.topics.as_ref().map_or_else(everything, |topics| {
            topics
                .iter()
                .flat_map(|topic| named(topic.name.to_string(), topic.partition_indexes.clone()))
                .collect()
        }));
    }
    if request.topics.is_none() && request.groups.is_empty() {
        all = everything();
    }
    all
}

fn each<T>(topics: Vec<T>, of: impl Fn(T) -> Vec<Subject>) -> Vec<Subject> {
    topics.into_iter().flat_map(of).collect()
}

fn named(topic: String, numbers: Vec<i32>) -> Vec<Subject> {
    numbers
        .into_iter()
        .map(|number| (Some(topic.clone()), Some(number)))
        .collect()
}

fn whole(topic: String) -> Vec<Subject> {
    vec![(Some(topic), None)]
}

/// The name of a topic that is asked for by its name or its id.
fn name(node: &Node, asked: &str, id: Uuid) -> String {
    let by_id = || Some(node.topics.with_id(id)?.name.clone());
    if id.is_nil() {
        asked.to_owned()
    } else {
        by_id().unwrap_or_default()
    }
}
