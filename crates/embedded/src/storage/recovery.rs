//! Opens a partition's log after a stop of any kind.
//!
//! A batch is written behind the last one and acknowledged after a sync, so only the end of the last segment can be
//! torn, and what is torn was never acknowledged: it is cut off. Damage anywhere else is reported and nothing changed.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{
    batch::{self, Header},
    checkpoint::Checkpoint,
    index::{Entry, Index},
    log::{Log, Mark},
    partition::View,
    producers::Producers,
    segment::{Name, Segment},
};
use crate::Error;

/// Opens the log in `directory`; readers begin at `start`.
pub(super) fn open(directory: &Path, start: i64) -> Result<(Log, View), Error> {
    let paths = without_leftovers(directory, segment_paths(directory)?)?;
    let last = paths
        .len()
        .checked_sub(1)
        .ok_or_else(|| damaged(directory, 0, "it holds no segment"))?;
    let mut producers = Producers::default();
    let mut segments = VecDeque::new();
    let mut log = None;
    for (number, path) in paths.iter().enumerate() {
        let recovered = Recovered::read(path, producers, number == last)?;
        recovered.save_if_sealed(path);
        let (segment, after) = recovered.into_segment(path);
        let expected = paths.get(number + 1).and_then(|next| Some(Name::of(next)?.base));
        if expected.is_some_and(|base| base != after.mark.next_offset) {
            let reason = format!("it ends before offset {}", expected.unwrap_or_default());
            return Err(damaged(path, u64::from(after.mark.bytes), &reason));
        }
        producers = after.producers;
        if let Some(file) = &segment.file {
            let producers = std::mem::take(&mut producers);
            log = Some(Log::at(directory, path, Arc::clone(file), after.mark, producers));
        }
        segments.push_back(segment);
    }
    let log = log.ok_or_else(|| damaged(directory, 0, "it holds no segment"))?;
    let first = segments.front().map_or(0, |segment: &Segment| segment.base);
    let end = log.next_offset();
    Ok((log, View::new(start.max(first).min(end), end, segments)))
}

fn segment_paths(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let path = entry.map_err(Error::io("list", directory))?.path();
        if Name::of(&path).is_some() {
            paths.push(path);
        }
    }
    // Names have leading zeros, so their order is that of the offsets.
    paths.sort();
    Ok(paths)
}

/// Removes what a compaction left behind that was ended in the middle: before it counted, its output; after it, the
/// segments that it was made of.
fn without_leftovers(directory: &Path, mut paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let covering: Vec<Name> = paths
        .iter()
        .filter_map(|path| Name::of(path).filter(|name| name.end.is_some()))
        .collect();
    let is_covered = |name: Name| {
        covering.iter().any(|over| {
            over.generation > name.generation
                && over.base <= name.base
                && over.end.is_some_and(|end| name.base < end)
        })
    };
    let mut leftovers: Vec<PathBuf> = files_with(directory, "compacting")?;
    paths.retain(|path| {
        let covered = Name::of(path).is_some_and(is_covered);
        if covered {
            leftovers.push(path.clone());
        }
        !covered
    });
    for checkpoint in files_with(directory, "checkpoint")? {
        if !paths.contains(&checkpoint.with_extension("log")) {
            leftovers.push(checkpoint);
        }
    }
    for path in leftovers {
        tracing::debug!(path = %path.display(), "a file of an unfinished compaction is removed");
        fs::remove_file(&path).map_err(Error::io("remove", path))?;
    }
    Ok(paths)
}

