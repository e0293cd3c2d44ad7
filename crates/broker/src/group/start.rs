//! Where a partition that was just assigned begins: its committed position, or where the options say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_flow::membership::{Claim, Mark};
use kafka_protocol::messages::OffsetFetchRequest;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::protocol::StrBytes;
use tokio::task::JoinSet;

use super::options::Reset;
use super::requests::Courier;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::fetch::At;

/// The position of each claim, as far as it could be learned. What is missing is asked for again.
pub(super) async fn locate(
    courier: Arc<Courier>,
    node: i32,
    claims: Vec<Claim>,
    reset: Reset,
) -> Result<Vec<(Claim, Mark)>, Error> {
    let topics: BTreeSet<&TopicName> = claims.iter().map(|claim| &claim.partition.topic).collect();
    for topic in topics {
        // From then on the cluster keeps track of its leaders.
        courier.cluster().topic(topic).await?;
    }
    let committed = committed(&courier, node, &claims).await?;
    let mut asking = JoinSet::new();
    let mut found = Vec::new();
    for claim in claims {
        match committed.get(&claim.partition) {
            Some(mark) if mark.offset >= 0 => found.push((claim, *mark)),
            Some(_) => {
                let cluster = courier.cluster().clone();
                asking.spawn(async move {
                    let offset = reset_offset(&cluster, &claim.partition, reset).await;
                    (claim, offset)
                });
            }
            None => {}
        }
    }
    while let Some(asked) = asking.join_next().await {
        if let Ok((claim, Ok(offset))) = asked {
            found.push((
                claim,
                Mark {
                    offset,
                    leader_epoch: -1,
                },
            ));
        }
    }
    Ok(found)
}

/// The committed positions; -1 where there is none. Partitions whose position is not stable yet, because a transaction
/// that moves it is open, are left out.
async fn committed(
    courier: &Courier,
    node: i32,
    claims: &[Claim],
) -> Result<BTreeMap<TopicPartition, Mark>, Error> {
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for claim in claims {
        topics
            .entry(&claim.partition.topic)
            .or_default()
            .push(claim.partition.partition);
    }
    let wanted = topics.into_iter().map(|(name, indexes)| {
        OffsetFetchRequestTopics::default()
            .with_name(StrBytes::from_string(name.to_string()).into())
            .with_partition_indexes(indexes)
    });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(StrBytes::from_string(courier.group().to_owned()).into())
        .with_member_epoch(-1)
        .with_topics(Some(wanted.collect()));
    let request = OffsetFetchRequest::default()
        .with_groups(vec![group])
        .with_require_stable(true);
    let connection = courier.cluster().connection(courier.rest(), node).await?;
    let response = connection
        .call(&request, courier.cluster().request_timeout())
        .await?;
    let subject = format!("group {}", courier.group());
    Error::check(response.error_code, "OffsetFetch", &subject, None)?;
    let mut found = BTreeMap::new();
    for group in response.groups {
        Error::check(group.error_code, "OffsetFetch", &subject, None)?;
        for topic in group.topics {
            let Ok(name) = TopicName::new(&topic.name.0) else {
                continue;
            };
            for partition in topic
                .partitions
                .iter()
                .filter(|partition| partition.error_code == 0)
            {
                let mark = Mark {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                };
                found.insert(TopicPartition::new(name.clone(), partition.partition_index), mark);
            }
        }
    }
    Ok(found)
}

/// Where to go on when the offset `due` is not on the log: with the first record that is left when older ones were
/// deleted, else, when the log ends before it, where the options let a partition begin.
pub(super) async fn go_on(
    cluster: &Cluster,
    partition: &TopicPartition,
    due: i64,
    reset: Reset,
) -> Result<i64, Error> {
    match cluster.offset(partition, At::Earliest).await?.offset {
        Some(earliest) if earliest > due => Ok(earliest),
        _ => reset_offset(cluster, partition, reset).await,
    }
}

/// Where the options let a partition begin.
async fn reset_offset(cluster: &Cluster, partition: &TopicPartition, reset: Reset) -> Result<i64, Error> {
    cluster.topic(&partition.topic).await?;
    let at = match reset {
        Reset::Earliest => At::Earliest,
        Reset::Latest => At::Latest,
        Reset::Time(time) => At::Time(time),
    };
    match cluster.offset(partition, at).await?.offset {
        Some(offset) => Ok(offset),
        // No record is that young.
        None => Ok(cluster.offset(partition, At::Latest).await?.offset.unwrap_or(0)),
    }
}
