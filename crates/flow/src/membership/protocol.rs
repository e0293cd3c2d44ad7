//! The bytes that members exchange through the coordinator: subscription and assignment of Kafka's
//! `ConsumerProtocol` (`ConsumerProtocolSubscription.json`, `ConsumerProtocolAssignment.json`, versions 0 to 3).
//!
//! What is decoded was written by other members, of any make: every count is held against the bytes that are left, and
//! nothing is allocated for what is not there.

use evenkeel_event::{TopicName, TopicPartition};

use super::Assignor;

/// The newest version of both forms, which this one writes. An older reader reads the part that it knows.
const VERSION: i16 = 3;

/// What a member tells the leader about itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The topics it wants. Names that no topic can have are left out when decoding.
    pub topics: Vec<TopicName>,
    /// The assignor's own bytes.
    pub user_data: Option<Vec<u8>>,
    /// The partitions it holds while it joins; empty with an eager assignor, which gives them back before.
    pub owned: Vec<TopicPartition>,
    /// The generation in which it got them; -1 when it has none or does not tell.
    pub generation: i32,
    /// The rack it runs in.
    pub rack: Option<String>,
}

/// What the leader tells a member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    /// The partitions that are the member's from now on.
    pub partitions: Vec<TopicPartition>,
    /// The assignor's own bytes.
    pub user_data: Option<Vec<u8>>,
}

/// Why another member's bytes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end within a field.
    #[error("{field} is cut off: {needed} bytes are needed, {left} are left")]
    CutOff {
        /// The field.
        field: &'static str,
        /// Bytes it needs at least.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A length or version below what the form allows.
    #[error("{field} is {value}, which no member may write")]
    Negative {
        /// The field.
        field: &'static str,
        /// What was read.
        value: i64,
    },
    /// A string is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotText {
        /// The field.
        field: &'static str,
    },
}

impl Subscription {
    /// The bytes for JoinGroup, version 3.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = VERSION.to_be_bytes().to_vec();
        put_count(&mut out, self.topics.len());
        for topic in &self.topics {
            put_string(&mut out, topic.as_str());
        }
        put_bytes(&mut out, self.user_data.as_deref());
        put_partitions(&mut out, &self.owned);
        out.extend(self.generation.to_be_bytes());
        match &self.rack {
            Some(rack) => put_string(&mut out, rack),
            None => out.extend((-1_i16).to_be_bytes()),
        }
        out
    }

    /// With the bytes that the assignor puts beside it: the generation, as Java's `CooperativeStickyAssignor` does for
    /// leaders that read version 1 alone.
    #[must_use]
    pub fn with_user_data_of(&self, assignor: Assignor) -> Self {
        let user_data = assignor
            .is_cooperative()
            .then(|| self.generation.to_be_bytes().to_vec());
        Self {
            user_data,
            ..self.clone()
        }
    }

    /// The generation in which the member got what it owns: told since version 2, before that in Java's user data.
    #[must_use]
    pub fn generation_for(&self, assignor: Assignor) -> i32 {
        let told = self
            .user_data
            .as_deref()
            .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        match told {
            Some(bytes) if self.generation < 0 && assignor.is_cooperative() => i32::from_be_bytes(bytes),
            _ => self.generation,
        }
    }

    /// Reads what a member of any make and version wrote. Fields of versions after 3 are passed over.
    ///
    /// # Errors
    /// When the bytes are not a subscription.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { left: bytes };
        let version = reader.version()?;
        let topics = (0..reader.count("topics", 2)?)
            .map(|_| reader.string("topic"))
            .collect::<Result<Vec<_>, _>>()?;
        let topics = topics
            .into_iter()
            .flatten()
            .filter_map(|topic| TopicName::new(topic).ok())
            .collect();
        let user_data = reader.bytes("user data")?.map(<[u8]>::to_vec);
        let owned = if version >= 1 {
            reader.partitions()?
        } else {
            Vec::new()
        };
        let generation = if version >= 2 {
            reader.int32("generation")?
        } else {
            -1
        };
        let rack = if version >= 3 {
            reader.string("rack")?.map(str::to_owned)
        } else {
            None
        };
        Ok(Self {
            topics,
            user_data,
            owned,
            generation,
            rack,
        })
    }
}

impl Assignment {
    /// The bytes for SyncGroup, version 3.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = VERSION.to_be_bytes().to_vec();
        put_partitions(&mut out, &self.partitions);
        put_bytes(&mut out, self.user_data.as_deref());
        out
    }

    /// Reads what a leader of any make wrote. No bytes at all mean no partitions: that is what a coordinator answers
    /// a member that the leader left out.
    ///
    /// # Errors
    /// When the bytes are not an assignment.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut reader = Reader { left: bytes };
        reader.version()?;
        let partitions = reader.partitions()?;
        let user_data = reader.bytes("user data")?.map(<[u8]>::to_vec);
        Ok(Self {
            partitions,
            user_data,
        })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(i32::try_from(count).unwrap_or(i32::MAX).to_be_bytes());
}