fn files_with(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let path = entry.map_err(Error::io("list", directory))?.path();
        if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

fn damaged(path: &Path, position: u64, reason: &str) -> Error {
    Error::Damaged {
        path: path.into(),
        position,
        reason: reason.into(),
    }
}

/// A segment that was read, up to where it is sound.
struct Recovered {
    file: Arc<File>,
    name: Name,
    active: bool,
    /// Whether there was a checkpoint of all of it.
    is_known: bool,
    due_ms: Option<i64>,
    index: Index,
    after: After,
}

/// The state after a segment.
struct After {
    mark: Mark,
    producers: Producers,
}

impl Recovered {
    fn read(path: &Path, producers: Producers, active: bool) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("look at", path))?.len();
        let name = Name::of(path).ok_or_else(|| damaged(path, 0, "its name is not a segment's"))?;
        let mark = Mark {
            bytes: 0,
            next_offset: name.base,
            newest_ms: -1,
        };
        let mut recovered = Self {
            file: Arc::new(file),
            name,
            active,
            is_known: false,
            due_ms: None,
            index: Index::default(),
            after: After { mark, producers },
        };
        if let Some(known) = Checkpoint::load(path) {
            if u64::from(known.bytes) > length {
                let reason = format!(
                    "{} bytes were durable and are gone",
                    u64::from(known.bytes) - length
                );
                return Err(damaged(path, length, &reason));
            }
            recovered.is_known = u64::from(known.bytes) == length;
            recovered.resume(known);
        }
        recovered.scan(path, length)?;
        if let Some(end) = name.end {
            // Its last records may be gone.
            recovered.after.mark.next_offset = recovered.after.mark.next_offset.max(end);
        }
        Ok(recovered)
    }

    fn resume(&mut self, known: Checkpoint) {
        let Checkpoint {
            bytes,
            next_offset,
            newest_ms,
            index,
            producers,
            due_ms,
        } = known;
        self.due_ms = due_ms;
        self.after = After {
            mark: Mark {
                bytes,
                next_offset,
                newest_ms,
            },
            producers: Producers::from_saved(producers),
        };
        self.index = index;
    }

    /// Reads on from the mark to the end of what is sound, and deals with what is behind it.
    fn scan(&mut self, path: &Path, length: u64) -> Result<(), Error> {
        let file = Arc::clone(&self.file);
        let mut window = Window::new(&file, length);
        while let Some((header, size)) = window
            .batch_at(
                u64::from(self.after.mark.bytes),
                self.after.mark.next_offset,
                self.name.end.is_some(),
            )
            .map_err(Error::io("read", path))?
        {
            self.take(&header, size);
        }
        let end = u64::from(self.after.mark.bytes);
        if end == length {
            return Ok(());
        }
        if !self.active {
            return Err(damaged(
                path,
                end,
                "no sound batch begins there, and the segment was complete",
            ));
        }
        let aside = window.save_if_batches_follow(end, self.after.mark.next_offset, path);
        if let Some(aside) = aside.map_err(Error::io("save the torn tail of", path))? {
            tracing::warn!(path = %path.display(), aside = %aside.display(), "sound batches follow a torn one: they were never acknowledged unless the disk is damaged, and were saved");
        }
        tracing::warn!(path = %path.display(), bytes = length - end, "a torn tail was cut off");
        self.file.set_len(end).map_err(Error::io("truncate", path))?;
        self.file.sync_all().map_err(Error::io("sync", path))
    }

    fn take(&mut self, header: &Header, size: u32) {
        let mark = &mut self.after.mark;
        let Mark { bytes, newest_ms, .. } = *mark;
        let due = [self.due_ms, header.delete_horizon_ms()];
        self.due_ms = due.into_iter().flatten().min();
        self.index.note(Entry {
            offset: header.base_offset,
            position: bytes,
            newest_before_ms: newest_ms,
        });
        self.after.producers.remember(header, header.base_offset);
        self.after.producers.settle();
        *mark = Mark {
            bytes: bytes.saturating_add(size),
            next_offset: header.next_offset(),
            newest_ms: newest_ms.max(header.max_timestamp),
        };
    }

    /// A sealed segment that had to be read has its checkpoint from now on: the next start is quick, and compaction
    /// finds there what the partition knows of producers.
    fn save_if_sealed(&self, path: &Path) {
        if self.active || self.is_known {
            return;
        }
        let mut index = self.index.clone();
        index.thin();
        let Mark {
            bytes,
            next_offset,
            newest_ms,
        } = self.after.mark;
        let checkpoint = Checkpoint {
            bytes,
            next_offset,
            newest_ms,
            index,
            producers: self.after.producers.to_saved(),
            due_ms: self.due_ms,
        };
        if let Err(error) = checkpoint.save(path) {
            tracing::warn!(path = %path.display(), %error, "no checkpoint was written");
        }
    }

    fn into_segment(self, path: &Path) -> (Segment, After) {
        let Self {
            file,
            name,
            active,
            due_ms,
            mut index,
            after,
            ..
        } = self;
        // What is written goes behind what is sound. A seek to a place that fits a file cannot fail in a way that
        // the write after it would not show.
        let placed = (&*file)
            .seek(SeekFrom::Start(u64::from(after.mark.bytes)))
            .is_ok();
        if !active {
            index.thin();
        }
        let segment = Segment {
            base: name.base,
            path: path.into(),
            file: (active && placed).then_some(file),
            bytes: after.mark.bytes,
            newest_ms: after.mark.newest_ms,
            index,
            generation: name.generation,
            due_ms,
            began: Instant::now(),
        };
        (segment, after)
    }
}

