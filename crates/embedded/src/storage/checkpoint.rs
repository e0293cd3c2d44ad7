//! What is known of a segment up to some position, kept beside it so that a start need not read it again.
//!
//! Written when a segment is sealed and when the broker stops. A missing or broken one costs a scan, never data.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{index::Index, producers::Producer};

/// The state after `bytes` bytes of the segment.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) bytes: u32,
    pub(crate) next_offset: i64,
    pub(crate) newest_ms: i64,
    pub(crate) index: Index,
    pub(crate) producers: Vec<(i64, Producer)>,
    /// When the first tombstone of a compacted segment may go.
    #[serde(default)]
    pub(crate) due_ms: Option<i64>,
}

impl Checkpoint {
    /// The checkpoint of a segment, if there is a sound one.
    pub(crate) fn load(segment: &Path) -> Option<Self> {
        let bytes = fs::read(path_of(segment)).ok()?;
        let (checksum, body) = bytes.split_first_chunk()?;
        (crc32c::crc32c(body) == u32::from_be_bytes(*checksum)).then(|| serde_json::from_slice(body).ok())?
    }

    /// Puts it in the place of the one before, whole or not at all.
    pub(crate) fn save(&self, segment: &Path) -> io::Result<()> {
        let body = serde_json::to_vec(self)?;
        let mut bytes = crc32c::crc32c(&body).to_be_bytes().to_vec();
        bytes.extend(body);
        replace_file(&path_of(segment), &bytes)
    }
}

/// Where the checkpoint of a segment is kept.
pub(crate) fn path_of(segment: &Path) -> PathBuf {
    segment.with_extension("checkpoint")
}

/// Writes a file beside `path`, syncs it and renames it to `path`.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&beside, path)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
