//! The Produce request (KIP-482, KIP-516), written by hand so that batches go into it as they lie: the library would copy
//! every byte that is published once more.

use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use kafka_protocol::messages::ProduceRequest;

use crate::batch::HEADER_BYTES;
use crate::connection::frame::Frame;
use crate::connection::wire;
use crate::produce::Outgoing;

/// The last version that names topics; from 13 on their ids are sent, and a topic that was created again is not taken
/// for the old one.
pub(crate) const NAMED_TOPICS_AT_MOST: i16 = 12;
/// Wait for all replicas that are in sync.
const ACKS_ALL: i16 = -1;

/// A framed request for `batches` in `version`, 9 to 13.
///
/// # Errors
/// When it is too large for a request.
pub(crate) fn encode(
    batches: &[Outgoing],
    version: i16,
    timeout: Duration,
    client_id: &str,
) -> Result<Frame, String> {
    let mut frame = Frame::new(wire::begin::<ProduceRequest>(version, client_id, 128)?);
    let topics = by_topic(batches, version);
    let out = frame.small();
    put_length(out, None);
    out.put_i16(ACKS_ALL);
    out.put_i32(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
    put_length(out, Some(topics.len()));
    for batches in topics {
        let out = frame.small();
        if let Some(first) = batches.first() {
            put_topic(out, first, version);
        }
        put_length(out, Some(batches.len()));
        for batch in batches {
            put_batch(&mut frame, batch);
        }
        // Each structure ends with the number of its tagged fields.
        put_length(frame.small(), None);
    }
    put_length(frame.small(), None);
    frame.close()?;
    Ok(frame)
}

fn by_topic(batches: &[Outgoing], version: i16) -> Vec<Vec<&Outgoing>> {
    let mut topics: Vec<Vec<&Outgoing>> = Vec::new();
    for batch in batches {
        let same = topics.iter_mut().find(|topic| {
            topic.first().is_some_and(|first| {
                if version > NAMED_TOPICS_AT_MOST {
                    first.topic_id == batch.topic_id
                } else {
                    first.partition.topic == batch.partition.topic
                }
            })
        });
        match same {
            Some(topic) => topic.push(batch),
            None => topics.push(vec![batch]),
        }
    }
    topics
}

fn put_topic(out: &mut BytesMut, batch: &Outgoing, version: i16) {
    if version > NAMED_TOPICS_AT_MOST {
        return out.put_slice(&batch.topic_id.0);
    }
    let name = batch.partition.topic.as_str();
    put_length(out, Some(name.len()));
    out.put_slice(name.as_bytes());
}

fn put_batch(frame: &mut Frame, batch: &Outgoing) {
    let out = frame.small();
    out.put_i32(batch.partition.partition);
    put_length(out, Some(batch.bytes.len()));
    match &batch.header {
        Some(header) => {
            out.put_slice(header);
            frame.large(batch.bytes.slice(HEADER_BYTES.min(batch.bytes.len())..));
        }
        None => frame.large(batch.bytes.clone()),
    }
    put_length(frame.small(), None);
}

/// A length as compact types have it: one more than it is, as a varint; 0 for null.
fn put_length(out: &mut BytesMut, length: Option<usize>) {
    let mut rest = length.map_or(0, |length| length.saturating_add(1));
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Builder, Compression, stamped_header};
    use bytes::{Buf as _, Bytes};
    use evenkeel_event::clock::Timestamp;
    use evenkeel_event::{TopicId, TopicName};
    use evenkeel_flow::Stamp;
    use kafka_protocol::messages::RequestHeader;
    use kafka_protocol::protocol::{Decodable as _, Encodable as _, HeaderVersion as _};

    fn batch(topic: &str, partition: i32, size: usize) -> Outgoing {
        let mut builder = Builder::new(1 << 20);
        let (value, now) = (vec![7; size], Timestamp::from_millis(5));
        builder.push(None, Some(&value), &[], now).unwrap();
        let bytes = builder.finish(Compression::None).unwrap().unstamped().unwrap();
        let id = TopicId([topic.len() as u8; 16]);
        Outgoing::new(TopicName::new(topic).unwrap(), id, partition, bytes)
    }

    /// What the library reads from ours it writes again as ours.
    #[test]
    fn the_library_agrees_in_every_version() {
        let stamp = Stamp {
            producer_id: 9,
            epoch: 1,
            base_sequence: 3,
            count: 1,
        };
        let mut batches = vec![
            batch("orders", 0, 10),
            batch("payments", 3, 200),
            batch("orders", 1, 70_000),
        ];
        let plain = batches[1].bytes.clone();
        let header = stamped_header(&plain, &stamp, Timestamp::from_millis(8)).unwrap();
        batches[1].header = Some(header);
        for version in 9..=13 {
            let mut frame = encode(&batches, version, Duration::from_secs(3), "us").unwrap();
            let whole = frame.copy_to_bytes(frame.remaining());
            assert_eq!(whole.len() - 4, usize::try_from(whole.clone().get_i32()).unwrap());
            let mut rest = whole.slice(4..);
            let header_version = ProduceRequest::header_version(version);
            let header_read = RequestHeader::decode(&mut rest, header_version).unwrap();
            assert_eq!(header_read.client_id.as_deref(), Some("us"));
            let body: Bytes = rest.clone();
            let request = ProduceRequest::decode(&mut rest, version).unwrap();
            assert!(rest.is_empty());
            let mut again = BytesMut::new();
            request.encode(&mut again, version).unwrap();
            assert_eq!(again, body, "version {version}");
            assert_eq!(
                (request.acks, request.timeout_ms, request.topic_data.len()),
                (-1, 3_000, 2)
            );
            let orders = &request.topic_data[0].partition_data;
            assert_eq!(orders[1].records.as_ref(), Some(&batches[2].bytes));
            let stamped = request.topic_data[1].partition_data[0].records.clone().unwrap();
            assert_eq!((&stamped[..61], &stamped[61..]), (&header[..], &plain[61..]));
            assert_eq!(crate::batch::read_stamp(&stamped), Some(stamp));
            crate::batch::Batch::read(stamped).unwrap();
        }
    }
}