/// Bytes read at a time.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A part of a file in memory that follows the reader.
struct Window<'a> {
    file: &'a File,
    length: u64,
    from: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a File, length: u64) -> Self {
        Self {
            file,
            length,
            from: 0,
            bytes: Vec::new(),
        }
    }

    /// At least `count` bytes from `position` on, fewer only at the file's end.
    fn at(&mut self, position: u64, count: usize) -> std::io::Result<&[u8]> {
        let left = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
        let count = count.min(left);
        let there = position
            .checked_sub(self.from)
            .and_then(|skip| usize::try_from(skip).ok());
        let skip = match there {
            Some(skip) if skip + count <= self.bytes.len() => skip,
            _ => {
                self.bytes.resize(count.max(WINDOW_BYTES).min(left), 0);
                self.from = position;
                self.file.read_exact_at(&mut self.bytes, position)?;
                0
            }
        };
        Ok(self.bytes.get(skip..).unwrap_or_default())
    }

    /// The sound batch at `position`, if it has that offset, or a later one where compaction left gaps.
    fn batch_at(&mut self, position: u64, offset: i64, gaps: bool) -> std::io::Result<Option<(Header, u32)>> {
        let header = Header::parse(self.at(position, batch::HEADER_BYTES)?);
        let Some(size) = header
            .filter(|header| header.base_offset == offset || (gaps && header.base_offset > offset))
            .and_then(|header| header.size())
        else {
            return Ok(None);
        };
        let found = batch::intact(self.at(position, size)?);
        Ok(found.and_then(|(header, size)| Some((header, u32::try_from(size).ok()?))))
    }

    /// Keeps a copy of everything behind `end` when a later sound batch is found in it.
    fn save_if_batches_follow(
        &mut self,
        end: u64,
        offset: i64,
        path: &Path,
    ) -> std::io::Result<Option<PathBuf>> {
        let tail = usize::try_from(self.length - end).unwrap_or(usize::MAX);
        let bytes = self.at(end, tail)?;
        let later = |from: &usize| {
            let candidate = bytes.get(*from..).unwrap_or_default();
            Header::parse(candidate).is_some_and(|header| header.magic == 2 && header.base_offset > offset)
                && batch::intact(candidate).is_some()
        };
        if !(1..bytes.len()).any(|from| later(&from)) {
            return Ok(None);
        }
        let aside = path.with_extension(format!("torn-{end}"));
        fs::write(&aside, bytes)?;
        Ok(Some(aside))
    }
}
