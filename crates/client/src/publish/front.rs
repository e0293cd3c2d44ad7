//! Where callers' threads meet the engine: each partition's open batch takes events as they were encoded.
//!
//! The rules it keeps: events of one partition leave in the order in which their callers came; nothing is sent over a
//! channel and the engine is woken once per batch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_broker::batch::{Body, Builder, Compression};
use evenkeel_event::EventId;
use evenkeel_event::clock::Clock;
use evenkeel_store::{Kind, Place};

use super::batch::{Batch, UNSTAMPED};
use super::fate::Fates;
use super::ticket::Who;

/// The open batch of one place.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) id: u32,
    pub(super) place: Place,
    gather: Mutex<Gather>,
    /// Events that callers were told may have landed are known: retries must look for them.
    pub(super) joinable: AtomicBool,
}

/// How batches are closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    pub(super) bytes_max: usize,
    pub(super) compression: Compression,
}

/// A record as it enters a batch.
#[derive(Debug)]
pub(super) struct Entry<'event> {
    pub(super) kind: Kind,
    pub(super) id: Option<&'event EventId>,
    pub(super) key: Option<&'event [u8]>,
    /// Key, value and headers.
    pub(super) body: &'event Body,
    /// What it counts for in the limit on memory.
    pub(super) bytes: usize,
    /// By way of the standby store, whether Kafka is there or not.
    pub(super) parks: bool,
}

/// What waits for the engine.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) batch: Batch,
    pub(super) who: Who,
    /// The one event of the batch may have been written before: it joins that one.
    pub(super) join: Option<EventId>,
    /// The one event of the batch goes by way of the standby store.
    pub(super) parks: bool,
    /// What it counts for in the limit on memory.
    pub(super) bytes: usize,
}

#[derive(Debug, Default)]
struct Gather {
    open: Option<Open>,
    closed: VecDeque<Ready>,
    /// The engine knows that something is here.
    announced: bool,
    /// Events of this topic go to its partitions' fronts now.
    retired: bool,
    /// What the batch before had; the next one may be like it.
    last_bytes: usize,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    builder: Builder,
    fates: Arc<Fates>,
    since: Duration,
    bytes: usize,
}

/// An event that went in.
#[derive(Debug)]
pub(super) struct Taken<T> {
    /// What the caller keeps of where it went.
    pub(super) kept: T,
    /// The engine is to be told.
    pub(super) announce: bool,
}

impl Front {
    pub(super) fn new(id: u32, place: Place) -> Self {
        Self {
            id,
            place,
            gather: Mutex::default(),
            joinable: AtomicBool::new(false),
        }
    }

    /// Puts an event behind all others; `None` when the front was retired. `keep` is told whom to ask what becomes of it,
    /// and its number there.
    pub(super) fn push<T>(
        &self,
        entry: &Entry<'_>,
        closing: Closing,
        clock: &dyn Clock,
        keep: impl FnOnce(&Arc<Fates>, u32) -> T,
    ) -> Option<Taken<T>> {
        let mut gather = self.lock();
        if gather.retired {
            return None;
        }
        let closed_before = gather.closed.len();
        let join = entry
            .id
            .filter(|_| self.joinable.load(Ordering::Acquire))
            .cloned();
        let is_alone = join.is_some() || entry.parks;
        if is_alone || gather.open.as_ref().is_some_and(|open| open.kind != entry.kind) {
            gather.close(closing);
        }
        let kept = match gather.put(entry, keep) {
            Ok(kept) => kept,
            Err(keep) => {
                gather.close(closing);
                let bytes = gather.last_bytes;
                let open = Open::new(self, entry.kind, closing.bytes_max, bytes, clock.monotonic());
                gather.open = Some(open);
                gather
                    .put(entry, keep)
                    .or_else(|keep| {
                        // Larger than any batch may be: it goes alone, and the broker judges its size.
                        let open = Open::new(self, entry.kind, usize::MAX, entry.bytes, clock.monotonic());
                        gather.open = Some(open);
                        gather.put(entry, keep)
                    })
                    .ok()?
            }
        };
        if is_alone {
            gather.close(closing);
            if let Some(ready) = gather.closed.back_mut() {
                (ready.join, ready.parks) = (join, entry.parks);
            }
        }
        // Once per batch that begins, and once per batch that is full.
        let announce = !std::mem::replace(&mut gather.announced, true) || gather.closed.len() > closed_before;
        Some(Taken { kept, announce })
    }

    /// Takes the oldest batch: a closed one, or the open one when it is older than `linger` or `at_once` holds.
    pub(super) fn take(&self, at_once: bool, linger: Duration, closing: Closing, now: Duration) -> Offer {
        let mut gather = self.lock();
        if let Some(ready) = gather.closed.pop_front() {
            return Offer::Batch(ready);
        }
        let Some(since) = gather.open.as_ref().map(|open| open.since) else {
            gather.announced = false;
            return Offer::Nothing;
        };
        if !at_once && now < since + linger {
            return Offer::At(since + linger);
        }
        gather.close(closing);
        match gather.closed.pop_front() {
            Some(ready) => Offer::Batch(ready),
            None => Offer::Nothing,
        }
    }

    /// Sends callers elsewhere from now on, when nothing is here. True when it is so.
    pub(super) fn retire(&self) -> bool {
        let mut gather = self.lock();
        if gather.open.is_none() && gather.closed.is_empty() {
            gather.retired = true;
        }
        gather.retired
    }

    fn lock(&self) -> MutexGuard<'_, Gather> {
        self.gather.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a front has for the engine.
#[derive(Debug)]
pub(super) enum Offer {
    Batch(Ready),
    /// An open batch that is to be taken at this time.
    At(Duration),
    Nothing,
}

impl Gather {
    /// Puts an event into the open batch; gives `keep` back when there is none that it fits into.
    fn put<T, Keep: FnOnce(&Arc<Fates>, u32) -> T>(
        &mut self,
        entry: &Entry<'_>,
        keep: Keep,
    ) -> Result<T, Keep> {
        match self
            .open
            .as_mut()
            .and_then(|open| Some((open.push(entry)?, open)))
        {
            Some((index, open)) => Ok(keep(&open.fates, index)),
            None => Err(keep),
        }
    }

    fn close(&mut self, closing: Closing) {
        if let Some(open) = &self.open {
            self.last_bytes = open.builder.bytes();
        }
        if let Some(open) = self.open.take()
            && let Some(batch) = Batch::close(open.kind, open.builder, closing.compression)
        {
            self.closed.push_back(Ready {
                batch,
                who: Who::Batch(open.fates),
                join: None,
                parks: false,
                bytes: open.bytes,
            });
        }
    }
}

impl Open {
    fn new(front: &Front, kind: Kind, bytes_max: usize, bytes: usize, now: Duration) -> Self {
        Self {
            kind,
            builder: Builder::with_capacity(bytes_max, bytes + bytes / 8),
            fates: Arc::new(Fates::new(front.place.topic.clone())),
            since: now,
            bytes: 0,
        }
    }

    fn push(&mut self, entry: &Entry<'_>) -> Option<u32> {
        let index = u32::try_from(self.builder.count()).ok()?;
        self.builder.put_body(entry.body, UNSTAMPED).ok()?;
        self.bytes += entry.bytes;
        Some(index)
    }
}
