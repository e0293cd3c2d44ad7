//! One file of a partition's log, and how its bytes are read.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bytes::{Bytes, BytesMut};

use super::{batch::Header, index::Index};

/// The name of the segment whose first record has offset `base`.
pub(crate) fn file_name(base: i64) -> String {
    format!("{base:020}.log")
}

/// What a segment's file name says: `BASE.log` as it was written, `BASE-END-GENERATION.log` when it holds what
/// compaction left of the offsets from BASE up to END.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) base: i64,
    /// Where what was compacted ends: later records are in the next segment.
    pub(crate) end: Option<i64>,
    /// How often it was compacted. Of several files for the same offsets, the highest counts.
    pub(crate) generation: u32,
}

impl Name {
    /// The name of a segment's file; `None` for other files.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        if path.extension()? != "log" {
            return None;
        }
        let mut parts = path.file_stem()?.to_str()?.split('-');
        let base = parts.next()?.parse().ok()?;
        let (end, generation) = match parts.next() {
            None => (None, 0),
            Some(end) => (Some(end.parse().ok()?), parts.next()?.parse().ok()?),
        };
        parts.next().is_none().then_some(Self {
            base,
            end,
            generation,
        })
    }

    /// The file name of what compaction left.
    pub(crate) fn compacted(base: i64, end: i64, generation: u32) -> String {
        format!("{base:020}-{end:020}-{generation}.log")
    }
}

/// One segment as readers see it: only what is durable.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: i64,
    pub(crate) path: PathBuf,
    /// Open while it is written to; a sealed one is opened for each read.
    pub(crate) file: Option<Arc<File>>,
    /// Bytes that may be read.
    pub(crate) bytes: u32,
    /// Newest timestamp in it, -1 when empty, in milliseconds since 1970.
    pub(crate) newest_ms: i64,
    pub(crate) index: Index,
    /// How often it was compacted.
    pub(crate) generation: u32,
    /// When the first of its tombstones may go, in milliseconds since 1970; `None` when it has none that may.
    pub(crate) due_ms: Option<i64>,
    /// When its first batch was written, or when it was found at the start.
    pub(crate) began: Instant,
}

impl Segment {
    /// An empty segment that is written to.
    pub(crate) fn empty(base: i64, path: PathBuf, file: Arc<File>) -> Self {
        Self {
            base,
            path,
            file: Some(file),
            bytes: 0,
            newest_ms: -1,
            index: Index::default(),
            generation: 0,
            due_ms: None,
            began: Instant::now(),
        }
    }

    /// A place to read from, good after the lock is gone.
    pub(crate) fn span(&self, position: u32) -> Span {
        Span {
            path: self.path.clone(),
            file: self.file.clone(),
            position,
            end: self.bytes,
        }
    }
}

/// A stretch of a segment's file.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    path: PathBuf,
    file: Option<Arc<File>>,
    position: u32,
    end: u32,
}

/// Bytes read at a time when looking for a batch.
const LOOK_BYTES: usize = 16 * 1024;

impl Span {
    /// Keeps the file open, so that many reads of a sealed segment open it once.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(Arc::new(File::open(&self.path)?));
        }
        Ok(())
    }

    /// Whole batches from the one that holds `offset` on: at most `bytes_max`, but the first even if it is larger
    /// when `at_least_one`. `None` when nothing of that offset or a later one is in the segment.
    pub(crate) fn read(
        &mut self,
        offset: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> io::Result<Option<Bytes>> {
        let Some(first) = self.seek(|header| header.next_offset() > offset)? else {
            return Ok(None);
        };
        let first_bytes = first.size().unwrap_or(0);
        if first_bytes > bytes_max && !at_least_one {
            return Ok(Some(Bytes::new()));
        }
        let mut bytes = self.bytes_at(self.position, bytes_max.max(first_bytes))?;
        bytes.truncate(whole_batches(&bytes));
        Ok(Some(bytes.freeze()))
    }

    /// Goes to the first batch from here on that `wanted` takes; `None` at the end.
    pub(crate) fn seek(&mut self, wanted: impl Fn(&Header) -> bool) -> io::Result<Option<Header>> {
        while self.position < self.end {
            let window = self.bytes_at(self.position, LOOK_BYTES)?;
            let mut at = 0;
            while let Some(header) = window.get(at..).and_then(Header::parse) {
                let here = self
                    .position
                    .saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
                if wanted(&header) {
                    self.position = here;
                    return Ok(Some(header));
                }
                at += header.size().ok_or_else(|| self.damaged(here))?;
            }
            if at == 0 {
                return Err(self.damaged(self.position));
            }
            self.position = self
                .position
                .saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
        }
        Ok(None)
    }

    /// Goes behind the batch that [`Span::seek`] found.
    pub(crate) fn skip(&mut self, header: &Header) {
        let size = header
            .size()
            .and_then(|size| u32::try_from(size).ok())
            .unwrap_or(u32::MAX);
        self.position = self.position.saturating_add(size);
    }

    /// The bytes of the batch that [`Span::seek`] found.
    pub(crate) fn batch(&self, header: &Header) -> io::Result<Bytes> {
        Ok(self.bytes_at(self.position, header.size().unwrap_or(0))?.freeze())
    }

    fn bytes_at(&self, position: u32, bytes_max: usize) -> io::Result<BytesMut> {
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(0);
        let mut bytes = BytesMut::zeroed(bytes_max.min(left));
        match &self.file {
            Some(file) => file.read_exact_at(&mut bytes, u64::from(position))?,
            None => File::open(&self.path)?.read_exact_at(&mut bytes, u64::from(position))?,
        }
        Ok(bytes)
    }

    fn damaged(&self, position: u32) -> io::Error {
        io::Error::other(format!("{} is damaged at byte {position}", self.path.display()))
    }
}

/// How many of the bytes are whole batches.
fn whole_batches(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(size) = bytes
        .get(end..)
        .and_then(Header::parse)
        .and_then(|header| header.size())
    {
        if end + size > bytes.len() {
            break;
        }
        end += size;
    }
    end
}
