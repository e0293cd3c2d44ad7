//! Reads the answer to a fetch by hand: its records are not copied, and no count in it is believed.

use bytes::{Buf, Bytes};
use evenkeel_event::TopicPartition;

use super::request::Position;

/// What a fetch brought for one partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The partition.
    pub partition: TopicPartition,
    /// Whether it could be read.
    pub state: State,
    /// The offset behind the last record that all in-sync replicas have; -1 on an error.
    pub high_watermark: i64,
    /// The offset below which all transactions are decided; -1 on an error.
    pub last_stable_offset: i64,
    /// The first offset of the log; -1 when not told.
    pub log_start: i64,
    /// (producer id, first offset) of aborted transactions among the records.
    pub aborted: Vec<(i64, i64)>,
    /// Whole batches, and perhaps one that is cut off. They may begin before the offset asked for.
    pub records: Bytes,
}

/// Whether a partition could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Read,
    /// The offset is not on the log (1).
    OutOfRange,
    /// The log was cut: what lies at and behind `offset` is not what was read before (KIP-595).
    Truncated {
        /// The first offset that must be read again.
        offset: i64,
    },
    /// The broker does not lead it, or its epoch is not ours (5, 6, 74, 75, 76).
    Elsewhere,
    /// Any other code.
    Refused {
        /// Kafka's error code.
        code: i16,
    },
}

impl State {
    /// True when what is known of the cluster may be old.
    #[must_use]
    pub const fn is_suspicious(self) -> bool {
        matches!(self, Self::Elsewhere | Self::Refused { .. })
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) throttle_ms: i32,
    pub(super) code: i16,
    pub(super) partitions: Vec<Fetched>,
}

/// Reads an answer of a flexible version; `None` when it is malformed. Partitions that were not asked for are left out.
pub(super) fn read(mut frame: Bytes, version: i16, asked: &[Position]) -> Option<Response> {
    let body = &mut frame;
    let _correlation = body.try_get_i32().ok()?;
    skip_tags(body)?;
    let throttle_ms = body.try_get_i32().ok()?;
    let code = body.try_get_i16().ok()?;
    let _session = body.try_get_i32().ok()?;
    let mut partitions = Vec::new();
    for _ in 0..count(body)? {
        let topic = topic(body, version)?;
        for _ in 0..count(body)? {
            if let Some(fetched) = partition(body, &topic, asked)? {
                partitions.push(fetched);
            }
        }
        skip_tags(body)?;
    }
    Some(Response {
        throttle_ms,
        code,
        partitions,
    })
}

/// A topic by name up to version 12, by id from 13 on.
enum Topic {
    Name(Bytes),
    Id(Bytes),
}

impl Topic {
    fn is(&self, position: &Position) -> bool {
        match self {
            Self::Name(name) => name.as_ref() == position.partition.topic.as_str().as_bytes(),
            Self::Id(id) => id.as_ref() == position.topic_id.0,
        }
    }
}

fn topic(body: &mut Bytes, version: i16) -> Option<Topic> {
    if version <= 12 {
        let length = count(body)?;
        return Some(Topic::Name(take(body, length)?));
    }
    Some(Topic::Id(take(body, 16)?))
}

/// `Some(None)` for a partition that was not asked for.
#[allow(clippy::option_option, reason = "malformed and not asked for are two things")]
fn partition(body: &mut Bytes, topic: &Topic, asked: &[Position]) -> Option<Option<Fetched>> {
    let index = body.try_get_i32().ok()?;
    let code = body.try_get_i16().ok()?;
    let high_watermark = body.try_get_i64().ok()?;
    let last_stable_offset = body.try_get_i64().ok()?;
    let log_start = body.try_get_i64().ok()?;
    let mut aborted = Vec::new();
    for _ in 0..count(body)? {
        aborted.push((body.try_get_i64().ok()?, body.try_get_i64().ok()?));
        skip_tags(body)?;
    }
    let _preferred_replica = body.try_get_i32().ok()?;
    let length = count(body)?;
    let records = take(body, length)?;
    let diverging = diverging(body)?;
    let position = asked
        .iter()
        .find(|position| position.partition.partition == index && topic.is(position));
    Some(position.map(|position| Fetched {
        partition: position.partition.clone(),
        state: state(code, diverging),
        high_watermark,
        last_stable_offset,
        log_start,
        aborted,
        records,
    }))
}

const fn state(code: i16, diverging: Option<i64>) -> State {
    match (code, diverging) {
        (0, Some(offset)) => State::Truncated { offset },
        (0, None) => State::Read,
        (1, _) => State::OutOfRange,
        (5 | 6 | 74 | 75 | 76, _) => State::Elsewhere,
        (code, _) => State::Refused { code },
    }
}

