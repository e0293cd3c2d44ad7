//! One partition as everybody but the log's thread sees it: what is durable, and a bell for those who wait for more.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    batch::{Header, Record},
    codec,
    index::Entry,
    log::Log,
    segment::{Segment, Span},
};

/// One partition.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) topic: String,
    pub(crate) topic_id: Uuid,
    pub(crate) number: i32,
    /// What the log's thread writes with; nobody else takes this lock.
    pub(super) log: Mutex<Log>,
    view: Mutex<View>,
}

/// What readers may see.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The first offset that may be read.
    pub(crate) start: i64,
    /// The offset after the last durable record: the high watermark.
    pub(crate) end: i64,
    /// Oldest first; the last one is written to.
    pub(crate) segments: VecDeque<Segment>,
    /// The topic was deleted.
    pub(crate) gone: bool,
    bells: Vec<Weak<Notify>>,
}

/// Where a log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// A record found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
}

/// A segment as it is cleaned: what was written before is never written again.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) base: i64,
    /// The base of the next segment.
    pub(super) end: i64,
    pub(super) path: PathBuf,
    pub(super) bytes: u32,
    pub(super) newest_ms: i64,
    pub(super) generation: u32,
    pub(super) due_ms: Option<i64>,
    pub(super) began: Instant,
    /// All of it.
    pub(super) span: Span,
}

impl Sealed {
    fn of(segment: &Segment, end: i64) -> Self {
        Self {
            base: segment.base,
            end,
            path: segment.path.clone(),
            bytes: segment.bytes,
            newest_ms: segment.newest_ms,
            generation: segment.generation,
            due_ms: segment.due_ms,
            began: segment.began,
            span: segment.span(0),
        }
    }
}

/// How often a read looks again when its file is gone.
const READ_TRIES: u32 = 10;

/// Why nothing was read.
#[derive(Debug)]
pub(crate) enum ReadError {
    OutOfRange(Bounds),
    Gone,
    Io(io::Error),
}