/// Topic names have at most 249 bytes; a rack that is longer than the form allows is cut away.
fn put_string(out: &mut Vec<u8>, text: &str) {
    let (length, text) = i16::try_from(text.len()).map_or((0, ""), |length| (length, text));
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_count(out, bytes.len());
            out.extend(bytes);
        }
        None => out.extend((-1_i32).to_be_bytes()),
    }
}

/// Partitions grouped by topic, both sorted, as Java writes them.
fn put_partitions(out: &mut Vec<u8>, partitions: &[TopicPartition]) {
    let mut sorted: Vec<&TopicPartition> = partitions.iter().collect();
    sorted.sort();
    sorted.dedup();
    let groups: Vec<&[&TopicPartition]> = sorted.chunk_by(|a, b| a.topic == b.topic).collect();
    put_count(out, groups.len());
    for group in groups {
        if let Some(first) = group.first() {
            put_string(out, first.topic.as_str());
        }
        put_count(out, group.len());
        for partition in group {
            out.extend(partition.partition.to_be_bytes());
        }
    }
}

/// Reads big-endian fields and never beyond the end.
struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, field: &'static str, needed: usize) -> Result<&'a [u8], Malformed> {
        let left = self.left.len();
        let (taken, rest) =
            self.left
                .split_at_checked(needed)
                .ok_or(Malformed::CutOff { field, needed, left })?;
        self.left = rest;
        Ok(taken)
    }

    fn int16(&mut self, field: &'static str) -> Result<i16, Malformed> {
        let bytes = self.take(field, 2)?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | i16::from(*byte)))
    }

    fn int32(&mut self, field: &'static str) -> Result<i32, Malformed> {
        let bytes = self.take(field, 4)?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | i32::from(*byte)))
    }

    fn version(&mut self) -> Result<i16, Malformed> {
        match self.int16("version")? {
            version if version < 0 => Err(Malformed::Negative {
                field: "version",
                value: i64::from(version),
            }),
            version => Ok(version),
        }
    }

    /// An array's length, of which each element takes at least `element` bytes. A null array is an empty one.
    fn count(&mut self, field: &'static str, element: usize) -> Result<usize, Malformed> {
        let value = self.int32(field)?;
        if value == -1 {
            return Ok(0);
        }
        let count = usize::try_from(value).map_err(|_| Malformed::Negative {
            field,
            value: i64::from(value),
        })?;
        let needed = count.saturating_mul(element);
        if needed > self.left.len() {
            return Err(Malformed::CutOff {
                field,
                needed,
                left: self.left.len(),
            });
        }
        Ok(count)
    }

    fn string(&mut self, field: &'static str) -> Result<Option<&'a str>, Malformed> {
        let length = self.int16(field)?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| Malformed::Negative {
            field,
            value: i64::from(length),
        })?;
        std::str::from_utf8(self.take(field, length)?)
            .map(Some)
            .map_err(|_| Malformed::NotText { field })
    }

    fn bytes(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        let length = self.int32(field)?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| Malformed::Negative {
            field,
            value: i64::from(length),
        })?;
        self.take(field, length).map(Some)
    }

    fn partitions(&mut self) -> Result<Vec<TopicPartition>, Malformed> {
        let mut partitions = Vec::new();
        for _ in 0..self.count("partitions by topic", 6)? {
            let topic = self.string("topic")?.and_then(|topic| TopicName::new(topic).ok());
            for _ in 0..self.count("partitions", 4)? {
                let partition = self.int32("partition")?;
                if let (Some(topic), true) = (&topic, partition >= 0) {
                    partitions.push(TopicPartition {
                        topic: topic.clone(),
                        partition,
                    });
                }
            }
        }
        Ok(partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    fn partition(name: &str, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: topic(name),
            partition,
        }
    }

    fn sample() -> Subscription {
        Subscription {
            topics: vec![topic("a"), topic("b")],
            user_data: Some(vec![0, 0, 0, 7]),
            owned: vec![partition("a", 1), partition("a", 3), partition("b", 0)],
            generation: 7,
            rack: Some("r1".to_owned()),
        }
    }

    #[test]
    fn subscriptions_are_written_as_java_writes_version_3() {
        let expected = [
            &[0, 3, 0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b'][..],
            &[0, 0, 0, 4, 0, 0, 0, 7],
            &[0, 0, 0, 2, 0, 1, b'a', 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3],
            &[0, 1, b'b', 0, 0, 0, 1, 0, 0, 0, 0],
            &[0, 0, 0, 7, 0, 2, b'r', b'1'],
        ]
        .concat();
        assert_eq!(sample().encode(), expected);
        assert_eq!(Subscription::decode(&expected), Ok(sample()));
    }

    #[test]
    fn older_versions_lack_the_later_fields() {
        let full = sample().encode();
        for (version, length, owned, generation) in [(0, 20, 0, -1), (1, 50, 3, -1), (2, 54, 3, 7)] {
            let mut bytes = full[..length].to_vec();
            bytes[1] = version;
            let read = Subscription::decode(&bytes).unwrap();
            assert_eq!(
                (read.owned.len(), read.generation),
                (owned, generation),
                "version {version}"
            );
            assert_eq!(read.topics, sample().topics);
            assert_eq!(read.rack, None);
        }
        let mut newer = full;
        newer[1] = 9;
        newer.extend([1, 2, 3]);
        assert_eq!(Subscription::decode(&newer), Ok(sample()));
    }

    #[test]
    fn assignments_go_both_ways() {
        let assignment = Assignment {
            partitions: vec![partition("a", 0), partition("b", 2)],
            user_data: None,
        };
        assert_eq!(Assignment::decode(&assignment.encode()), Ok(assignment));
        assert_eq!(Assignment::decode(&[]), Ok(Assignment::default()));
    }

    #[test]
    fn lying_counts_are_refused_before_anything_is_allocated() {
        let mut bytes = vec![0, 3];
        bytes.extend(i32::MAX.to_be_bytes());
        assert!(matches!(
            Subscription::decode(&bytes),
            Err(Malformed::CutOff { field: "topics", .. })
        ));
        assert!(matches!(
            Assignment::decode(&bytes),
            Err(Malformed::CutOff { .. })
        ));
        assert!(matches!(
            Subscription::decode(&[0xff, 0xfe, 0, 0, 0, 0]),
            Err(Malformed::Negative {
                field: "version",
                value: -2
            })
        ));
    }

    #[test]
    fn names_that_no_topic_can_have_are_left_out() {
        let bytes = [0, 0, 0, 0, 0, 2, 0, 1, b'/', 0, 1, b'a', 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Subscription::decode(&bytes).unwrap().topics, [topic("a")]);
    }

    /// What is kept of `length` foreign bytes is never more than those bytes can name: a name takes two at the least, a
    /// partition four.
    fn check_bounds(bytes: &[u8]) {
        if let Ok(read) = Subscription::decode(bytes) {
            assert!(read.topics.len() * 2 <= bytes.len());
            assert!(read.owned.len() * 4 <= bytes.len());
            assert!(read.user_data.is_none_or(|data| data.len() <= bytes.len()));
        }
        if let Ok(read) = Assignment::decode(bytes) {
            assert!(read.partitions.len() * 4 <= bytes.len());
        }
    }

    fn subscriptions() -> impl Strategy<Value = Subscription> {
        let partitions = proptest::collection::btree_set(("[a-z]{1,9}", 0..i32::MAX), 0..9);
        let data = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9));
        let topics = proptest::collection::vec("[a-zA-Z0-9_-]{1,249}", 0..9);
        (
            topics,
            data,
            partitions,
            any::<i32>(),
            proptest::option::of("\\PC{0,20}"),
        )
            .prop_map(|(topics, user_data, owned, generation, rack)| Subscription {
                topics: topics.iter().map(|name| topic(name)).collect(),
                user_data,
                owned: owned
                    .into_iter()
                    .map(|(name, index)| partition(&name, index))
                    .collect(),
                generation,
                rack,
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(subscription in subscriptions()) {
            prop_assert_eq!(Subscription::decode(&subscription.encode()), Ok(subscription.clone()));
            let assignment = Assignment { partitions: subscription.owned, user_data: subscription.user_data };
            prop_assert_eq!(Assignment::decode(&assignment.encode()), Ok(assignment));
        }

        #[test]
        fn foreign_bytes_neither_panic_nor_grow(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            check_bounds(&bytes);
        }

        #[test]
        fn damaged_bytes_neither_panic_nor_grow(
            subscription in subscriptions(),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let assignment = Assignment { partitions: subscription.owned.clone(), user_data: None };
            for mut bytes in [subscription.encode(), assignment.encode()] {
                for (at, byte) in &damage {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                check_bounds(&bytes);
                check_bounds(&bytes[..cut.index(bytes.len())]);
            }
        }
    }
}
