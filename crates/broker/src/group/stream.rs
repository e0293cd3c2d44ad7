//! What waits between the engine, which fetches, and the application, which takes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use evenkeel_flow::membership::{self, Claim};
use tokio::sync::Notify;

use super::event::{Delivery, Event, MoveCause};
use crate::batch::{Batch, DECOMPRESSED_BYTES_MAX, Unreadable};

/// Shared by the engine and the application. Records wait per claim, so that what is taken away goes at once; the
/// engine fetches no more than the options allow. Other events go first: they wait until they are looked at, and the
/// group does not produce more until then.
#[derive(Debug)]
pub(super) struct Stream {
    partition_bytes_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
    /// Something is to be taken.
    filled: Notify,
    /// There is room again, or the application came back or went away.
    pub(super) taken: Notify,
    /// Odd while the application waits in `next`.
    turns: AtomicU64,
    abandoned: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    buffers: BTreeMap<Claim, Buffer>,
    /// Bytes that wait in all buffers.
    bytes: usize,
    /// Claims with something to take, in turn.
    turn: VecDeque<Claim>,
    end: Option<Option<membership::Error>>,
}

#[derive(Debug, Default)]
struct Buffer {
    items: VecDeque<Item>,
    bytes: usize,
    paused: bool,
    /// The offset behind what the application has taken.
    taken: Option<i64>,
    high_watermark: i64,
}

/// What waits on a partition, in its order.
#[derive(Debug)]
pub(super) enum Item {
    Batch { batch: Batch, from: i64 },
    Unreadable(Unreadable),
    Moved { from: i64, to: i64, cause: MoveCause },
}

impl Item {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Batch { batch, .. } => batch.bytes().len(),
            Self::Unreadable(unreadable) => unreadable.bytes.len(),
            Self::Moved { .. } => 0,
        }
    }
}

/// What `take` finds.
pub(super) enum Taken {
    Event(Event),
    Nothing,
    End(Option<membership::Error>),
}