/// Takes a lock; a thread that died with it left the state as it was, and every change here is made in one step.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Partition {
    pub(super) fn new(topic: String, topic_id: Uuid, number: i32, log: Log, view: View) -> Self {
        Self {
            topic,
            topic_id,
            number,
            log: Mutex::new(log),
            view: Mutex::new(view),
        }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let view = held(&self.view);
        Bounds {
            start: view.start,
            end: view.end,
        }
    }

    /// Whether the topic was deleted.
    pub(crate) fn is_gone(&self) -> bool {
        held(&self.view).gone
    }

    /// Rings `bell` at the next change. Call it before looking, so that nothing is missed.
    pub(crate) fn ring(&self, bell: &Arc<Notify>) {
        let mut view = held(&self.view);
        view.bells
            .retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(bell)));
        view.bells.push(Arc::downgrade(bell));
    }

    /// Bytes that a read at `offset` would find, as far as the sparse index knows; 0 at the end.
    pub(crate) fn bytes_after(&self, offset: i64) -> u64 {
        let view = held(&self.view);
        if offset >= view.end {
            return 0;
        }
        let first = view.holding(offset);
        let total: u64 = view
            .segments
            .iter()
            .skip(first)
            .map(|segment| u64::from(segment.bytes))
            .sum();
        let before = view
            .segments
            .get(first)
            .map_or(0, |segment| segment.index.position_of(offset));
        total.saturating_sub(u64::from(before)).max(1)
    }

    /// Reads whole batches from the one that holds `offset` on. Blocks on the disk.
    pub(crate) fn read(&self, offset: i64, bytes_max: usize, at_least_one: bool) -> Result<Bytes, ReadError> {
        let mut behind = 0;
        let mut tries = 0;
        loop {
            let Some(mut span) = self.span_at(offset, behind)? else {
                return Ok(Bytes::new());
            };
            match span.read(offset, bytes_max, at_least_one) {
                Ok(Some(records)) => return Ok(records),
                // What compaction left of the segment ends before the offset: the next one has it.
                Ok(None) => behind += 1,
                // The file was replaced or removed since we looked.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < READ_TRIES => tries += 1,
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    /// Where to read from, so many segments behind the one that holds `offset`; `None` at the end.
    fn span_at(&self, offset: i64, behind: usize) -> Result<Option<Span>, ReadError> {
        let view = held(&self.view);
        let bounds = Bounds {
            start: view.start,
            end: view.end,
        };
        if view.gone {
            return Err(ReadError::Gone);
        }
        if offset < view.start || offset > view.end {
            return Err(ReadError::OutOfRange(bounds));
        }
        if offset == view.end {
            return Ok(None);
        }
        let segment = view.segments.get(view.holding(offset) + behind);
        Ok(segment.map(|segment| segment.span(segment.index.position_of(offset))))
    }

    /// The segments that are no longer written to, oldest first.
    pub(super) fn sealed(&self) -> Vec<Sealed> {
        let view = held(&self.view);
        let ends = view.segments.iter().skip(1).map(|next| next.base);
        let sealed = view.segments.iter().zip(ends);
        sealed.map(|(segment, end)| Sealed::of(segment, end)).collect()
    }

    /// The segment that is written to, and where it ends; `None` when nothing is in it.
    pub(super) fn active(&self) -> Option<Sealed> {
        let view = held(&self.view);
        let active = view.segments.back().filter(|active| active.bytes > 0);
        active.map(|active| Sealed::of(active, view.end))
    }

    /// Puts one segment in the place of those in `paths`. `false`, and nothing is changed, when they are not all there
    /// any more.
    pub(super) fn replace(&self, paths: &[PathBuf], segment: Segment) -> bool {
        let mut view = held(&self.view);
        let first = view
            .segments
            .iter()
            .position(|present| Some(&present.path) == paths.first());
        let Some(first) = first.filter(|_| !view.gone) else {
            return false;
        };
        let present = view.segments.range(first..).map(|present| &present.path);
        if present.take(paths.len()).ne(paths) {
            return false;
        }
        view.segments.drain(first..first + paths.len());
        view.segments.insert(first, segment);
        true
    }

    /// Whether the segments in `paths` are there, one behind the other.
    pub(super) fn has(&self, paths: &[PathBuf]) -> bool {
        let view = held(&self.view);
        let from = view
            .segments
            .iter()
            .skip_while(|present| Some(&present.path) != paths.first());
        !view.gone && from.take(paths.len()).map(|present| &present.path).eq(paths)
    }

    /// The first record at or after `time_ms`. Blocks on the disk.
    pub(crate) fn find_time(&self, time_ms: i64) -> io::Result<Option<Found>> {
        for (mut span, start) in self.spans_at(time_ms) {
            let wanted = |header: &Header| header.max_timestamp >= time_ms && header.next_offset() > start;
            while let Some(header) = span.seek(wanted)? {
                let batch = span.batch(&header)?;
                if let Some(found) = first_at(&header, &batch, time_ms, start) {
                    return Ok(Some(found));
                }
                span.skip(&header);
            }
        }
        Ok(None)
    }

    /// The record with the newest timestamp, the first of several. Blocks on the disk.
    pub(crate) fn find_newest(&self) -> io::Result<Option<Found>> {
        let newest = held(&self.view)
            .segments
            .iter()
            .map(|segment| segment.newest_ms)
            .max();
        match newest {
            Some(newest) if newest >= 0 => self.find_time(newest),
            _ => Ok(None),
        }
    }

    fn spans_at(&self, time_ms: i64) -> Vec<(Span, i64)> {
        let view = held(&self.view);
        let late = view
            .segments
            .iter()
            .filter(|segment| segment.newest_ms >= time_ms);
        late.map(|segment| (segment.span(segment.index.position_at(time_ms)), view.start))
            .collect()
    }

    fn read_error(&self, error: io::Error) -> ReadError {
        if held(&self.view).gone {
            ReadError::Gone
        } else {
            ReadError::Io(error)
        }
    }

    /// Lets readers see what became durable.
    pub(super) fn publish(&self, end: i64, bytes: u32, newest_ms: i64, entries: &[Entry]) {
        let mut view = held(&self.view);
        view.end = end;
        if let Some(active) = view.segments.back_mut() {
            if active.bytes == 0 {
                active.began = Instant::now();
            }
            active.bytes = bytes;
            active.newest_ms = newest_ms;
            for entry in entries {
                active.index.note(*entry);
            }
        }
        view.ring_all();
    }

    /// Seals the last segment and adds `segment` behind it. Returns nothing; readers of the old one go on.
    pub(super) fn roll(&self, segment: Segment) {
        let mut view = held(&self.view);
        if let Some(sealed) = view.segments.back_mut() {
            sealed.file = None;
            sealed.index.thin();
        }
        view.segments.push_back(segment);
    }

    /// Lets `look` see the last segment.
    pub(super) fn with_active<T>(&self, look: impl FnOnce(&Segment) -> T) -> Option<T> {
        held(&self.view).segments.back().map(look)
    }

    /// Makes `start` the first offset and returns the files that are below it now.
    pub(super) fn trim(&self, start: i64) -> Vec<PathBuf> {
        let mut view = held(&self.view);
        view.start = view.start.max(start);
        let mut below = Vec::new();
        while view
            .segments
            .get(1)
            .is_some_and(|second| second.base <= view.start)
        {
            below.extend(view.segments.pop_front().map(|segment| segment.path));
        }
        view.ring_all();
        below
    }

    /// The topic was deleted: readers are told.
    pub(super) fn close(&self) {
        let mut view = held(&self.view);
        view.gone = true;
        view.ring_all();
    }
}

impl View {
    pub(super) fn new(start: i64, end: i64, segments: VecDeque<Segment>) -> Self {
        Self {
            start,
            end,
            segments,
            gone: false,
            bells: Vec::new(),
        }
    }

    /// The place of the segment that holds `offset`.
    fn holding(&self, offset: i64) -> usize {
        self.segments
            .partition_point(|segment| segment.base <= offset)
            .saturating_sub(1)
    }

    fn ring_all(&mut self) {
        for bell in self.bells.drain(..) {
            if let Some(bell) = bell.upgrade() {
                bell.notify_one();
            }
        }
    }
}

/// The first record of a batch at or after `time_ms` whose offset is at least `start`.
fn first_at(header: &Header, batch: &Bytes, time_ms: i64, start: i64) -> Option<Found> {
    let Ok(unpacked) = codec::records(header, batch) else {
        // A client may have written anything as compressed: such a batch is found as a whole.
        return Some(Found {
            offset: header.base_offset.max(start),
            timestamp_ms: header.max_timestamp,
        });
    };
    let mut records = unpacked.as_ref();
    while let Some(record) = Record::take(&mut records) {
        let timestamp_ms = header.base_timestamp.saturating_add(record.timestamp_delta);
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        if timestamp_ms >= time_ms && offset >= start {
            return Some(Found { offset, timestamp_ms });
        }
    }
    None
}
