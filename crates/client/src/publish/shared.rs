//! What callers' threads and the engine share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use evenkeel_event::TopicName;
use evenkeel_event::clock::Clock;
use evenkeel_store::Place;
use tokio::sync::Notify;

use super::fate::Fates;
use super::front::{Closing, Entry, Front};
use super::receipt::PublishError;
use super::topic::Topic;

/// The publisher's state outside the engine.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) closing: Closing,
    pub(super) linger: Duration,
    pub(super) buffer_bytes_max: usize,
    pub(super) room_wait_max: Duration,
    topics: RwLock<HashMap<TopicName, Arc<Topic>>>,
    fronts: AtomicU32,
    dirty: Mutex<Vec<Arc<Front>>>,
    /// Wakes the engine.
    pub(super) wake: Notify,
    buffered: AtomicUsize,
    room: Notify,
    drained: AtomicU64,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        closing: Closing,
        linger: Duration,
        buffer_bytes_max: usize,
        room_wait_max: Duration,
    ) -> Self {
        Self {
            clock,
            closing,
            linger,
            buffer_bytes_max,
            room_wait_max,
            topics: RwLock::default(),
            fronts: AtomicU32::new(0),
            dirty: Mutex::default(),
            wake: Notify::new(),
            buffered: AtomicUsize::new(0),
            room: Notify::new(),
            drained: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// The way into a topic.
    pub(super) fn topic(&self, name: &TopicName) -> Arc<Topic> {
        let known = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = known.get(name) {
            return topic.clone();
        }
        drop(known);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.entry(name.clone()).or_insert_with(|| {
            let unplaced = self.front(name, None);
            Arc::new(Topic::new(name.clone(), unplaced))
        });
        topic.clone()
    }

    /// A new front for a place.
    pub(super) fn front(&self, topic: &TopicName, partition: Option<i32>) -> Arc<Front> {
        let id = self.fronts.fetch_add(1, Ordering::Relaxed);
        let topic = topic.clone();
        Arc::new(Front::new(id, Place { topic, partition }))
    }

    /// Puts a record on its way. The caller has taken room for it.
    pub(super) fn enter(&self, topic: &Topic, entry: &Entry<'_>) -> Result<(Arc<Fates>, u32), PublishError> {
        loop {
            if self.is_closed() {
                self.give_room(entry.bytes);
                return Err(PublishError::Closed {
                    topic: topic.name.clone(),
                    may_have_landed: false,
                });
            }
            // A front that was retired meanwhile is replaced in the topic at once.
            if let Some(front) = topic.front(entry.key)
                && let Some(taken) = front.push(entry, self.closing, &*self.clock, |fates, index| {
                    (fates.clone(), index)
                })
            {
                if taken.announce {
                    self.announce(&front);
                }
                return Ok(taken.kept);
            }
            std::thread::yield_now();
        }
    }

    /// Tells the engine that a front has something for it.
    pub(super) fn announce(&self, front: &Arc<Front>) {
        self.dirty
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(front.clone());
        self.wake.notify_one();
    }

    pub(super) fn take_dirty(&self) -> Vec<Arc<Front>> {
        std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until `bytes` more may wait in memory. One event is always let in.
    pub(super) async fn take_room(&self, topic: &TopicName, bytes: usize) -> Result<(), PublishError> {
        if self.try_take_room(bytes) {
            return Ok(());
        }
        let wait = async {
            loop {
                let room = self.room.notified();
                tokio::pin!(room);
                room.as_mut().enable();
                if self.try_take_room(bytes) {
                    return;
                }
                room.await;
            }
        };
        tokio::time::timeout(self.room_wait_max, wait)
            .await
            .map_err(|_| PublishError::Overloaded {
                topic: topic.clone(),
                waiting_bytes: self.buffered.load(Ordering::Relaxed),
            })
    }

    /// As [`take_room`](Self::take_room), without waiting.
    pub(super) fn try_take_room(&self, bytes: usize) -> bool {
        let before = self.buffered.fetch_add(bytes, Ordering::Relaxed);
        if before == 0 || before + bytes <= self.buffer_bytes_max {
            return true;
        }
        self.buffered.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    /// What has left memory makes room for others.
    pub(super) fn give_room(&self, bytes: usize) {
        let before = self.buffered.fetch_sub(bytes, Ordering::Relaxed);
        if before > self.buffer_bytes_max / 2 {
            self.room.notify_waiters();
        }
    }

    pub(super) fn count_drained(&self, events: u64) {
        self.drained.fetch_add(events, Ordering::Relaxed);
    }

    /// Events that left the store since the start.
    pub(super) fn drained(&self) -> u64 {
        self.drained.load(Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.room.notify_waiters();
    }
}
