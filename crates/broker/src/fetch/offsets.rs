//! Which offset stands for a time, the beginning or the end (ListOffsets), and where an epoch ended.

use evenkeel_event::TopicPartition;
use evenkeel_event::clock::Timestamp;
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::Cluster;
use crate::error::Error;

/// A place on a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The first offset that is there.
    Earliest,
    /// The high watermark: behind the last record.
    Latest,
    /// Behind the last record whose transaction is decided.
    LatestCommitted,
    /// The first record that is not older.
    Time(Timestamp),
    /// The record with the newest timestamp, the first of several (KIP-734).
    Newest,
}

/// An offset that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The offset; `None` when no record is that young.
    pub offset: Option<i64>,
    /// The record's leader epoch; -1 when not told.
    pub leader_epoch: i32,
    /// The record's timestamp, for [`At::Time`] and [`At::Newest`].
    pub timestamp: Option<Timestamp>,
}

impl Cluster {
    /// The offset of `at` on `partition`.
    ///
    /// # Errors
    /// When the partition has no leader, or why it gave no answer.
    pub async fn offset(&self, partition: &TopicPartition, at: At) -> Result<Found, Error> {
        self.settled(|| self.offset_once(partition, at)).await
    }

    async fn offset_once(&self, partition: &TopicPartition, at: At) -> Result<Found, Error> {
        let leader = self.leader(partition).await?;
        let (timestamp, isolation) = match at {
            At::Earliest => (-2, 0),
            At::Latest => (-1, 0),
            At::LatestCommitted => (-1, 1),
            At::Time(time) => (time.millis(), 0),
            At::Newest => (-3, 0),
        };
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition.partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(StrBytes::from_string(partition.topic.to_string()).into())
            .with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(isolation)
            .with_topics(vec![topic]);
        let response = self.ask_node(leader, &request).await?;
        let answered = response.topics.first().and_then(|topic| topic.partitions.first());
        let Some(answered) = answered else {
            return Err(empty("ListOffsets", partition));
        };
        self.check_partition(answered.error_code, "ListOffsets", partition)?;
        Ok(Found {
            offset: (answered.offset >= 0).then_some(answered.offset),
            leader_epoch: answered.leader_epoch,
            timestamp: (answered.timestamp >= 0).then(|| Timestamp::from_millis(answered.timestamp)),
        })
    }

    /// The offset at which `epoch`, or the last epoch before it, ended on the leader's log (KIP-320): what was read
    /// under `epoch` at or behind it was cut off. `None` when the leader does not know.
    ///
    /// # Errors
    /// When the partition has no leader, or why it gave no answer.
    pub async fn end_of_epoch(&self, partition: &TopicPartition, epoch: i32) -> Result<Option<i64>, Error> {
        let leader = self.leader(partition).await?;
        let wanted = OffsetForLeaderPartition::default()
            .with_partition(partition.partition)
            .with_current_leader_epoch(-1)
            .with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(StrBytes::from_string(partition.topic.to_string()).into())
            .with_partitions(vec![wanted]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![topic]);
        let response = self.ask_node(leader, &request).await?;
        let answered = response.topics.first().and_then(|topic| topic.partitions.first());
        let Some(answered) = answered else {
            return Err(empty("OffsetForLeaderEpoch", partition));
        };
        self.check_partition(answered.error_code, "OffsetForLeaderEpoch", partition)?;
        Ok((answered.end_offset >= 0).then_some(answered.end_offset))
    }

    fn check_partition(
        &self,
        code: i16,
        request: &'static str,
        partition: &TopicPartition,
    ) -> Result<(), Error> {
        if code != 0 {
            self.suspect();
        }
        Error::check(code, request, partition, None)
    }
}

fn empty(request: &'static str, partition: &TopicPartition) -> Error {
    Error::Refused {
        request,
        subject: partition.to_string(),
        code: -1,
        message: "an empty answer".to_owned(),
    }
}
