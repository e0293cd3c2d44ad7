//! What a consumer remembers of a partition to drop events that come twice.
//!
//! The rules it keeps:
//! - an event counts as seen only after it was finished, so that a crash between never drops one;
//! - the window is bounded: the oldest id is forgotten first (invariant **bounded**).

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

use evenkeel_event::EventId;

/// What was finished last of one partition: ids of events, or whatever else tells one from another.
#[derive(Debug, Clone)]
pub struct Inbox<Id = EventId> {
    order: VecDeque<Id>,
    ids: HashSet<Id>,
    window: usize,
}

impl<Id: Clone + Eq + Hash> Inbox<Id> {
    /// Remembers the last `window` ids.
    #[must_use]
    pub fn new(window: usize) -> Self {
        Self {
            order: VecDeque::new(),
            ids: HashSet::new(),
            window,
        }
    }

    /// True when the event was finished before, within the window.
    #[must_use]
    pub fn has_seen(&self, id: &Id) -> bool {
        self.ids.contains(id)
    }

    /// The event is finished.
    pub fn remember(&mut self, id: Id) {
        if self.window == 0 || !self.ids.insert(id.clone()) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > self.window
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EventId {
        EventId::new(text).unwrap()
    }

    #[test]
    fn only_finished_events_are_dropped_and_the_oldest_is_forgotten() {
        let mut inbox = Inbox::new(2);
        assert!(!inbox.has_seen(&id("a")));
        for text in ["a", "a", "b", "c"] {
            inbox.remember(id(text));
        }
        assert!(!inbox.has_seen(&id("a")));
        assert!(inbox.has_seen(&id("b")) && inbox.has_seen(&id("c")));
    }
}
