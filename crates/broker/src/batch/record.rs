//! One record as it lies in its batch.

use std::borrow::Cow;

use evenkeel_event::Header;
use evenkeel_event::clock::Timestamp;

/// A record, borrowed from the bytes it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'batch> {
    /// Its offset on the partition.
    pub offset: i64,
    /// Its Kafka timestamp: of the send, or of the append where the topic is set so.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<&'batch [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'batch [u8]>,
    header_count: usize,
    headers: &'batch [u8],
}

impl<'batch> RecordView<'batch> {
    /// The headers in order. A name that is not UTF-8 has its bad bytes replaced.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'batch, str>, Option<&'batch [u8]>)> + use<'batch> {
        self.raw_headers()
            .map(|(name, value)| (String::from_utf8_lossy(name), value))
    }

    /// The value of the first header called `name`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'batch [u8]> {
        self.raw_headers()
            .find(|(found, _)| *found == name.as_bytes())
            .and_then(|(_, value)| value)
    }

    /// The headers, copied out of the batch.
    #[must_use]
    pub fn to_headers(&self) -> Vec<Header> {
        self.headers()
            .map(|(name, value)| Header {
                name: name.into_owned(),
                value: value.map(bytes::Bytes::copy_from_slice),
            })
            .collect()
    }

    pub(super) const fn header_count(&self) -> usize {
        self.header_count
    }

    pub(super) fn raw_headers(
        &self,
    ) -> impl Iterator<Item = (&'batch [u8], Option<&'batch [u8]>)> + use<'batch> {
        let mut rest = self.headers;
        (0..self.header_count).map_while(move |_| take_header(&mut rest))
    }
}

/// Reads the next record from `rest`; `None` when it is malformed.
pub(super) fn take_record<'batch>(
    rest: &mut &'batch [u8],
    base_offset: i64,
    timestamp: impl Fn(i64) -> i64,
) -> Option<RecordView<'batch>> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (mut body, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    let (_attributes, after) = body.split_first()?;
    body = after;
    let timestamp_delta = take_varint(&mut body)?;
    let offset_delta = i32::try_from(take_varint(&mut body)?).ok()?;
    let key = take_field(&mut body)?;
    let value = take_field(&mut body)?;
    let header_count = usize::try_from(take_varint(&mut body)?).ok()?;
    // Each header has two bytes at the least.
    if header_count > body.len() / 2 {
        return None;
    }
    let headers = body;
    for _ in 0..header_count {
        take_header(&mut body)?;
    }
    body.is_empty().then_some(RecordView {
        offset: base_offset.checked_add(i64::from(offset_delta))?,
        timestamp: Timestamp::from_millis(timestamp(timestamp_delta)),
        key,
        value,
        header_count,
        headers,
    })
}

fn take_header<'batch>(rest: &mut &'batch [u8]) -> Option<(&'batch [u8], Option<&'batch [u8]>)> {
    let name = take_field(rest)??;
    let value = take_field(rest)?;
    Some((name, value))
}

/// A field behind its length; a length of -1 is null.
#[allow(clippy::option_option, reason = "malformed and null are two things")]
fn take_field<'batch>(rest: &mut &'batch [u8]) -> Option<Option<&'batch [u8]>> {
    let length = take_varint(rest)?;
    if length == -1 {
        return Some(None);
    }
    let (field, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = behind;
    Some(Some(field))
}

/// A zigzag varint of at most ten bytes.
fn take_varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}
