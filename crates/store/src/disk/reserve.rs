//! Room that is kept on the disk beside the log, for what must be possible when the disk is full.
//!
//! Stamps and removals take little. What is parked under a topic is written a second time when its partitions are known,
//! and the first copy is given back by whole segments: so as much is kept as may have to be moved until one is free.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::is_disk_full;
use crate::disk_faults;

/// Kept for stamps and removals, bytes.
const ALWAYS_BYTES: u64 = 4 << 20;
/// It is grown by so many bytes at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// A file that takes up the room.
#[derive(Debug)]
pub(super) struct Reserve {
    directory: PathBuf,
    bytes: u64,
    /// Bytes that were parked under topics since nothing is there, as far as they count.
    unplaced_bytes: u64,
    /// Most of these that count.
    unplaced_max: u64,
}

impl Reserve {
    /// The reserve in `directory`, as large as an earlier process left it.
    pub(super) fn open(directory: &Path, unplaced_max: u64) -> Self {
        let bytes = std::fs::metadata(path(directory)).map_or(0, |file| file.len());
        Self {
            directory: directory.to_owned(),
            bytes,
            unplaced_bytes: bytes.saturating_sub(ALWAYS_BYTES).min(unplaced_max),
            unplaced_max,
        }
    }

    /// True when something is kept for what is parked under topics.
    pub(super) fn counts_unplaced(&self) -> bool {
        self.unplaced_bytes > 0
    }

    /// Notes what is about to be parked under topics, and whether anything is there or comes.
    pub(super) fn expect(&mut self, unplaced_bytes: u64, is_any_unplaced: bool) {
        let all = self.unplaced_bytes.saturating_add(unplaced_bytes);
        self.unplaced_bytes = if is_any_unplaced {
            all.min(self.unplaced_max)
        } else {
            0
        };
    }

    /// Makes it as large as it should be; false when the disk is too full for that.
    pub(super) fn keep(&mut self) -> bool {
        let wanted = ALWAYS_BYTES + self.unplaced_bytes.next_multiple_of(CHUNK_BYTES);
        let kept = match self.bytes {
            bytes if bytes > wanted => self.shrink_to(wanted),
            bytes if bytes < wanted => self.grow_to(wanted),
            _ => Ok(()),
        };
        // Where it cannot be written for another reason, the log meets that reason itself.
        !kept.is_err_and(|error| is_disk_full(&error))
    }

    /// Gives up so many bytes, or what there is; false when there is nothing.
    pub(super) fn release(&mut self, bytes: u64) -> bool {
        let chunks = bytes.next_multiple_of(CHUNK_BYTES);
        self.bytes > 0 && self.shrink_to(self.bytes.saturating_sub(chunks)).is_ok()
    }

    fn grow_to(&mut self, wanted: u64) -> io::Result<()> {
        let path = path(&self.directory);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        while self.bytes < wanted {
            let chunk = CHUNK_BYTES.min(wanted - self.bytes);
            let grown = disk_faults::room(&self.directory, chunk).and_then(|()| fill(&mut file, chunk));
            if let Err(error) = grown {
                file.set_len(self.bytes)?;
                return Err(error);
            }
            self.bytes += chunk;
        }
        Ok(())
    }

    fn shrink_to(&mut self, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path(&self.directory))?;
        file.set_len(bytes)?;
        self.bytes = bytes;
        Ok(())
    }
}

/// Writes, because a file that is only made longer takes up no room.
fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.write_all(&zeros)
}

fn path(directory: &Path) -> PathBuf {
    directory.join("reserve")
}
