//! Blocks: the rows of one append as bytes, with a checksum over each, so that a damaged row costs its neighbours nothing.
//!
//! ```text
//! format u8 │ bytes of the place before it u64 │ rows u32 │ per row: kind u8, records u32, parked at i64, bytes u32, checksum u32
//! │ checksum over all that, place and position u32 │ the rows' bytes
//! ```
//! Little-endian; checksums are CRC-32C.

use std::ops::Range;

use bytes::Bytes;
use evenkeel_event::clock::Timestamp;

use super::keeper::Block;
use super::wire::put_place;
use crate::disk::codec::Fields;
use crate::{Kind, Place, Row, StoredRow};

const FORMAT: u8 = 1;
/// Bytes of a row in the index.
const ENTRY_BYTES: usize = 21;
/// A block that has reached this size takes no further row.
const BLOCK_BYTES: usize = 256 * 1024;

/// A block as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Decoded {
    /// Its rows that can be read, in order, each with the bytes of all rows that the place ever had before it.
    pub(super) rows: Vec<(StoredRow, u64)>,
    /// Positions of those that cannot.
    pub(super) damaged: Vec<Range<u64>>,
}

/// Puts rows into blocks, the first at `position`, where the place had `before` bytes before.
pub(super) fn write(place: &Place, mut position: u64, mut before: u64, rows: &[Row]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rest = rows;
    while !rest.is_empty() {
        let (taken, behind) = rest.split_at(rows_of_one(rest));
        let end = position + taken.iter().map(|row| u64::from(row.count)).sum::<u64>();
        let bytes = write_one(place, position, before, taken);
        before += taken.iter().map(|row| row.records.len() as u64).sum::<u64>();
        blocks.push(Block { position, end, bytes });
        (position, rest) = (end, behind);
    }
    blocks
}

fn rows_of_one(rows: &[Row]) -> usize {
    let mut bytes = 0;
    let fitting = rows.iter().take_while(|row| {
        bytes += ENTRY_BYTES + row.records.len();
        bytes <= BLOCK_BYTES
    });
    fitting.count().max(1)
}

fn write_one(place: &Place, position: u64, before: u64, rows: &[Row]) -> Bytes {
    let records: usize = rows.iter().map(|row| row.records.len()).sum();
    let mut out = Vec::with_capacity(17 + rows.len() * ENTRY_BYTES + records);
    out.push(FORMAT);
    out.extend_from_slice(&before.to_le_bytes());
    out.extend_from_slice(&u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes());
    let mut at = position;
    for row in rows {
        out.push(match row.kind {
            Kind::Event => 0,
            Kind::Letter => 1,
        });
        out.extend_from_slice(&row.count.to_le_bytes());
        out.extend_from_slice(&row.appended_at.millis().to_le_bytes());
        let length = u32::try_from(row.records.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&checksum(place, at, &row.records).to_le_bytes());
        at += u64::from(row.count);
    }
    let index = checksum(place, position, &out);
    out.extend_from_slice(&index.to_le_bytes());
    for row in rows {
        out.extend_from_slice(&row.records);
    }
    out.into()
}

fn checksum(place: &Place, position: u64, bytes: &[u8]) -> u32 {
    let mut named = Vec::new();
    put_place(&mut named, place);
    named.extend_from_slice(&position.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&named), bytes)
}

/// Reads a block. One whose index is damaged, or that another version wrote, is damaged as a whole.
pub(super) fn read(place: &Place, block: &Block) -> Decoded {
    read_rows(place, block).unwrap_or_else(|| Decoded {
        rows: Vec::new(),
        damaged: Vec::from([Range {
            start: block.position,
            end: block.end,
        }]),
    })
}

