//! What the fuzz target plays, and the test of what it starts from and has found: one request, as far as it is understood
//! without a log behind it.
//!
//! The promise: what the walk passes, the decoder follows to the same byte or refuses, and a batch is refused or sound.
//! Nothing panics, and nothing allocates more than the bytes that are there can hold.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a fuzz target tells by panicking"
)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::{messages::*, protocol::Decodable};

use crate::{
    Limits, api,
    storage::batch::{self, Record},
    wire::scan::Walk,
};

/// How far one request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Its header, its lengths or its version are refused.
    Refused,
    /// Its lengths are sound and the decoder refuses what they hold.
    Walked,
    /// Decoded, and the batches of a produce request judged.
    Decoded {
        /// Batches that the log would take.
        sound_batches: usize,
    },
}

/// Plays the bytes behind a request's length.
///
/// # Panics
///
/// When the decoder reads another number of bytes than the walk, or a batch is taken that is not what it says.
pub fn request(bytes: &[u8]) -> Reached {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(opened) = api::open(bytes, Limits::default().request_elements) else {
        return Reached::Refused;
    };
    if !opened.is_taken {
        return Reached::Walked;
    }
    let (shape, version) = (opened.shape, opened.version);
    let mut walk = Walk::new(&opened.body, Limits::default().request_elements);
    walk.body(shape, version).expect("it was walked a moment ago");
    let walked = walk.rest().len();
    match decode(shape.key, version, &opened.body) {
        Err(_) => Reached::Walked,
        Ok(left) => {
            assert_eq!(left, walked, "{:?} version {version}", shape.key);
            let sound_batches = match shape.key {
                ApiKey::Produce => batches(version, opened.body),
                _ => 0,
            };
            Reached::Decoded { sound_batches }
        }
    }
}

/// What the decoder leaves of a body, or its refusal.
pub(crate) fn decode(key: ApiKey, version: i16, bytes: &[u8]) -> Result<usize, String> {
    fn all<R: Decodable>(bytes: &[u8], version: i16) -> Result<usize, String> {
        let mut bytes = Bytes::copy_from_slice(bytes);
        R::decode(&mut bytes, version)
            .map(|_| bytes.len())
            .map_err(|error| error.to_string())
    }
    let all = match key {
        ApiKey::Produce => all::<ProduceRequest>,
        ApiKey::Fetch => all::<FetchRequest>,
        ApiKey::ListOffsets => all::<ListOffsetsRequest>,
        ApiKey::Metadata => all::<MetadataRequest>,
        ApiKey::OffsetCommit => all::<OffsetCommitRequest>,
        ApiKey::OffsetFetch => all::<OffsetFetchRequest>,
        ApiKey::FindCoordinator => all::<FindCoordinatorRequest>,
        ApiKey::JoinGroup => all::<JoinGroupRequest>,
        ApiKey::Heartbeat => all::<HeartbeatRequest>,
        ApiKey::LeaveGroup => all::<LeaveGroupRequest>,
        ApiKey::SyncGroup => all::<SyncGroupRequest>,
        ApiKey::DescribeGroups => all::<DescribeGroupsRequest>,
        ApiKey::ListGroups => all::<ListGroupsRequest>,
        ApiKey::ApiVersions => all::<ApiVersionsRequest>,
        ApiKey::CreateTopics => all::<CreateTopicsRequest>,
        ApiKey::DeleteTopics => all::<DeleteTopicsRequest>,
        ApiKey::DeleteRecords => all::<DeleteRecordsRequest>,
        ApiKey::InitProducerId => all::<InitProducerIdRequest>,
        ApiKey::OffsetForLeaderEpoch => all::<OffsetForLeaderEpochRequest>,
        ApiKey::DescribeConfigs => all::<DescribeConfigsRequest>,
        ApiKey::DescribeCluster => all::<DescribeClusterRequest>,
        ApiKey::DescribeLogDirs => all::<DescribeLogDirsRequest>,
        ApiKey::DeleteGroups => all::<DeleteGroupsRequest>,
        ApiKey::AlterConfigs => all::<AlterConfigsRequest>,
        ApiKey::IncrementalAlterConfigs => all::<IncrementalAlterConfigsRequest>,
        ApiKey::CreatePartitions => all::<CreatePartitionsRequest>,
        ApiKey::OffsetDelete => all::<OffsetDeleteRequest>,
        other => panic!("{other:?} has a shape and no decoder here"),
    };
    all(bytes, version)
}

fn batches(version: i16, mut body: Bytes) -> usize {
    let request = ProduceRequest::decode(&mut body, version).expect("it was decoded a moment ago");
    let parts = request
        .topic_data
        .into_iter()
        .flat_map(|topic| topic.partition_data);
    parts.filter_map(|part| part.records).filter(is_sound).count()
}

/// Whether the log would take a batch, whatever its checksum: a fuzzer does not find those.
fn is_sound(records: &Bytes) -> bool {
    let rules = batch::Rules {
        message_bytes_max: 1 << 20,
        keys_required: false,
        timestamp_before_ms: i64::MAX,
        timestamp_after_ms: i64::MAX,
        now_ms: 0,
    };
    let records = with_checksum(records);
    let Ok(header) = batch::check(&records, &rules) else {
        return false;
    };
    assert!(batch::checksum_holds(&records, &header));
    let mut rest = records.get(batch::HEADER_BYTES..).expect("a batch has a header");
    if !header.is_compressed() {
        let count = std::iter::from_fn(|| Record::take(&mut rest)).count();
        assert_eq!(i32::try_from(count), Ok(header.records));
    }
    true
}

fn with_checksum(records: &[u8]) -> Bytes {
    let mut records = BytesMut::from(records);
    if let Some(checked) = records.get(batch::CHECKED_FROM..) {
        let checksum = crc32c::crc32c(checked).to_be_bytes();
        records[batch::CHECKED_FROM - 4..batch::CHECKED_FROM].copy_from_slice(&checksum);
    }
    records.freeze()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_refused_or_read_to_the_byte() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/request");
        let files = std::fs::read_dir(&folder).unwrap();
        let reached: Vec<_> = files
            .map(|file| request(&std::fs::read(file.unwrap().path()).unwrap()))
            .collect();
        let of = |wanted: fn(&Reached) -> bool| reached.iter().filter(|reached| wanted(reached)).count();
        let (refused, walked) = (of(|it| *it == Reached::Refused), of(|it| *it == Reached::Walked));
        let decoded = of(|it| matches!(it, Reached::Decoded { .. }));
        let sound = of(|it| matches!(it, Reached::Decoded { sound_batches: 1.. }));
        assert!(
            refused > 20 && walked > 20 && decoded > 20 && sound > 1,
            "{refused} refused, {walked} walked, {decoded} decoded, {sound} with sound batches"
        );
    }
}
