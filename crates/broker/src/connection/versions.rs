//! Which version of each request is spoken (KIP-35, KIP-511).

use bytes::{Buf, Bytes};

/// A request's API key, its name and the versions known here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) key: i16,
    pub(crate) name: &'static str,
    pub(crate) lowest: i16,
    pub(crate) highest: i16,
}

const fn known(key: i16, name: &'static str, lowest: i16, highest: i16) -> Known {
    Known {
        key,
        name,
        lowest,
        highest,
    }
}

/// Every request that is sent, in flexible versions alone but for OffsetDelete, which has none; all of them are offered by Kafka 3.6 to 4.x.
const KNOWN: [Known; 27] = [
    known(0, "Produce", 9, 13),
    known(1, "Fetch", 12, 17),
    known(2, "ListOffsets", 6, 9),
    known(3, "Metadata", 10, 13),
    known(8, "OffsetCommit", 8, 9),
    known(9, "OffsetFetch", 8, 9),
    known(10, "FindCoordinator", 4, 6),
    known(11, "JoinGroup", 6, 9),
    known(12, "Heartbeat", 4, 4),
    known(13, "LeaveGroup", 4, 5),
    known(14, "SyncGroup", 4, 5),
    known(15, "DescribeGroups", 5, 6),
    known(16, "ListGroups", 3, 5),
    known(18, "ApiVersions", 3, 3),
    known(19, "CreateTopics", 5, 7),
    known(20, "DeleteTopics", 6, 6),
    known(21, "DeleteRecords", 2, 2),
    known(22, "InitProducerId", 2, 5),
    known(23, "OffsetForLeaderEpoch", 4, 4),
    known(32, "DescribeConfigs", 4, 4),
    known(35, "DescribeLogDirs", 2, 4),
    known(36, "SaslAuthenticate", 2, 2),
    known(37, "CreatePartitions", 2, 3),
    known(42, "DeleteGroups", 2, 2),
    known(44, "IncrementalAlterConfigs", 1, 1),
    known(47, "OffsetDelete", 0, 0),
    known(60, "DescribeCluster", 0, 1),
];

/// What a broker offers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions {
    /// (API key, lowest, highest), sorted by key.
    offered: Vec<(i16, i16, i16)>,
}

impl Known {
    /// What is known of the request with `key`.
    pub(crate) fn of(key: i16) -> Self {
        KNOWN
            .into_iter()
            .find(|known| known.key == key)
            .unwrap_or_else(|| known(key, "an unknown request", 0, -1))
    }
}

impl Versions {
    pub(crate) fn new(mut offered: Vec<(i16, i16, i16)>) -> Self {
        offered.sort_unstable();
        Self { offered }
    }

    /// Reads the oldest answer to ApiVersions, which a broker gives when it does not know ours (KIP-511).
    pub(crate) fn read_oldest(mut body: Bytes) -> Option<Self> {
        let _code = body.try_get_i16().ok()?;
        let count = usize::try_from(body.try_get_i32().ok()?).ok()?;
        if count > body.remaining() / 6 {
            return None;
        }
        let mut offered = Vec::with_capacity(count);
        for _ in 0..count {
            offered.push((
                body.try_get_i16().ok()?,
                body.try_get_i16().ok()?,
                body.try_get_i16().ok()?,
            ));
        }
        Some(Self::new(offered))
    }

    /// The highest version that both know, no higher than `at_most`.
    pub(crate) fn pick(&self, known: Known, at_most: i16) -> Option<i16> {
        let position = self
            .offered
            .binary_search_by_key(&known.key, |offered| offered.0)
            .ok()?;
        let (_, lowest, highest) = self.offered.get(position).copied()?;
        let version = highest.min(known.highest).min(at_most);
        (version >= lowest.max(known.lowest)).then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{BufMut, BytesMut};

    #[test]
    fn the_highest_common_version_is_picked() {
        let versions = Versions::new(vec![(3, 0, 12), (0, 0, 9), (1, 4, 11)]);
        assert_eq!(versions.pick(Known::of(3), i16::MAX), Some(12));
        assert_eq!(versions.pick(Known::of(0), i16::MAX), Some(9));
        assert_eq!(versions.pick(Known::of(1), i16::MAX), None, "11 is not flexible");
        assert_eq!(versions.pick(Known::of(19), i16::MAX), None, "not offered");
        assert_eq!(versions.pick(Known::of(3), 11), Some(11));
    }

    #[test]
    fn the_oldest_answer_is_read_and_its_count_is_checked() {
        let mut body = BytesMut::new();
        body.put_i16(35);
        body.put_i32(1);
        for value in [18_i16, 0, 3] {
            body.put_i16(value);
        }
        let versions = Versions::read_oldest(body.clone().freeze()).unwrap();
        assert_eq!(versions.pick(Known::of(18), i16::MAX), Some(3));
        body[2] = 0x7f;
        assert!(Versions::read_oldest(body.freeze()).is_none());
    }
}
