//! What one group commit writes: a frame of steps, all or none of which are there after a crash.
//!
//! ```text
//! frame = magic u32 | body length u32 | body checksum u32 | header checksum u32 | body
//! body  = step*
//! step  = tag u8 | length u16 | fields | checksum u32 | for rows: the rows, each with its own checksum
//! ```

use evenkeel_event::TopicName;

use evenkeel_flow::session::{ProducerEpoch, StampedRange};

use super::codec::{Fields, Totals, put_row, put_stamping, put_totals, row_bytes};
use crate::{AppendId, Place, Row, Span};

/// Bytes in front of a frame's body.
pub(super) const HEADER_BYTES: usize = 16;
const MAGIC: u32 = 0x4653_4b45;

/// Rows of one place that lie behind each other in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// Position of the first record; the others follow without a hole.
    pub(super) position: u64,
    /// Records, at least 1.
    pub(super) count: u32,
    /// Where they begin. In a step: behind the beginning of the body; in a segment: in its file.
    pub(super) offset: u32,
    /// Their bytes.
    pub(super) bytes: u32,
}

impl Block {
    /// The position after its last record.
    pub(super) fn end(&self) -> u64 {
        self.position + u64::from(self.count)
    }
}

/// One change of what the store holds.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// What follows up to the end of the frame is everything the store knows.
    Snapshot { next_place: u32 },
    /// Gives a place its short number.
    Define { place: u32, name: Place },
    /// How far a place had come, in a snapshot.
    Restore { place: u32, span: Span, totals: Totals },
    /// An append that is remembered, in a snapshot.
    Remember { id: AppendId, position: u64 },
    /// Rows were appended.
    Rows {
        place: u32,
        id: Option<AppendId>,
        block: Block,
        totals: Totals,
    },
    /// Records were stamped.
    Stamp { place: u32, range: StampedRange },
    /// What stamps covered these positions no longer counts, in a snapshot.
    Void { place: u32, span: Span },
    /// Records were removed.
    Remove { place: u32, below: u64 },
    /// A producer id stamped records of a place under this epoch.
    Epoch { place: u32, used: ProducerEpoch },
}

/// Why the bytes at a position are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Fewer bytes than the frame says, or no frame's beginning.
    Incomplete,
    /// The checksum over the body does not fit.
    Checksum { body_bytes: usize },
}

/// The body of the frame at the beginning of `bytes` in segment `segment`.
pub(super) fn open(bytes: &[u8], segment: u64) -> Result<&[u8], Flaw> {
    let mut fields = Fields::new(bytes);
    let header = fields.bytes(12).ok_or(Flaw::Incomplete)?;
    let header_checksum = fields.u32().ok_or(Flaw::Incomplete)?;
    let mut parts = Fields::new(header);
    let (magic, length, checksum) = match (parts.u32(), parts.u32(), parts.u32()) {
        (Some(magic), Some(length), Some(checksum)) => (magic, length as usize, checksum),
        _ => return Err(Flaw::Incomplete),
    };
    if magic != MAGIC || header_checksum != header_check(header, segment) {
        return Err(Flaw::Incomplete);
    }
    let body = fields.bytes(length).ok_or(Flaw::Incomplete)?;
    if crc32c::crc32c(body) == checksum {
        Ok(body)
    } else {
        Err(Flaw::Checksum { body_bytes: length })
    }
}

/// Where the next whole frame of `segment` begins at or behind `from`.
pub(super) fn find(bytes: &[u8], from: usize, segment: u64) -> Option<usize> {
    let magic = MAGIC.to_le_bytes();
    let candidates = bytes.get(from..)?.windows(magic.len()).enumerate();
    candidates
        .filter(|(_, window)| *window == magic)
        .map(|(at, _)| from + at)
        .find(|at| bytes.get(*at..).is_some_and(|rest| open(rest, segment).is_ok()))
}

fn header_check(header: &[u8], segment: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), header)
}

/// A frame that is being written.
#[derive(Debug)]
pub(super) struct Draft {
    bytes: Vec<u8>,
}

