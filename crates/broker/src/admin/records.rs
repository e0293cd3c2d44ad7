//! Deletes what is old on a partition.

use evenkeel_event::TopicPartition;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::Cluster;
use crate::error::Error;

impl Cluster {
    /// Deletes every record of `partition` before `offset` (-1: all there are). Gives the log's new first offset.
    ///
    /// # Errors
    /// Why the leader refused, or gave no answer.
    pub async fn delete_records(&self, partition: &TopicPartition, offset: i64) -> Result<i64, Error> {
        let leader = self.leader(partition).await?;
        let wanted = DeleteRecordsPartition::default()
            .with_partition_index(partition.partition)
            .with_offset(offset);
        let topic = DeleteRecordsTopic::default()
            .with_name(StrBytes::from_string(partition.topic.to_string()).into())
            .with_partitions(vec![wanted]);
        let request = DeleteRecordsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(self.timeout_ms());
        let response = self.ask_node(leader, &request).await?;
        let answered = response.topics.first().and_then(|topic| topic.partitions.first());
        let (code, first) =
            answered.map_or((-1, -1), |answered| (answered.error_code, answered.low_watermark));
        Error::check(code, "DeleteRecords", partition, None)?;
        Ok(first)
    }
}
