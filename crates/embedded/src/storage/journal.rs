//! A file of small facts, appended and synced, and written anew when most of them are stale.
//!
//! One frame holds the facts that were made durable together: length, CRC-32C, JSON. Only the last frame can be torn,
//! and a torn one was never acknowledged.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    checkpoint::{replace_file, sync_directory},
    disk::Disk,
};
use crate::Error;

/// Bytes of a frame before its body.
const FRAME_BYTES: usize = 8;
/// Below this a journal is never written anew.
const SMALL_BYTES: u64 = 1024 * 1024;

/// A journal of facts of one kind.
#[derive(Debug)]
pub(super) struct Journal<Fact> {
    path: PathBuf,
    file: Arc<File>,
    disk: Arc<Disk>,
    durable: u64,
    written: u64,
    /// Bytes after it was last written anew.
    compact: u64,
    /// Bytes of a failed write may be behind what is durable.
    broken: bool,
    facts: PhantomData<fn(Fact)>,
}

impl<Fact: Serialize + DeserializeOwned> Journal<Fact> {
    /// Opens the journal, creating it if it is absent, and hands every fact to `replay`, oldest first.
    pub(super) fn open(path: &Path, disk: Arc<Disk>, mut replay: impl FnMut(Fact)) -> Result<Self, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let mut end = 0;
        while let Some((body, size)) = frame_at(&bytes, end) {
            let facts: Vec<Fact> =
                serde_json::from_slice(body).map_err(|error| damaged(path, end, &error.to_string()))?;
            facts.into_iter().for_each(&mut replay);
            end += size;
        }
        if end < bytes.len() {
            check_torn(path, &bytes, end)?;
        }
        Self::at(path, disk, end as u64).map_err(Error::io("open", path))
    }

    fn at(path: &Path, disk: Arc<Disk>, end: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        file.sync_all()?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))?;
        let file = Arc::new(file);
        Ok(Self {
            path: path.into(),
            file,
            disk,
            durable: end,
            written: end,
            compact: 0,
            broken: false,
            facts: PhantomData,
        })
    }

    /// Writes facts that become durable together. Nothing is durable before [`Journal::settle`].
    fn write(&mut self, facts: &[Fact]) -> io::Result<()> {
        if self.broken {
            self.cut()?;
        }
        self.disk.check_space()?;
        let body = serde_json::to_vec(facts)?;
        let frame = frame(&body)?;
        self.broken = true;
        (&*self.file).write_all(&frame)?;
        self.broken = false;
        self.written += frame.len() as u64;
        Ok(())
    }

    /// The file was synced: what was written stands. Otherwise it is taken back.
    fn settle(&mut self, synced: bool) {
        if synced {
            self.durable = self.written;
        } else {
            self.written = self.durable;
            self.broken = true;
        }
    }

    /// Writes facts and waits until they are durable.
    pub(super) fn append(&mut self, facts: &[Fact]) -> io::Result<()> {
        let result = self.write(facts).and_then(|()| self.disk.sync(&self.file));
        self.settle(result.is_ok());
        result
    }

    /// Whether most of the file is likely stale.
    pub(super) fn is_large(&self) -> bool {
        self.durable > SMALL_BYTES.max(self.compact.saturating_mul(2))
    }

    /// Replaces the file by one with these facts alone.
    pub(super) fn rewrite(&mut self, facts: &[Fact]) -> io::Result<()> {
        self.disk.check_space()?;
        let frame = frame(&serde_json::to_vec(facts)?)?;
        replace_file(&self.path, &frame)?;
        *self = Self::at(&self.path, Arc::clone(&self.disk), frame.len() as u64)?;
        self.compact = self.durable;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.durable)?;
        (&*self.file).seek(SeekFrom::Start(self.durable))?;
        self.broken = false;
        Ok(())
    }
}

fn frame(body: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(FRAME_BYTES + body.len());
    frame.extend(length.to_be_bytes());
    frame.extend(crc32c::crc32c(body).to_be_bytes());
    frame.extend(body);
    Ok(frame)
}

/// The body of the sound frame at `at`, and the frame's size.
fn frame_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let body = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    // Zeros are no frame: nothing has the checksum 0 as well.
    (!body.is_empty() && crc32c::crc32c(body) == u32::from_be_bytes(*checksum))
        .then_some((body, FRAME_BYTES + body.len()))
}

/// A sound frame behind a broken one means that the broken one had been acknowledged.
fn check_torn(path: &Path, bytes: &[u8], end: usize) -> Result<(), Error> {
    let looks_like_one = |at: &usize| frame_at(bytes, *at).is_some_and(|(body, _)| body.starts_with(b"[{"));
    if (end + 1..bytes.len()).any(|at| looks_like_one(&at)) {
        return Err(damaged(
            path,
            end,
            "a fact there cannot be read, and later ones can",
        ));
    }
    tracing::warn!(path = %path.display(), bytes = bytes.len() - end, "a torn tail was cut off");
    Ok(())
}

fn damaged(path: &Path, position: usize, reason: &str) -> Error {
    Error::Damaged {
        path: path.into(),
        position: position as u64,
        reason: reason.into(),
    }
}
