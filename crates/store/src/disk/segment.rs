//! The files of the log, and the lists of where rows lie in those that are finished.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::codec::Fields;
use super::frame::Block;
use crate::disk_faults;

/// What every segment begins with, then its number.
const MAGIC: &[u8; 8] = b"EKSTBY01";
/// Bytes in front of a segment's first frame.
pub(super) const HEADER_BYTES: usize = 16;
const LIST_MAGIC: u32 = 0x4c42_4b45;
const LIST_ENTRY_BYTES: usize = 20;
const BLOCK_BYTES: usize = 20;

pub(super) fn path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("{segment:016}.log"))
}

fn list_path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("{segment:016}.blocks"))
}

/// The numbers of the segments in `directory`, ascending.
pub(super) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|number| number.parse::<u64>().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the segment with `first_frame` in it, durably, or leaves none.
pub(super) fn create(directory: &Path, segment: u64, first_frame: &[u8]) -> io::Result<(File, u64)> {
    let draft = directory.join("next.tmp");
    let created = try_create(directory, segment, first_frame, &draft);
    if created.is_err() {
        discard(&draft);
    }
    created
}

fn try_create(directory: &Path, segment: u64, first_frame: &[u8], draft: &Path) -> io::Result<(File, u64)> {
    disk_faults::meet_sync()?;
    disk_faults::room(directory, (HEADER_BYTES + first_frame.len()) as u64)?;
    let mut file = File::create(draft)?;
    file.write_all(MAGIC)?;
    file.write_all(&segment.to_le_bytes())?;
    file.write_all(first_frame)?;
    file.sync_data()?;
    std::fs::rename(draft, path(directory, segment))?;
    sync_directory(directory)?;
    Ok((file, (HEADER_BYTES + first_frame.len()) as u64))
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// All bytes of a segment, when its header is right.
pub(super) fn load(directory: &Path, segment: u64) -> io::Result<Vec<u8>> {
    let bytes = std::fs::read(path(directory, segment))?;
    let header = [MAGIC.as_slice(), &segment.to_le_bytes()].concat();
    if bytes.starts_with(&header) {
        Ok(bytes)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{} is no segment of a standby store",
                path(directory, segment).display()
            ),
        ))
    }
}

/// Opens a segment to go on writing behind `bytes`; what is behind that is cut off.
pub(super) fn reopen(directory: &Path, segment: u64, bytes: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).open(path(directory, segment))?;
    file.set_len(bytes)?;
    file.sync_data()?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// Removes a segment and its list.
pub(super) fn delete(directory: &Path, segment: u64) -> io::Result<()> {
    for path in [list_path(directory, segment), path(directory, segment)] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Writes the list of a finished segment. It can be made again from the segment, so it is not synced.
pub(super) fn write_list(
    directory: &Path,
    segment: u64,
    blocks: &HashMap<u32, Vec<Block>>,
) -> io::Result<()> {
    let mut lists = Vec::new();
    let mut head = Vec::new();
    head.extend_from_slice(&LIST_MAGIC.to_le_bytes());
    head.extend_from_slice(&u32::try_from(blocks.len()).unwrap_or(0).to_le_bytes());
    let lists_at = 8 + blocks.len() * LIST_ENTRY_BYTES + 4;
    for (place, blocks) in blocks {
        let start = lists.len();
        for block in blocks {
            lists.extend_from_slice(&block.position.to_le_bytes());
            lists.extend_from_slice(&block.count.to_le_bytes());
            lists.extend_from_slice(&block.offset.to_le_bytes());
            lists.extend_from_slice(&block.bytes.to_le_bytes());
        }
        let checksum = crc32c::crc32c(lists.get(start..).unwrap_or_default());
        head.extend_from_slice(&place.to_le_bytes());
        head.extend_from_slice(&((lists_at + start) as u64).to_le_bytes());
        head.extend_from_slice(&u32::try_from(blocks.len()).unwrap_or(0).to_le_bytes());
        head.extend_from_slice(&checksum.to_le_bytes());
    }
    head.extend_from_slice(&crc32c::crc32c(&head).to_le_bytes());
    head.extend_from_slice(&lists);
    let draft = directory.join("blocks.tmp");
    disk_faults::room(directory, head.len() as u64)?;
    let written = std::fs::write(&draft, head);
    let listed = written.and_then(|()| std::fs::rename(&draft, list_path(directory, segment)));
    if listed.is_err() {
        discard(&draft);
    }
    listed
}

/// A draft that was not finished takes up room and nothing else: failing to remove it is no failure.
fn discard(draft: &Path) {
    std::fs::remove_file(draft).ok();
}

/// Where the list of one place lies in a list file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: u64,
    count: u32,
    checksum: u32,
}

/// The places that a finished segment has rows of, each with the position after its last record there; `None` when the list is
/// missing or damaged.
pub(super) fn listed_places(directory: &Path, segment: u64) -> Option<Vec<(u32, u64)>> {
    let mut file = File::open(list_path(directory, segment)).ok()?;
    let entries = read_entries(&mut file)?;
    let mut places = Vec::with_capacity(entries.len());
    for (place, entry) in entries {
        places.push((place, read_blocks(&mut file, entry)?.last()?.end()));
    }
    Some(places)
}

/// Where the rows of `place` lie in a finished segment; `None` when the list is missing or damaged.
pub(super) fn listed_blocks(directory: &Path, segment: u64, place: u32) -> Option<Vec<Block>> {
    let mut file = File::open(list_path(directory, segment)).ok()?;
    let (_, entry) = read_entries(&mut file)?
        .into_iter()
        .find(|(other, _)| *other == place)?;
    read_blocks(&mut file, entry)
}

fn read_entries(file: &mut File) -> Option<Vec<(u32, Entry)>> {
    let mut head = vec![0; 8];
    file.read_exact(&mut head).ok()?;
    let mut fields = Fields::new(&head);
    if fields.u32()? != LIST_MAGIC {
        return None;
    }
    let count = usize::try_from(fields.u32()?).ok()?;
    let bytes = count.checked_mul(LIST_ENTRY_BYTES)?.checked_add(4)?;
    if bytes as u64 > file.metadata().ok()?.len() {
        return None;
    }
    head.resize(8 + bytes, 0);
    file.read_exact(head.get_mut(8..)?).ok()?;
    let (checked, checksum) = head.split_last_chunk::<4>()?;
    if crc32c::crc32c(checked) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut fields = Fields::new(checked.get(8..)?);
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let place = fields.u32()?;
        let entry = Entry {
            offset: fields.u64()?,
            count: fields.u32()?,
            checksum: fields.u32()?,
        };
        entries.push((place, entry));
    }
    Some(entries)
}

fn read_blocks(file: &mut File, entry: Entry) -> Option<Vec<Block>> {
    let count = usize::try_from(entry.count).ok()?;
    let mut bytes = vec![0; count.checked_mul(BLOCK_BYTES)?];
    file.seek(SeekFrom::Start(entry.offset)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    if crc32c::crc32c(&bytes) != entry.checksum {
        return None;
    }
    let mut fields = Fields::new(&bytes);
    let mut blocks = Vec::with_capacity(count);
    while !fields.rest().is_empty() {
        blocks.push(Block {
            position: fields.u64()?,
            count: fields.u32()?,
            offset: fields.u32()?,
            bytes: fields.u32()?,
        });
    }
    Some(blocks)
}