/// Reads a partition's tagged fields; gives the end offset of tag 0, the diverging epoch.
#[allow(clippy::option_option, reason = "malformed and absent are two things")]
fn diverging(body: &mut Bytes) -> Option<Option<i64>> {
    let mut found = None;
    for _ in 0..varint(body)? {
        let tag = varint(body)?;
        let length = usize::try_from(varint(body)?).ok()?;
        let mut field = take(body, length)?;
        if tag == 0 {
            let epoch = field.try_get_i32().ok()?;
            let end = field.try_get_i64().ok()?;
            found = (epoch >= 0 && end >= 0).then_some(end);
        }
    }
    Some(found)
}

fn skip_tags(body: &mut Bytes) -> Option<()> {
    for _ in 0..varint(body)? {
        let _tag = varint(body)?;
        let length = usize::try_from(varint(body)?).ok()?;
        take(body, length)?;
    }
    Some(())
}

/// A count or length that is written as one more; null counts as none. Never more than the bytes left.
fn count(body: &mut Bytes) -> Option<usize> {
    let count = usize::try_from(varint(body)?).ok()?.saturating_sub(1);
    (count <= body.remaining()).then_some(count)
}

fn varint(body: &mut Bytes) -> Option<u32> {
    let mut value = 0_u32;
    for shift in (0..35).step_by(7) {
        let byte = body.try_get_u8().ok()?;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take(body: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= body.len()).then(|| body.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use evenkeel_event::{TopicId, TopicName};
    use kafka_protocol::messages::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
    };
    use kafka_protocol::messages::{FetchResponse, ResponseHeader};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn asked() -> Vec<Position> {
        vec![Position {
            partition: TopicPartition::new(TopicName::new("orders").unwrap(), 3),
            topic_id: TopicId([7; 16]),
            offset: 10,
            leader_epoch: 1,
            last_epoch: 1,
        }]
    }

    /// `kafka-protocol` as the other reader: what it writes, we read.
    fn frame(version: i16, diverging: i64) -> Bytes {
        let mut data = PartitionData::default()
            .with_partition_index(3)
            .with_high_watermark(20)
            .with_last_stable_offset(18)
            .with_log_start_offset(5)
            .with_aborted_transactions(Some(vec![
                AbortedTransaction::default()
                    .with_producer_id(9.into())
                    .with_first_offset(11),
            ]))
            .with_records(Some(Bytes::from_static(b"batches")));
        if diverging >= 0 {
            data =
                data.with_diverging_epoch(EpochEndOffset::default().with_epoch(2).with_end_offset(diverging));
        }
        let mut topic = FetchableTopicResponse::default().with_partitions(vec![data]);
        topic = if version <= 12 {
            topic.with_topic(StrBytes::from_static_str("orders").into())
        } else {
            topic.with_topic_id(Uuid::from_bytes([7; 16]))
        };
        let mut frame = BytesMut::new();
        ResponseHeader::default().encode(&mut frame, 1).unwrap();
        FetchResponse::default()
            .with_throttle_time_ms(4)
            .with_responses(vec![topic])
            .encode(&mut frame, version)
            .unwrap();
        frame.freeze()
    }

    #[test]
    fn reads_what_kafka_protocol_writes() {
        for version in 12..=17 {
            let response = read(frame(version, -1), version, &asked()).unwrap();
            assert_eq!((response.throttle_ms, response.code), (4, 0));
            let fetched = &response.partitions[0];
            assert_eq!(fetched.state, State::Read);
            assert_eq!(
                (
                    fetched.high_watermark,
                    fetched.last_stable_offset,
                    fetched.log_start
                ),
                (20, 18, 5)
            );
            assert_eq!(fetched.aborted, [(9, 11)]);
            assert_eq!(fetched.records.as_ref(), b"batches");
            let cut = read(frame(version, 8), version, &asked()).unwrap();
            assert_eq!(cut.partitions[0].state, State::Truncated { offset: 8 });
        }
    }

    proptest! {
        #[test]
        fn mutated_answers_never_panic(position in any::<prop::sample::Index>(), byte: u8, cut in 0_usize..9) {
            for version in [12, 17] {
                let mut bytes = frame(version, 8).to_vec();
                let position = position.index(bytes.len());
                bytes[position] = byte;
                bytes.truncate(bytes.len() - cut);
                drop(read(bytes.into(), version, &asked()));
            }
        }
    }
}
