//! Deletes single offsets that a group has committed, of topics that no member reads (KIP-496).

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetDeleteRequest, OffsetDeleteResponse, TopicName,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};

use crate::{
    node::Node,
    storage::{offsets::Fact, writer::Job},
};

pub(super) async fn answer(node: &Node, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = request.group_id.as_str();
    let subscribed = match check(node, group) {
        Ok(subscribed) => subscribed,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let mut facts = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let read = subscribed.reads(&topic.name);
        let partitions = topic.partitions.iter().map(|asked| {
            let number = asked.partition_index;
            let error = refusal(node, &topic.name, number, read);
            if error.is_none() && node.offsets.get(group, &topic.name, number).is_some() {
                facts.push(Fact::Gone {
                    group: group.to_owned(),
                    topic: topic.name.to_string(),
                    partition: number,
                });
            }
            OffsetDeleteResponsePartition::default()
                .with_partition_index(number)
                .with_error_code(error.map_or(0, |error| error.code()))
        });
        let partitions = partitions.collect();
        topics.push(
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions),
        );
    }
    match forget(node, facts).await {
        Ok(()) => OffsetDeleteResponse::default().with_topics(topics),
        Err(error) => OffsetDeleteResponse::default().with_error_code(error.code()),
    }
}

fn refusal(node: &Node, topic: &TopicName, number: i32, read: bool) -> Option<ResponseError> {
    let known = node.topics.named(topic);
    if known.is_none_or(|topic| topic.partition(number).is_none()) {
        return Some(ResponseError::UnknownTopicOrPartition);
    }
    read.then_some(ResponseError::GroupSubscribedToTopic)
}

async fn forget(node: &Node, facts: Vec<Fact>) -> Result<(), ResponseError> {
    if facts.is_empty() {
        return Ok(());
    }
    match node.ask(|answer| Job::Commit { facts, answer }).await {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) => Err(ResponseError::CoordinatorNotAvailable),
        None => Err(ResponseError::NotCoordinator),
    }
}

/// The topics that a group's members read.
enum Subscribed {
    To(Vec<String>),
    /// A member did not say it in a way that is understood.
    Unknown,
}

impl Subscribed {
    fn reads(&self, topic: &str) -> bool {
        match self {
            Self::To(topics) => topics.iter().any(|read| read == topic),
            Self::Unknown => true,
        }
    }
}

fn check(node: &Node, group: &str) -> Result<Subscribed, ResponseError> {
    if group.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let Some(described) = node.groups.describe(group) else {
        return if node.offsets.knows(group) {
            Ok(Subscribed::To(Vec::new()))
        } else {
            Err(ResponseError::GroupIdNotFound)
        };
    };
    if !described.members.is_empty() && described.protocol_type != "consumer" {
        return Err(ResponseError::NonEmptyGroup);
    }
    let mut topics = Vec::new();
    for (_, member) in &described.members {
        for (_, metadata) in &member.protocols {
            match subscription(metadata) {
                Some(read) => topics.extend(read),
                None => return Ok(Subscribed::Unknown),
            }
        }
    }
    Ok(Subscribed::To(topics))
}

/// The topics of a `ConsumerProtocolSubscription`: a version, a count, and names with their lengths. Read by hand,
/// because a member's bytes may lie about the count.
fn subscription(metadata: &[u8]) -> Option<Vec<String>> {
    let (_version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, behind) = behind.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.to_owned());
        rest = behind;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_read_as_far_as_it_is_there() {
        let said = [0, 3, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c', 0xff, 0xff];
        assert_eq!(subscription(&said), Some(vec!["a".into(), "bc".into()]));
        assert_eq!(subscription(&[0, 0, 0, 0, 0, 0]), Some(vec![]));
        assert_eq!(subscription(&[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1, b'a']), None);
        assert_eq!(subscription(b""), None);
    }
}
