//! Little-endian fields, and a row's bytes.

use bytes::Bytes;
use evenkeel_event::TopicId;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::{Stamp, Stamping};

use crate::{Kind, Row};

/// Takes fields off the front of a slice; `None` when too little is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'bytes> {
    rest: &'bytes [u8],
}

/// A row with what was appended to its place before it.
#[derive(Debug, Clone)]
pub(super) struct Decoded {
    pub(super) position: u64,
    pub(super) row: Row,
    pub(super) before: Totals,
}

/// Records and their bytes, counted from the first row that a place ever had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// Bytes in front of a row's body: its length and its checksum.
pub(super) const ROW_HEADER_BYTES: usize = 8;

impl Totals {
    pub(super) fn plus(self, row: &Row) -> Self {
        Self {
            events: self.events.saturating_add(u64::from(row.count)),
            bytes: self.bytes.saturating_add(row.records.len() as u64),
        }
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_sub(other.events),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    pub(super) const fn add(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_add(other.events),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl<'bytes> Fields<'bytes> {
    pub(crate) const fn new(rest: &'bytes [u8]) -> Self {
        Self { rest }
    }

    pub(crate) const fn rest(&self) -> &'bytes [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'bytes [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    pub(super) fn totals(&mut self) -> Option<Totals> {
        Some(Totals {
            events: self.u64()?,
            bytes: self.u64()?,
        })
    }

    pub(crate) fn stamping(&mut self) -> Option<Stamping> {
        let flags = self.u8()?;
        Some(Stamping {
            stamp: Stamp {
                producer_id: self.i64()?,
                epoch: self.i16()?,
                base_sequence: self.i32()?,
                count: self.i32()?,
            },
            at: Timestamp::from_millis(self.i64()?),
            topic_id: TopicId(self.array()?),
            search_from: Some(self.i64()?).filter(|_| flags & 1 != 0),
            possible_double: flags & 2 != 0,
        })
    }
}

pub(super) fn put_totals(out: &mut Vec<u8>, totals: Totals) {
    out.extend_from_slice(&totals.events.to_le_bytes());
    out.extend_from_slice(&totals.bytes.to_le_bytes());
}

/// Bytes that [`put_stamping`] writes.
pub(super) const STAMPING_BYTES: usize = 51;

pub(crate) fn put_stamping(out: &mut Vec<u8>, stored: &Stamping) {
    out.push(u8::from(stored.search_from.is_some()) | u8::from(stored.possible_double) << 1);
    out.extend_from_slice(&stored.stamp.producer_id.to_le_bytes());
    out.extend_from_slice(&stored.stamp.epoch.to_le_bytes());
    out.extend_from_slice(&stored.stamp.base_sequence.to_le_bytes());
    out.extend_from_slice(&stored.stamp.count.to_le_bytes());
    out.extend_from_slice(&stored.at.millis().to_le_bytes());
    out.extend_from_slice(&stored.topic_id.0);
    out.extend_from_slice(&stored.search_from.unwrap_or(0).to_le_bytes());
}

/// Writes a row: length, checksum over place and body, then the body.
pub(super) fn put_row(out: &mut Vec<u8>, place: u32, position: u64, before: Totals, row: &Row) {
    let start = out.len();
    out.extend_from_slice(&[0; ROW_HEADER_BYTES]);
    out.extend_from_slice(&position.to_le_bytes());
    out.push(match row.kind {
        Kind::Event => 0,
        Kind::Letter => 1,
    });
    out.push(u8::from(row.stamping.is_some()));
    out.extend_from_slice(&row.count.to_le_bytes());
    out.extend_from_slice(&row.appended_at.millis().to_le_bytes());
    put_totals(out, before);
    if let Some(stamping) = &row.stamping {
        put_stamping(out, stamping);
    }
    out.extend_from_slice(&row.records);
    let Some((header, body)) = out
        .get_mut(start..)
        .and_then(<[u8]>::split_first_chunk_mut::<ROW_HEADER_BYTES>)
    else {
        return;
    };
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = row_checksum(place, body).to_le_bytes();
    for (to, from) in header.iter_mut().zip(length.into_iter().chain(checksum)) {
        *to = from;
    }
}

/// The bytes that [`put_row`] writes.
pub(super) fn row_bytes(row: &Row) -> usize {
    let stamping = row.stamping.map_or(0, |_| STAMPING_BYTES);
    ROW_HEADER_BYTES + 8 + 2 + 4 + 8 + 16 + stamping + row.records.len()
}

fn row_checksum(place: u32, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&place.to_le_bytes()), body)
}

/// Takes the next row off `fields`: `None` when its length does not fit, `Some(None)` when its checksum does not.
pub(super) fn take_row(fields: &mut Fields<'_>, place: u32) -> Option<Option<Decoded>> {
    let length = usize::try_from(fields.u32()?).ok()?;
    let checksum = fields.u32()?;
    let body = fields.bytes(length)?;
    Some(
        (checksum == row_checksum(place, body))
            .then(|| decode(body))
            .flatten(),
    )
}

fn decode(body: &[u8]) -> Option<Decoded> {
    let mut fields = Fields::new(body);
    let position = fields.u64()?;
    let kind = match fields.u8()? {
        0 => Kind::Event,
        1 => Kind::Letter,
        _ => return None,
    };
    let flags = fields.u8()?;
    let count = fields.u32()?;
    let appended_at = Timestamp::from_millis(fields.i64()?);
    let before = fields.totals()?;
    let stamping = if flags & 1 == 0 {
        None
    } else {
        Some(fields.stamping()?)
    };
    Some(Decoded {
        position,
        row: Row {
            kind,
            records: Bytes::copy_from_slice(fields.rest()),
            count,
            appended_at,
            stamping,
        },
        before,
    })
}
