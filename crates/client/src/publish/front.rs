//! Where callers' threads meet the engine: events are encoded in place into their partition's open batch.
//!
//! The rules it keeps: events of one partition leave in the order in which their callers came; nothing is sent over a
//! channel and the engine is woken once per batch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_broker::batch::{Builder, Compression};
use evenkeel_event::clock::Clock;
use evenkeel_event::{Event, EventId, Header, headers};
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
    pub(super) key: Option<&'event Bytes>,
    pub(super) value: Option<&'event [u8]>,
    pub(super) headers: Headers<'event>,
    /// What it counts for in the limit on memory.
    pub(super) bytes: usize,
    /// By way of the standby store, whether Kafka is there or not.
    pub(super) parks: bool,
}

/// A record's headers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Headers<'event> {
    List(&'event [Header]),
    /// Those of an event, as [`Event::to_headers`] has them, with its time as text.
    Event {
        event: &'event Event,
        time: &'event str,
        content_type: &'event str,
    },
}

/// A header's name and value.
type Pair<'event> = (&'event [u8], Option<&'event [u8]>);

impl<'event> Headers<'event> {
    fn iter(self) -> impl Iterator<Item = Pair<'event>> {
        let (own, list) = match self {
            Self::List(list) => ([None; 7], list),
            Self::Event {
                event,
                time,
                content_type,
            } => (attributes(event, time, content_type), event.headers.as_slice()),
        };
        let list = list
            .iter()
            .map(|header| (header.name.as_bytes(), header.value.as_deref()));
        own.into_iter().flatten().chain(list)
    }
}

fn attributes<'event>(
    event: &'event Event,
    time: &'event str,
    content_type: &'event str,
) -> [Option<Pair<'event>>; 7] {
    let pair = |name: &'static str, value: &'event str| Some((name.as_bytes(), Some(value.as_bytes())));
    [
        pair(headers::CE_SPECVERSION, "1.0"),
        pair(headers::CE_ID, event.id.as_str()),
        pair(headers::CE_SOURCE, &event.source),
        pair(headers::CE_TYPE, &event.event_type),
        pair(headers::CE_TIME, time),
        event
            .subject
            .as_deref()
            .and_then(|subject| pair(headers::CE_SUBJECT, subject)),
        pair(headers::CONTENT_TYPE, content_type),
    ]
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

/// Where an event went.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) fates: Arc<Fates>,
    pub(super) index: u32,
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

    /// Puts an event behind all others; `None` when the front was retired.
    pub(super) fn push(&self, entry: &Entry<'_>, closing: Closing, clock: &dyn Clock) -> Option<Taken> {
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
        let taken = match gather.open.as_mut().and_then(|open| open.push(entry)) {
            Some(taken) => taken,
            None => {
                gather.close(closing);
                let bytes = gather.last_bytes;
                let mut open = Open::new(self, entry.kind, closing, bytes, clock.monotonic());
                let taken = open.push(entry).or_else(|| {
                    // Larger than any batch may be: it goes alone, and the broker judges its size.
                    open.builder = Builder::new(usize::MAX);
                    open.push(entry)
                });
                gather.open = Some(open);
                taken?
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
        Some(Taken { announce, ..taken })
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
    fn new(front: &Front, kind: Kind, closing: Closing, bytes: usize, now: Duration) -> Self {
        Self {
            kind,
            builder: Builder::with_capacity(closing.bytes_max, bytes + bytes / 8),
            fates: Arc::new(Fates::new(front.place.topic.clone())),
            since: now,
            bytes: 0,
        }
    }

    fn push(&mut self, entry: &Entry<'_>) -> Option<Taken> {
        let index = u32::try_from(self.builder.count()).ok()?;
        let key = entry.key.map(|key| &key[..]);
        let (headers, count) = (entry.headers, entry.headers.iter().count());
        self.builder
            .put_record(key, entry.value, count, UNSTAMPED, || headers.iter())
            .ok()?;
        self.bytes += entry.bytes;
        Some(Taken {
            fates: self.fates.clone(),
            index,
            announce: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_event::TopicName;
    use evenkeel_event::clock::Timestamp;

    #[test]
    fn an_events_headers_are_those_that_it_names() {
        let topic = TopicName::new("orders").unwrap();
        let time = Timestamp::from_millis(1_291_191_960_000);
        let mut event = Event::new(EventId::new("a").unwrap(), "/shop", "order.placed", time, topic);
        event.headers.push(Header::new("own", "1"));
        for subject in [None, Some("536365".to_owned())] {
            event.subject = subject;
            let (content_type, mut buffer) = ("application/avro", [0; 24]);
            let headers = Headers::Event {
                event: &event,
                time: time.write_rfc3339(&mut buffer).unwrap(),
                content_type,
            };
            let list = event.to_headers(content_type, None);
            assert!(headers.iter().eq(Headers::List(&list).iter()));
        }
    }
}