impl Draft {
    /// An empty frame in `buffer`, whose room is used again.
    pub(super) fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(HEADER_BYTES, 0);
        Self { bytes: buffer }
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.bytes.len() - HEADER_BYTES
    }

    /// Writes a step that has no rows.
    pub(super) fn put(&mut self, step: &Step) {
        let out = &mut self.bytes;
        match step {
            Step::Snapshot { next_place } => put_step(out, 0, |out| {
                out.extend_from_slice(&next_place.to_le_bytes());
            }),
            Step::Define { place, name } => put_step(out, 1, |out| {
                out.extend_from_slice(&place.to_le_bytes());
                out.extend_from_slice(&name.partition.unwrap_or(-1).to_le_bytes());
                out.extend_from_slice(name.topic.as_str().as_bytes());
            }),
            Step::Restore { place, span, totals } => put_step(out, 2, |out| {
                out.extend_from_slice(&place.to_le_bytes());
                out.extend_from_slice(&span.head.to_le_bytes());
                out.extend_from_slice(&span.tail.to_le_bytes());
                put_totals(out, *totals);
            }),
            Step::Remember { id, position } => put_step(out, 3, |out| {
                put_id(out, *id);
                out.extend_from_slice(&position.to_le_bytes());
            }),
            Step::Stamp { place, range } => put_step(out, 5, |out| {
                out.extend_from_slice(&place.to_le_bytes());
                out.extend_from_slice(&range.position.to_le_bytes());
                put_stamping(out, &range.stamping);
            }),
            Step::Remove { place, below } => put_step(out, 6, |out| {
                out.extend_from_slice(&place.to_le_bytes());
                out.extend_from_slice(&below.to_le_bytes());
            }),
            Step::Void { place, span } => put_step(out, 7, |out| {
                out.extend_from_slice(&place.to_le_bytes());
                out.extend_from_slice(&span.head.to_le_bytes());
                out.extend_from_slice(&span.tail.to_le_bytes());
            }),
            Step::Epoch { place, used } => put_step(out, 8, |out| {
                out.extend_from_slice(&place.to_le_bytes());
                out.extend_from_slice(&used.producer_id.to_le_bytes());
                out.extend_from_slice(&used.epoch.to_le_bytes());
            }),
            // Written by `put_rows`, which makes it.
            Step::Rows { .. } => {}
        }
    }

    /// Writes rows of `place` from `position` on and returns the step that they make. `before` is what the place had
    /// been given before.
    pub(super) fn put_rows<'row>(
        &mut self,
        place: u32,
        id: Option<AppendId>,
        position: u64,
        before: Totals,
        rows: impl Iterator<Item = &'row Row> + Clone,
    ) -> Step {
        let (mut bytes, mut totals) = (0_usize, Totals::default());
        for row in rows.clone() {
            bytes += row_bytes(row);
            totals = totals.plus(row);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let count = u32::try_from(totals.events).unwrap_or(u32::MAX);
        put_step(&mut self.bytes, 4, |out| {
            out.extend_from_slice(&place.to_le_bytes());
            out.push(u8::from(id.is_some()));
            put_id(
                out,
                id.unwrap_or(AppendId {
                    process: 0,
                    number: 0,
                }),
            );
            out.extend_from_slice(&position.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
            out.extend_from_slice(&bytes.to_le_bytes());
            put_totals(out, totals);
        });
        let offset = u32::try_from(self.body_bytes()).unwrap_or(u32::MAX);
        let (mut at, mut so_far) = (position, before);
        for row in rows {
            put_row(&mut self.bytes, place, at, so_far, row);
            at += u64::from(row.count);
            so_far = so_far.plus(row);
        }
        Step::Rows {
            place,
            id,
            block: Block {
                position,
                count,
                offset,
                bytes,
            },
            totals,
        }
    }

    /// The finished frame for `segment`.
    pub(super) fn finish(mut self, segment: u64) -> Vec<u8> {
        if let Some((header, body)) = self.bytes.split_first_chunk_mut::<HEADER_BYTES>() {
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            let fields = [MAGIC, length, crc32c::crc32c(body)];
            let mut bytes = Vec::with_capacity(HEADER_BYTES);
            for field in fields {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
            let checksum = header_check(&bytes, segment);
            bytes.extend_from_slice(&checksum.to_le_bytes());
            header.copy_from_slice(&bytes);
        }
        self.bytes
    }
}

fn put_id(out: &mut Vec<u8>, id: AppendId) {
    out.extend_from_slice(&id.process.to_le_bytes());
    out.extend_from_slice(&id.number.to_le_bytes());
}

fn put_step(out: &mut Vec<u8>, tag: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[tag, 0, 0]);
    fields(out);
    let length = u16::try_from(out.len() - start - 3)
        .unwrap_or(u16::MAX)
        .to_le_bytes();
    if let Some([_, low, high, ..]) = out.get_mut(start..) {
        [*low, *high] = length;
    }
    let checksum = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// Reads the steps of a frame's body.
#[derive(Debug)]
pub(super) struct Steps<'body> {
    fields: Fields<'body>,
    body_bytes: usize,
}

impl<'body> Steps<'body> {
    pub(super) const fn new(body: &'body [u8]) -> Self {
        Self {
            fields: Fields::new(body),
            body_bytes: body.len(),
        }
    }

    /// Bytes of the body read so far.
    pub(super) const fn position(&self) -> usize {
        self.body_bytes - self.fields.rest().len()
    }

    /// The next step; `None` at the end, an error where the bytes make no step.
    pub(super) fn next(&mut self) -> Option<Result<Step, ()>> {
        if self.fields.rest().is_empty() {
            return None;
        }
        let mut ahead = self.fields;
        let step = take_step(&mut ahead, self.body_bytes);
        if step.is_some() {
            self.fields = ahead;
        }
        Some(step.ok_or(()))
    }
}

fn take_step(fields: &mut Fields<'_>, body_bytes: usize) -> Option<Step> {
    let start = *fields;
    let tag = fields.u8()?;
    let length = usize::from(fields.u16()?);
    let mut parts = Fields::new(fields.bytes(length)?);
    let checked = start.rest().get(..3 + length)?;
    if fields.u32()? != crc32c::crc32c(checked) {
        return None;
    }
    let offset = u32::try_from(body_bytes - fields.rest().len()).ok()?;
    match tag {
        4 => take_rows(&mut parts, fields, offset),
        _ => take_plain(tag, &mut parts),
    }
}

fn take_rows(parts: &mut Fields<'_>, fields: &mut Fields<'_>, offset: u32) -> Option<Step> {
    let place = parts.u32()?;
    let identified = parts.u8()? != 0;
    let id = take_id(parts)?;
    let (position, count, bytes) = (parts.u64()?, parts.u32()?, parts.u32()?);
    fields.bytes(usize::try_from(bytes).ok()?)?;
    Some(Step::Rows {
        place,
        id: identified.then_some(id),
        block: Block {
            position,
            count,
            offset,
            bytes,
        },
        totals: parts.totals()?,
    })
}

fn take_plain(tag: u8, parts: &mut Fields<'_>) -> Option<Step> {
    Some(match tag {
        0 => Step::Snapshot {
            next_place: parts.u32()?,
        },
        1 => {
            let place = parts.u32()?;
            let partition = parts.i32()?;
            let topic = TopicName::new(std::str::from_utf8(parts.rest()).ok()?).ok()?;
            let partition = (partition != -1).then_some(partition);
            Step::Define {
                place,
                name: Place { topic, partition },
            }
        }
        2 => Step::Restore {
            place: parts.u32()?,
            span: take_span(parts)?,
            totals: parts.totals()?,
        },
        3 => Step::Remember {
            id: take_id(parts)?,
            position: parts.u64()?,
        },
        5 => Step::Stamp {
            place: parts.u32()?,
            range: StampedRange {
                position: parts.u64()?,
                stamping: parts.stamping()?,
            },
        },
        7 => Step::Void {
            place: parts.u32()?,
            span: take_span(parts)?,
        },
        6 => Step::Remove {
            place: parts.u32()?,
            below: parts.u64()?,
        },
        8 => Step::Epoch {
            place: parts.u32()?,
            used: ProducerEpoch {
                producer_id: parts.i64()?,
                epoch: parts.i16()?,
            },
        },
        _ => return None,
    })
}

fn take_id(parts: &mut Fields<'_>) -> Option<AppendId> {
    Some(AppendId {
        process: parts.u128()?,
        number: parts.u64()?,
    })
}

fn take_span(parts: &mut Fields<'_>) -> Option<Span> {
    Some(Span {
        head: parts.u64()?,
        tail: parts.u64()?,
    })
}
