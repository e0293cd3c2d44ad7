//! Offsets of a group, read and set without being a member, and what it has yet to read.

use evenkeel_event::{TopicName, TopicPartition};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::fetch::At;

/// An offset that a group has committed: the next one that it will read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 when not told.
    pub leader_epoch: i32,
    /// What was committed with it.
    pub metadata: String,
}

/// What a group has yet to read of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub partition: TopicPartition,
    /// The committed offset.
    pub committed: i64,
    /// The offset behind the last record.
    pub end: i64,
}

impl Lag {
    /// Offsets between the two; not below 0.
    #[must_use]
    pub const fn behind(&self) -> i64 {
        let behind = self.end.saturating_sub(self.committed);
        if behind > 0 { behind } else { 0 }
    }
}

impl Cluster {
    /// All offsets that `group` has committed.
    ///
    /// # Errors
    /// When its coordinator gives no answer, or a partition's offset cannot be told.
    pub async fn committed(&self, group: &str) -> Result<Vec<Committed>, Error> {
        self.settled(|| self.committed_once(group)).await
    }

    async fn committed_once(&self, group: &str) -> Result<Vec<Committed>, Error> {
        let coordinator = self.coordinator(group).await?;
        let wanted = OffsetFetchRequestGroup::default()
            .with_group_id(StrBytes::from_string(group.to_owned()).into())
            .with_topics(None);
        let request = OffsetFetchRequest::default()
            .with_groups(vec![wanted])
            .with_require_stable(true);
        let response = self.ask_node(coordinator, &request).await?;
        let mut list = Vec::new();
        for answered in response.groups {
            Error::check(
                answered.error_code,
                "OffsetFetch",
                format_args!("group {group}"),
                None,
            )?;
            for topic in answered.topics {
                let Ok(name) = TopicName::new(&topic.name.0) else {
                    continue;
                };
                for partition in topic.partitions {
                    let subject = TopicPartition::new(name.clone(), partition.partition_index);
                    Error::check(partition.error_code, "OffsetFetch", &subject, None)?;
                    if partition.committed_offset >= 0 {
                        list.push(Committed {
                            partition: subject,
                            offset: partition.committed_offset,
                            leader_epoch: partition.committed_leader_epoch,
                            metadata: partition
                                .metadata
                                .map_or_else(String::new, |text| text.to_string()),
                        });
                    }
                }
            }
        }
        list.sort_by(|left, right| left.partition.cmp(&right.partition));
        Ok(list)
    }

    /// Sets offsets of a group that has no members at present.
    ///
    /// # Errors
    /// 25 when it has members; else why the coordinator refused.
    pub async fn set_offsets(&self, group: &str, offsets: &[Committed]) -> Result<(), Error> {
        self.settled(|| self.set_offsets_once(group, offsets)).await
    }

    async fn set_offsets_once(&self, group: &str, offsets: &[Committed]) -> Result<(), Error> {
        let coordinator = self.coordinator(group).await?;
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for committed in offsets {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(committed.partition.partition)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_committed_metadata(Some(StrBytes::from_string(committed.metadata.clone())));
            let name = committed.partition.topic.as_str();
            match topics.iter_mut().find(|topic| topic.name.0.as_str() == name) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(
                    OffsetCommitRequestTopic::default()
                        .with_name(StrBytes::from_string(name.to_owned()).into())
                        .with_partitions(vec![partition]),
                ),
            }
        }
        let request = OffsetCommitRequest::default()
            .with_group_id(StrBytes::from_string(group.to_owned()).into())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(topics);
        let response = self.ask_node(coordinator, &request).await?;
        for topic in response.topics {
            for partition in topic.partitions {
                let subject = format!("group {group}, {}-{}", topic.name.0, partition.partition_index);
                Error::check(partition.error_code, "OffsetCommit", subject, None)?;
            }
        }
        Ok(())
    }

    /// Deletes single offsets of a group (KIP-496), of topics that none of its members reads.
    ///
    /// # Errors
    /// 69 when there is no such group, 86 when a member reads the topic; else why the coordinator refused.
    pub async fn delete_offsets(&self, group: &str, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.settled(|| self.delete_offsets_once(group, partitions)).await
    }

    async fn delete_offsets_once(&self, group: &str, partitions: &[TopicPartition]) -> Result<(), Error> {
        let coordinator = self.coordinator(group).await?;
        let topics = partitions.iter().map(|partition| {
            let number = OffsetDeleteRequestPartition::default().with_partition_index(partition.partition);
            OffsetDeleteRequestTopic::default()
                .with_name(StrBytes::from_string(partition.topic.to_string()).into())
                .with_partitions(vec![number])
        });
        let request = OffsetDeleteRequest::default()
            .with_group_id(StrBytes::from_string(group.to_owned()).into())
            .with_topics(topics.collect());
        let response = self.ask_node(coordinator, &request).await?;
        let subject = format!("group {group}");
        Error::check(response.error_code, "OffsetDelete", subject, None)?;
        for topic in response.topics {
            for partition in topic.partitions {
                let subject = format!("group {group}, {}-{}", topic.name.0, partition.partition_index);
                Error::check(partition.error_code, "OffsetDelete", subject, None)?;
            }
        }
        Ok(())
    }

    /// How far `group` is behind on each partition that it has committed.
    ///
    /// # Errors
    /// When its offsets cannot be read, or a partition has no leader.
    pub async fn lag(&self, group: &str) -> Result<Vec<Lag>, Error> {
        let mut list = Vec::new();
        for committed in self.committed(group).await? {
            let end = self.offset(&committed.partition, At::LatestCommitted).await?;
            list.push(Lag {
                partition: committed.partition,
                committed: committed.offset,
                end: end.offset.unwrap_or(0),
            });
        }
        Ok(list)
    }
}
