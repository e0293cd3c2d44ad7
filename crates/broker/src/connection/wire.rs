//! Requests and answers as bytes, guarded against hostile counts.
//!
//! `kafka-protocol` allocates as many elements as an array claims to have. Only flexible versions (KIP-482) are
//! spoken here, in which every count and length is a varint, so one check on every varint bounds them all: none may
//! be larger than the bytes that are left. The four non-flexible answers are read by hand.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::buf::{ByteBuf, NotEnoughBytesError};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// Where the correlation id stands in a framed request: after length, API key and version.
pub(crate) const CORRELATION_AT: usize = 8;

/// Tags of tagged fields are varints that count nothing; none that we know is above this.
const TAG_MAX: u64 = 1 << 14;

/// A framed request whose correlation id is still 0.
///
/// # Errors
/// When a field is set that this version does not have; the text says which.
pub(crate) fn encode<R: Request>(request: &R, version: i16, client_id: &str) -> Result<BytesMut, String> {
    let size = request.compute_size(version).map_err(|error| error.to_string())?;
    let mut frame = begin::<R>(version, client_id, size)?;
    request
        .encode(&mut frame, version)
        .map_err(|error| error.to_string())?;
    close_frame(&mut frame)?;
    Ok(frame)
}

/// The beginning of a framed request up to its body, with room for a body of `size` bytes; the length is still 0.
pub(crate) fn begin<R: Request>(version: i16, client_id: &str, size: usize) -> Result<BytesMut, String> {
    let mut frame = BytesMut::with_capacity(size + 64 + client_id.len());
    frame.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())))
        .encode(&mut frame, R::header_version(version))
        .map_err(|error| error.to_string())?;
    Ok(frame)
}

/// Writes the frame's length into its first four bytes.
fn close_frame(frame: &mut BytesMut) -> Result<(), String> {
    let length = i32::try_from(frame.len() - 4).map_err(|_| "a request larger than 2 GiB".to_owned())?;
    if let Some(prefix) = frame.get_mut(..4) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Reads an answer's body; `frame` begins with its header.
///
/// # Errors
/// When the bytes are no such answer.
pub(crate) fn decode<R: Request>(frame: Bytes, version: i16) -> Result<R::Response, String> {
    let mut guarded = Guarded::new(frame);
    // The answer to ApiVersions has the oldest header whatever its version, so that anybody can read it (KIP-511).
    ResponseHeader::decode(&mut guarded, R::Response::header_version(version))
        .map_err(|error| error.to_string())?;
    R::Response::decode(&mut guarded, version).map_err(|error| error.to_string())
}

/// Bytes that refuse a varint larger than what is left of them.
#[derive(Debug)]
pub(crate) struct Guarded {
    bytes: Bytes,
    varint: u64,
    shift: u32,
}

impl Guarded {
    pub(crate) const fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            varint: 0,
            shift: 0,
        }
    }

    /// Follows the varint that `byte` may belong to. A Boolean is one byte, 0 or 1, and passes.
    fn follow(&mut self, byte: u8) -> Result<(), TryGetError> {
        self.varint |= u64::from(byte & 0x7f) << self.shift;
        self.shift += 7;
        if byte >= 0x80 && self.shift < 35 {
            return Ok(());
        }
        let value = self.varint;
        (self.varint, self.shift) = (0, 0);
        // A count or length of n is written as n + 1.
        let allowed = (self.bytes.remaining() as u64).saturating_add(1).max(TAG_MAX);
        if value > allowed {
            return Err(TryGetError {
                requested: usize::try_from(value).unwrap_or(usize::MAX),
                available: self.bytes.remaining(),
            });
        }
        Ok(())
    }
}

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        self.follow(byte)?;
        Ok(byte)
    }
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.peek_bytes(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.get_bytes(size)
    }

    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        self.bytes.try_get_bytes(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
    use proptest::prelude::*;

    /// 19 bytes that claim 2^32 - 2 topics would make the decoder ask for hundreds of gigabytes and abort.
    #[test]
    fn a_huge_count_is_refused_before_memory_is_asked_for() {
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        frame.put_u8(0);
        frame.put_i32(0);
        frame.put_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        frame.put_slice(&[0; 5]);
        assert!(decode::<MetadataRequest>(frame.freeze(), 12).is_err());
    }

    proptest! {
        #[test]
        fn mutated_answers_never_panic(position in 0_usize..200, byte: u8, cut in 0_usize..200) {
            let mut frame = BytesMut::new();
            ResponseHeader::default().encode(&mut frame, 1).unwrap();
            sample().encode(&mut frame, 12).unwrap();
            if let Some(target) = frame.get_mut(position) {
                *target = byte;
            }
            frame.truncate(frame.len().saturating_sub(cut % 7));
            drop(decode::<MetadataRequest>(frame.freeze(), 12));
        }
    }

    fn sample() -> MetadataResponse {
        use kafka_protocol::messages::metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        };
        MetadataResponse::default()
            .with_brokers(vec![
                MetadataResponseBroker::default().with_host(StrBytes::from_static_str("localhost")),
            ])
            .with_topics(vec![
                MetadataResponseTopic::default()
                    .with_name(Some(StrBytes::from_static_str("orders").into()))
                    .with_partitions(vec![
                        MetadataResponsePartition::default().with_replica_nodes(vec![1.into(), 2.into()]),
                    ]),
            ])
    }
}
