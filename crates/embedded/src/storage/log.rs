//! The end of one partition's log, as its thread writes it: what is written, what is durable, and the way back.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, IoSlice, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    batch::{Header, PATCHED_BYTES, Refusal},
    checkpoint::{Checkpoint, sync_directory},
    index::{Entry, Index},
    partition::View,
    producers::{Producers, Verdict},
    segment::{Segment, file_name},
};

/// How far a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) bytes: u32,
    pub(super) next_offset: i64,
    pub(super) newest_ms: i64,
}

/// The segment that is written to, and the producers of its partition.
#[derive(Debug)]
pub(crate) struct Log {
    directory: PathBuf,
    path: PathBuf,
    file: Arc<File>,
    written: Mark,
    durable: Mark,
    /// Batches of this round, for the index.
    pending: Vec<Entry>,
    producers: Producers,
    /// A write failed and its bytes may still be there: they are cut off before anything else is written.
    broken: bool,
    closed: bool,
}

/// What became of one batch.
#[derive(Debug)]
pub(super) enum Staged {
    /// To be written with these first bytes, at this offset.
    Write(i64, [u8; PATCHED_BYTES]),
    /// It is there already, at this offset.
    Duplicate(i64),
    Refused(Refusal),
}

/// Creates the log of a new partition in `directory`, which must not exist.
pub(super) fn create(directory: &Path) -> io::Result<(Log, View)> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join(file_name(0));
    let file = new_segment(&path)?;
    let mark = Mark {
        bytes: 0,
        next_offset: 0,
        newest_ms: -1,
    };
    let log = Log::at(directory, &path, Arc::clone(&file), mark, Producers::default());
    let segment = Segment::empty(0, path, file);
    Ok((log, View::new(0, 0, VecDeque::from([segment]))))
}

/// An empty file whose name is durable.
fn new_segment(path: &Path) -> io::Result<Arc<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.sync_all()?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))?;
    Ok(Arc::new(file))
}

impl Log {
    pub(super) fn at(
        directory: &Path,
        path: &Path,
        file: Arc<File>,
        mark: Mark,
        producers: Producers,
    ) -> Self {
        Self {
            directory: directory.into(),
            path: path.into(),
            file,
            written: mark,
            durable: mark,
            pending: Vec::new(),
            producers,
            broken: false,
            closed: false,
        }
    }

    /// The offset that the next durable record gets.
    pub(super) fn next_offset(&self) -> i64 {
        self.durable.next_offset
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Nothing more is appended: the topic was deleted.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn expire_producers(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.expire(now_ms, expiration_ms);
    }

    /// Forgets every producer, as when their snapshot is lost.
    pub(super) fn forget_producers(&mut self) {
        self.producers = Producers::default();
    }

    /// Whether the segment is as large as it should become.
    pub(super) fn is_full(&self, segment_bytes: u32) -> bool {
        self.durable.bytes >= segment_bytes
    }

    /// Whether nothing is in the segment.
    pub(super) fn is_fresh(&self) -> bool {
        self.durable.bytes == 0
    }

    /// Makes sure that the file ends with what is durable.
    pub(super) fn mend(&mut self) -> io::Result<()> {
        if self.broken {
            self.cut()?;
            self.broken = false;
        }
        Ok(())
    }

    /// Seals the segment and begins the next; returns that for the readers.
    pub(super) fn roll(&mut self, index: Index) -> io::Result<Segment> {
        let base = self.durable.next_offset;
        let path = self.directory.join(file_name(base));
        let file = new_segment(&path)?;
        let mut index = index;
        index.thin();
        // A checkpoint is a shortcut: without it the next start reads the segment.
        if let Err(error) = self.checkpoint(index).save(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "no checkpoint was written");
        }
        self.file = Arc::clone(&file);
        self.path.clone_from(&path);
        self.written = Mark {
            bytes: 0,
            next_offset: base,
            newest_ms: -1,
        };
        self.durable = self.written;
        Ok(Segment::empty(base, path, file))
    }

    /// Writes down what is known of the segment, so that the next start need not read it.
    pub(super) fn save_checkpoint(&self, index: Index) -> io::Result<()> {
        self.checkpoint(index).save(&self.path)
    }

    fn checkpoint(&self, index: Index) -> Checkpoint {
        let Mark {
            bytes,
            next_offset,
            newest_ms,
        } = self.durable;
        Checkpoint {
            bytes,
            next_offset,
            newest_ms,
            index,
            producers: self.producers.to_saved(),
            due_ms: None,
        }
    }

    /// Decides on a batch and takes its place in the log.
    pub(super) fn stage(&mut self, header: &Header) -> Staged {
        match self.producers.judge(header) {
            Verdict::Refuse(refusal) => return Staged::Refused(refusal),
            Verdict::Duplicate(offset) => return Staged::Duplicate(offset),
            Verdict::Append => {}
        }
        let Mark {
            bytes,
            next_offset,
            newest_ms,
        } = self.written;
        self.pending.push(Entry {
            offset: next_offset,
            position: bytes,
            newest_before_ms: newest_ms,
        });
        self.producers.remember(header, next_offset);
        let size = header
            .size()
            .and_then(|size| u32::try_from(size).ok())
            .unwrap_or(u32::MAX);
        self.written = Mark {
            bytes: bytes.saturating_add(size),
            next_offset: next_offset + i64::from(header.records),
            newest_ms: newest_ms.max(header.max_timestamp),
        };
        Staged::Write(next_offset, header.patched(next_offset))
    }

    /// Writes the bytes of what was staged, in order.
    pub(super) fn write(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut file = &*self.file;
        while !slices.is_empty() {
            let some = slices.len().min(SLICES_MAX);
            let written = match file.write_vectored(slices.get(..some).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }

    /// The file to sync if there is something new in it.
    pub(super) fn unsynced(&self) -> Option<Arc<File>> {
        (self.written != self.durable).then(|| Arc::clone(&self.file))
    }

    /// What was written is durable. Returns the mark and the entries for the readers.
    pub(super) fn settle(&mut self) -> (Mark, Vec<Entry>) {
        self.durable = self.written;
        self.producers.settle();
        (self.durable, std::mem::take(&mut self.pending))
    }

    /// What was written since the last round is taken back.
    pub(super) fn roll_back(&mut self) {
        self.written = self.durable;
        self.producers.undo();
        self.pending.clear();
        self.broken = true;
        if let Err(error) = self.mend() {
            tracing::error!(path = %self.path.display(), %error, "the tail of a failed write could not be cut off; appends are refused until it can");
        }
    }

    fn cut(&mut self) -> io::Result<()> {
        let end = u64::from(self.durable.bytes);
        self.file.set_len(end)?;
        (&*self.file).seek(SeekFrom::Start(end))?;
        self.file.sync_data()
    }
}

/// Slices the operating system takes at a time (`IOV_MAX`).
const SLICES_MAX: usize = 1024;
