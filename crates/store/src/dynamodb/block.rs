//! Blocks as items: those of one commit and place share one.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::item::{self, BLOCKS, COUNT, DATA, FIRST, Item, STAGE};
use super::stage::Parts;

/// Bytes of one block's entry in an item: position, end, length, each eight bytes, big-endian.
const ENTRY_BYTES: usize = 24;

/// A block within an item: its positions, and its bytes among those of the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) position: u64,
    pub(super) end: u64,
    pub(super) from: usize,
    pub(super) len: usize,
}

/// Where the bytes of an item's blocks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    Inline(Bytes),
    Staged(Parts),
}

pub(super) fn write_entries(entries: impl Iterator<Item = (u64, u64, usize)>) -> Bytes {
    let mut bytes = BytesMut::new();
    for (position, end, len) in entries {
        bytes.put_u64(position);
        bytes.put_u64(end);
        bytes.put_u64(len as u64);
    }
    bytes.freeze()
}

fn read_entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let mut from = 0_usize;
    chunks
        .iter()
        .map(|chunk| {
            let (numbers, _) = chunk.as_chunks::<8>();
            let [position, end, len] = *numbers else {
                return None;
            };
            let len = usize::try_from(u64::from_be_bytes(len)).ok()?;
            let entry = Entry {
                position: u64::from_be_bytes(position),
                end: u64::from_be_bytes(end),
                from,
                len,
            };
            from = from.checked_add(len)?;
            Some(entry)
        })
        .collect()
}

/// Puts where the bytes are into an item.
pub(super) fn write_held(item: &mut Item, held: Held) {
    match held {
        Held::Inline(bytes) => {
            item.insert(DATA.to_owned(), item::binary(bytes));
        }
        Held::Staged(parts) => {
            item.insert(STAGE.to_owned(), item::string(parts.stage));
            item.insert(FIRST.to_owned(), item::number(parts.first));
            item.insert(COUNT.to_owned(), item::number(parts.count));
        }
    }
}

pub(super) fn read_parts(item: &Item) -> Option<Parts> {
    Some(Parts {
        stage: item::text(item, STAGE)?.to_owned(),
        first: item::count(item, FIRST)?,
        count: item::count(item, COUNT)?,
    })
}

/// The blocks of an item that was read, and where their bytes are.
pub(super) fn read(item: &mut Item) -> Option<(Vec<Entry>, Held)> {
    let entries = read_entries(&item::take_bytes(item, BLOCKS)?)?;
    let held = match read_parts(item) {
        Some(parts) => Held::Staged(parts),
        None => Held::Inline(item::take_bytes(item, DATA)?),
    };
    Some((entries, held))
}
