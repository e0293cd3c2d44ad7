//! Checks the promises in every state.

use super::broker::Event;

/// What is known of every event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Judge {
    /// Events whose callers were told that they are published or parked.
    pub(super) returned: u32,
    /// Per event: earlier ones of its process.
    own: Vec<u32>,
    /// Per event: those of others that had returned when it was called.
    others: Vec<u32>,
    /// The order across processes is looked at also where one had no lease.
    counts_unguarded: bool,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was seen.
    pub seen: String,
}

const fn bit(event: Event) -> u32 {
    1 << event
}

impl Judge {
    pub(super) fn new(events: usize, counts_unguarded: bool) -> Self {
        Self {
            returned: 0,
            own: vec![0; events],
            others: vec![0; events],
            counts_unguarded,
        }
    }

    pub(super) fn events(&self) -> usize {
        self.own.len()
    }

    /// A process that called `earlier` before calls `event`.
    pub(super) fn called(&mut self, event: Event, earlier: &[Event]) {
        self.own[event as usize] = earlier.iter().map(|event| bit(*event)).sum();
        self.others[event as usize] = self.returned;
    }

    /// The event goes directly although its process has no lease.
    pub(super) fn sent_unguarded(&mut self, event: Event) {
        if !self.counts_unguarded {
            self.others[event as usize] = 0;
        }
    }

    pub(super) fn returned(&mut self, event: Event) {
        self.returned |= bit(event);
    }

    /// Checks the log, whose last event is new.
    pub(super) fn check_log(&self, log: &[Event]) -> Option<Violation> {
        let (last, earlier) = log.split_last()?;
        let violation = |invariant, seen| Some(Violation { invariant, seen });
        if earlier.contains(last) {
            return violation("once", format!("event {last} is on the log twice: {log:?}"));
        }
        let overtaker = earlier
            .iter()
            .find(|event| (self.own[**event as usize] | self.others[**event as usize]) & bit(*last) != 0);
        let overtaker = overtaker?;
        violation(
            "in-order",
            format!("event {overtaker} is to come after {last}, and came first: {log:?}"),
        )
    }

    /// Every event that was promised is somewhere.
    pub(super) fn check_owned(&self, is_kept: impl Fn(Event) -> bool) -> Option<Violation> {
        let events = 0..self.own.len() as Event;
        let lost = events
            .filter(|event| self.returned & bit(*event) != 0)
            .find(|event| !is_kept(*event))?;
        Some(Violation {
            invariant: "owned",
            seen: format!("event {lost} was promised and is nowhere"),
        })
    }
}