fn read_rows(place: &Place, block: &Block) -> Option<Decoded> {
    let mut fields = Fields::new(&block.bytes);
    if fields.u8()? != FORMAT {
        return None;
    }
    let mut before = fields.u64()?;
    let count = usize::try_from(fields.u32()?).ok()?;
    let mut index = Fields::new(fields.bytes(count.checked_mul(ENTRY_BYTES)?)?);
    let indexed = block.bytes.len() - fields.rest().len();
    let told = fields.u32()?;
    if told != checksum(place, block.position, block.bytes.get(..indexed)?) {
        return None;
    }
    let mut decoded = Decoded::default();
    let (mut position, mut from) = (block.position, indexed + 4);
    for _ in 0..count {
        let kind = match index.u8()? {
            0 => Kind::Event,
            1 => Kind::Letter,
            _ => return None,
        };
        let (count, appended_at, length) = (index.u32()?, index.i64()?, index.u32()?);
        let (end, to) = (
            position.checked_add(u64::from(count))?,
            from.checked_add(usize::try_from(length).ok()?)?,
        );
        let told = index.u32()?;
        let bytes = block.bytes.get(from..to);
        match bytes.filter(|bytes| checksum(place, position, bytes) == told) {
            None => decoded.damaged.push(position..end),
            Some(_) => {
                let row = Row {
                    kind,
                    records: block.bytes.slice(from..to),
                    count,
                    appended_at: Timestamp::from_millis(appended_at),
                    stamping: None,
                };
                decoded.rows.push((StoredRow { position, row }, before));
            }
        }
        before = before.checked_add(u64::from(length))?;
        (position, from) = (end, to);
    }
    (position == block.end).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use evenkeel_event::TopicName;

    use super::*;

    fn place() -> Place {
        Place {
            topic: TopicName::new("orders").unwrap(),
            partition: Some(3),
        }
    }

    fn row(records: &str, count: u32) -> Row {
        Row {
            kind: Kind::Event,
            records: Bytes::copy_from_slice(records.as_bytes()),
            count,
            appended_at: Timestamp::from_millis(-7),
            stamping: None,
        }
    }

    #[test]
    fn rows_come_back_with_what_was_before_them() {
        let rows = [row("ab", 2), row("", 1), row("cde", 1)];
        let blocks = write(&place(), 10, 100, &rows);
        assert_eq!((blocks.len(), blocks[0].position, blocks[0].end), (1, 10, 14));
        let decoded = read(&place(), &blocks[0]);
        let expected = rows.into_iter().zip([(10, 100), (12, 102), (13, 102)]);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(row, (position, before))| (StoredRow { position, row }, before))
            .collect();
        assert_eq!((decoded.rows, decoded.damaged), (expected, vec![]));
    }

    #[test]
    fn a_large_append_becomes_several_blocks() {
        let big = "x".repeat(100 * 1024);
        let rows = [
            row(&big, 1),
            row(&big, 1),
            row(&big, 1),
            row(&"y".repeat(400 * 1024), 1),
        ];
        let blocks = write(&place(), 0, 0, &rows);
        let ends: Vec<u64> = blocks.iter().map(|block| block.end).collect();
        assert_eq!(ends, [2, 3, 4]);
        let found: Vec<_> = blocks
            .iter()
            .flat_map(|block| read(&place(), block).rows)
            .collect();
        assert_eq!(found.len(), 4);
        assert_eq!(found[3].1, 300 * 1024);
    }

    #[test]
    fn a_damaged_row_costs_its_neighbours_nothing_and_every_flipped_bit_is_seen() {
        let rows = [row("ab", 1), row("cd", 2), row("ef", 1)];
        let block = write(&place(), 5, 0, &rows).remove(0);
        let whole = read(&place(), &block);
        let mut single = 0;
        for byte in 0..block.bytes.len() {
            for bit in 0..8 {
                let mut bytes = block.bytes.to_vec();
                bytes[byte] ^= 1 << bit;
                let decoded = read(
                    &place(),
                    &Block {
                        bytes: bytes.into(),
                        ..block.clone()
                    },
                );
                assert!(!decoded.damaged.is_empty(), "byte {byte} bit {bit}");
                assert!(decoded.rows.iter().all(|row| whole.rows.contains(row)));
                single += usize::from(decoded.damaged.iter().eq([&(6..8)]) && decoded.rows.len() == 2);
            }
        }
        assert_eq!(single, 16, "of the middle row's two bytes");
        for length in 0..block.bytes.len() {
            let bytes = block.bytes.slice(..length);
            let cut = Block {
                bytes,
                ..block.clone()
            };
            assert!(!read(&place(), &cut).damaged.is_empty());
        }
    }

    #[test]
    fn a_block_of_another_place_or_position_is_not_taken_for_this_one() {
        let block = write(&place(), 5, 0, &[row("ab", 1)]).remove(0);
        let other = Place {
            partition: None,
            ..place()
        };
        assert!(read(&other, &block).rows.is_empty());
        let moved = Block {
            position: 6,
            end: 7,
            ..block
        };
        assert!(read(&place(), &moved).rows.is_empty());
    }
}