impl Stream {
    pub(super) fn new(partition_bytes_max: usize, bytes_max: usize) -> Self {
        Self {
            partition_bytes_max,
            bytes_max,
            state: Mutex::default(),
            filled: Notify::new(),
            taken: Notify::new(),
            turns: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event that nobody will take is dropped; that gives revoked partitions back.
    pub(super) fn tell(&self, event: Event) {
        if !self.is_abandoned() {
            self.lock().events.push_back(event);
            self.filled.notify_one();
        }
    }

    /// Ends the stream. The error, if there is one, is told once.
    pub(super) fn end(&self, error: Option<membership::Error>) {
        let mut state = self.lock();
        state.buffers.clear();
        state.bytes = 0;
        state.end.get_or_insert(error);
        drop(state);
        self.filled.notify_one();
    }

    pub(super) fn open(&self, claim: Claim) {
        self.lock().buffers.insert(claim, Buffer::default());
    }

    /// Drops a claim and what waits on it.
    pub(super) fn shut(&self, claim: &Claim) {
        let mut state = self.lock();
        if let Some(buffer) = state.buffers.remove(claim) {
            state.bytes = state.bytes.saturating_sub(buffer.bytes);
        }
    }

    /// Drops what waits on a claim that goes on elsewhere.
    pub(super) fn clear(&self, claim: &Claim) {
        let mut state = self.lock();
        if let Some(buffer) = state.buffers.get_mut(claim) {
            buffer.items.clear();
            let freed = std::mem::take(&mut buffer.bytes);
            state.bytes = state.bytes.saturating_sub(freed);
        }
    }

    /// Gives out no more of `claim` and has no more of it fetched.
    pub(super) fn pause(&self, claim: &Claim) {
        if let Some(buffer) = self.lock().buffers.get_mut(claim) {
            buffer.paused = true;
        }
    }

    pub(super) fn resume(&self, claim: &Claim) {
        let mut state = self.lock();
        if let Some(buffer) = state.buffers.get_mut(claim) {
            let was_paused = std::mem::take(&mut buffer.paused);
            if was_paused && !buffer.items.is_empty() {
                state.turn.push_back(claim.clone());
            }
        }
        drop(state);
        self.filled.notify_one();
        // The engine may fetch it again.
        self.taken.notify_one();
    }

    pub(super) fn push(&self, claim: &Claim, items: Vec<Item>, high_watermark: i64) {
        let mut state = self.lock();
        let Some(buffer) = state.buffers.get_mut(claim) else {
            return;
        };
        buffer.high_watermark = high_watermark;
        if items.is_empty() {
            return;
        }
        let bytes = items.iter().map(Item::bytes).sum::<usize>();
        buffer.bytes += bytes;
        let first = buffer.items.is_empty();
        buffer.items.extend(items);
        let in_turn = first && !buffer.paused;
        state.bytes += bytes;
        if in_turn {
            state.turn.push_back(claim.clone());
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Those of `claims` for which more may be fetched.
    pub(super) fn with_room(&self, mut claims: Vec<Claim>) -> Vec<Claim> {
        let state = self.lock();
        if state.bytes >= self.bytes_max {
            return Vec::new();
        }
        let has_room = |claim: &Claim| {
            let buffer = state.buffers.get(claim);
            buffer.is_some_and(|buffer| !buffer.paused && buffer.bytes < self.partition_bytes_max)
        };
        claims.retain(has_room);
        claims
    }

    /// Records that the application has not taken yet, by claim, as far as the log's end is known.
    pub(super) fn lag(&self) -> Vec<(Claim, i64)> {
        let state = self.lock();
        let known = state.buffers.iter().filter_map(|(claim, buffer)| {
            let lag = buffer.high_watermark.saturating_sub(buffer.taken?);
            Some((claim.clone(), lag.max(0)))
        });
        known.collect()
    }

    /// The offset behind what the application has taken.
    pub(super) fn taken_until(&self, claim: &Claim) -> Option<i64> {
        self.lock().buffers.get(claim)?.taken
    }

    /// The offset from which the application reads on.
    pub(super) fn begin(&self, claim: &Claim, offset: i64) {
        if let Some(buffer) = self.lock().buffers.get_mut(claim) {
            buffer.taken = Some(offset);
        }
    }

    /// The next event, waiting for one.
    pub(super) async fn next(&self) -> Result<Option<Event>, membership::Error> {
        // A dropped future stops waiting too.
        let _waiting = Waiting::begin(self);
        loop {
            let filled = self.filled.notified();
            match self.take() {
                Taken::Event(event) => return Ok(Some(event)),
                Taken::End(None) => return Ok(None),
                Taken::End(Some(error)) => return Err(error),
                Taken::Nothing => {
                    self.taken.notify_one();
                    filled.await;
                }
            }
        }
    }

    fn take(&self) -> Taken {
        let mut state = self.lock();
        if let Some(event) = state.events.pop_front() {
            return Taken::Event(event);
        }
        while let Some(claim) = state.turn.pop_front() {
            let Some(buffer) = state.buffers.get_mut(&claim) else {
                continue;
            };
            if buffer.paused {
                continue;
            }
            let Some(item) = buffer.items.pop_front() else {
                continue;
            };
            let bytes = item.bytes();
            let was_full = buffer.bytes >= self.partition_bytes_max;
            buffer.bytes = buffer.bytes.saturating_sub(bytes);
            let has_room = buffer.bytes < self.partition_bytes_max;
            let high_watermark = buffer.high_watermark;
            buffer.taken = Some(match &item {
                Item::Batch { batch, .. } => batch.last_offset.saturating_add(1),
                Item::Unreadable(unreadable) => unreadable.last_offset.saturating_add(1),
                Item::Moved { to, .. } => *to,
            });
            let more = !buffer.items.is_empty();
            let all_were_full = state.bytes >= self.bytes_max;
            state.bytes = state.bytes.saturating_sub(bytes);
            if more {
                state.turn.push_back(claim.clone());
            }
            if (was_full && has_room) || all_were_full {
                self.taken.notify_one();
            }
            drop(state);
            return Taken::Event(open(claim, item, high_watermark));
        }
        match &mut state.end {
            Some(error) => Taken::End(error.take()),
            None => Taken::Nothing,
        }
    }

    /// Counts the application's turns: odd while it waits.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        drop(std::mem::take(&mut self.lock().events));
        self.taken.notify_one();
    }

    /// True when nobody will take anything any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

/// Records are decompressed when they are taken, so that what waits stays as small as it came.
fn open(claim: Claim, item: Item, high_watermark: i64) -> Event {
    match item {
        Item::Batch { batch, from } => match batch.open(DECOMPRESSED_BYTES_MAX) {
            Ok(records) => Event::Records(Delivery {
                claim,
                batch,
                records,
                from,
                high_watermark,
            }),
            Err(reason) => Event::Skipped {
                claim,
                unreadable: batch.into_unreadable(reason),
            },
        },
        Item::Unreadable(unreadable) => Event::Skipped { claim, unreadable },
        Item::Moved { from, to, cause } => Event::Moved {
            claim,
            from,
            to,
            cause,
        },
    }
}

struct Waiting<'a> {
    stream: &'a Stream,
}

impl<'a> Waiting<'a> {
    fn begin(stream: &'a Stream) -> Self {
        stream.turns.fetch_add(1, Ordering::AcqRel);
        Self { stream }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.stream.turns.fetch_add(1, Ordering::AcqRel);
    }
}
