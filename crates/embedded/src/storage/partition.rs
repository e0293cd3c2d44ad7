//! One partition as everybody but the log's thread sees it: what is durable, and a bell for those who wait for more.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    batch::{HEADER_BYTES, Header, Record},
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
        let mut span = {
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
            match view.segments.get(view.holding(offset)) {
                Some(segment) if offset < view.end => segment.span(segment.index.position_of(offset)),
                _ => return Ok(Bytes::new()),
            }
        };
        span.read(offset, bytes_max, at_least_one)
            .map_err(|error| self.read_error(error))
    }

    /// The first record at or after `time_ms`. Blocks on the disk. In a compressed batch it is the batch's first.
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
fn first_at(header: &Header, batch: &[u8], time_ms: i64, start: i64) -> Option<Found> {
    if header.is_compressed() {
        let offset = header.base_offset.max(start);
        return Some(Found {
            offset,
            timestamp_ms: header.max_timestamp,
        });
    }
    let mut records = batch.get(HEADER_BYTES..)?;
    while let Some(record) = Record::take(&mut records) {
        let timestamp_ms = header.base_timestamp.saturating_add(record.timestamp_delta);
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        if timestamp_ms >= time_ms && offset >= start {
            return Some(Found { offset, timestamp_ms });
        }
    }
    None
}
