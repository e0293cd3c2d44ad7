//! This process's own lease.
//!
//! The rules it keeps:
//! - it counts from before its renewal was sent, by a clock that also runs while the machine sleeps;
//! - one that was taken anew counts once the store was asked what is diverted after it stood;
//! - it acknowledges every place that this process knows not to be open.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of this process's lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Own<K> {
    /// The last renewal that was ordered.
    pub(super) renewal: u64,
    /// It stands in the store, as far as this process knows.
    pub(super) stands: bool,
    /// The store was asked what is diverted since it stands.
    listed: bool,
    /// The store did not answer when it was last asked.
    pub(super) has_failed: bool,
    valid_until: Duration,
    acknowledged: BTreeMap<K, u64>,
    sent: Option<Sent<K>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sent<K> {
    at: Duration,
    joins: bool,
    acknowledged: BTreeMap<K, u64>,
}

impl<K: Ord + Clone> Own<K> {
    pub(super) const fn new() -> Self {
        Self {
            renewal: 0,
            stands: false,
            listed: false,
            has_failed: false,
            valid_until: Duration::ZERO,
            acknowledged: BTreeMap::new(),
            sent: None,
        }
    }

    /// True while this process may publish directly what is open.
    pub(super) fn is_valid(&self, now: Duration) -> bool {
        self.stands && self.listed && now < self.valid_until
    }

    /// What is diverted was listed.
    pub(super) const fn listed(&mut self) {
        self.listed = self.stands;
    }

    /// True when it is to be written: it does not stand, a third of it is over, or there is more to acknowledge.
    pub(super) fn is_due(&self, now: Duration, lease: Duration, acknowledged: &BTreeMap<K, u64>) -> bool {
        !self.stands || now + lease * 2 / 3 >= self.valid_until || self.acknowledged != *acknowledged
    }

    /// It is sent now. Returns its renewal and whether it joins.
    pub(super) fn send(&mut self, now: Duration, acknowledged: BTreeMap<K, u64>) -> (u64, bool) {
        self.renewal += 1;
        let joins = !self.stands;
        self.sent = Some(Sent {
            at: now,
            joins,
            acknowledged,
        });
        (self.renewal, joins)
    }

    /// It was written. True when it was taken anew.
    pub(super) fn made(&mut self, lease: Duration) -> bool {
        let Some(sent) = self.sent.take() else {
            return false;
        };
        self.has_failed = false;
        self.stands = true;
        self.valid_until = sent.at + lease;
        self.acknowledged = sent.acknowledged;
        if sent.joins {
            self.listed = false;
        }
        sent.joins
    }

    /// It was taken away.
    pub(super) fn lost(&mut self) {
        self.sent = None;
        self.stands = false;
        self.listed = false;
        self.acknowledged.clear();
    }

    /// The store did not answer. Whether it was written is not known: it counts as it did.
    pub(super) fn failed(&mut self, has_failed: bool) {
        self.sent = None;
        self.has_failed = has_failed;
    }
}
