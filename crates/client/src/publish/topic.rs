//! Where events of a topic enter: under the topic while its partitions are not known, then by key.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use evenkeel_event::TopicName;
use evenkeel_event::partitioner::partition_for;

use super::front::Front;

/// Events without a key stay on one partition for so many events, so that they share batches.
const KEYLESS_RUN: u32 = 64;

/// The way into a topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: TopicName,
    /// The front for events whose partitions are not known.
    unplaced: Arc<Front>,
    way: RwLock<Way>,
    keyless: AtomicU32,
}

/// Which fronts take a topic's events.
#[derive(Debug)]
enum Way {
    /// The partitions are not known yet.
    Unplaced,
    /// One front per partition, by index.
    Placed(Arc<[Arc<Front>]>),
}

impl Topic {
    pub(super) fn new(name: TopicName, unplaced: Arc<Front>) -> Self {
        Self {
            name,
            way: RwLock::new(Way::Unplaced),
            unplaced,
            keyless: AtomicU32::new(rand::random()),
        }
    }

    /// The front for an event with this key.
    pub(super) fn front(&self, key: Option<&[u8]>) -> Option<Arc<Front>> {
        let way = self.way.read().unwrap_or_else(PoisonError::into_inner);
        match &*way {
            Way::Unplaced => Some(self.unplaced.clone()),
            Way::Placed(fronts) => fronts.get(self.partition(key, fronts.len())).cloned(),
        }
    }

    /// The fronts by partition; `None` while the partitions are not known.
    pub(super) fn fronts(&self) -> Option<Arc<[Arc<Front>]>> {
        match &*self.way.read().unwrap_or_else(PoisonError::into_inner) {
            Way::Unplaced => None,
            Way::Placed(fronts) => Some(fronts.clone()),
        }
    }

    /// The partition for an event with this key among `partitions`.
    pub(super) fn partition(&self, key: Option<&[u8]>, partitions: usize) -> usize {
        let count = i32::try_from(partitions).unwrap_or(i32::MAX).max(1);
        let index = match key {
            Some(key) => partition_for(key, count),
            None => {
                let turn = self.keyless.fetch_add(1, Ordering::Relaxed) / KEYLESS_RUN;
                i32::try_from(turn % count.unsigned_abs()).unwrap_or(0)
            }
        };
        usize::try_from(index).unwrap_or(0)
    }

    pub(super) fn unplaced(&self) -> Arc<Front> {
        self.unplaced.clone()
    }

    /// From now on events go straight to these fronts.
    pub(super) fn place(&self, fronts: Arc<[Arc<Front>]>) {
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = Way::Placed(fronts);
    }
}
