//! The leases of others.
//!
//! The rule it keeps: a lease has run out when one renewal of it was seen for longer than it counts, by this process's own
//! clock; and it has run out for its holder, too, only when it is taken away on condition of that renewal.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Lease, Process, Settings};

/// What was seen of the leases of others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Watch {
    /// A listing is not answered.
    pub(super) is_open: bool,
    seen: BTreeMap<Process, Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Seen {
    renewal: u64,
    since: Duration,
}

impl Watch {
    pub(super) const fn new() -> Self {
        Self {
            is_open: false,
            seen: BTreeMap::new(),
        }
    }

    /// Takes in a listing. Returns the leases that have run out.
    pub(super) fn take<K>(
        &mut self,
        now: Duration,
        settings: &Settings,
        leases: &[Lease<K>],
    ) -> Vec<(Process, u64)> {
        let mut seen = BTreeMap::new();
        let mut over = Vec::new();
        for lease in leases {
            let fresh = Seen {
                renewal: lease.renewal,
                since: now,
            };
            let known = self.seen.get(&lease.process).copied();
            let entry = known
                .filter(|known| known.renewal == lease.renewal)
                .unwrap_or(fresh);
            if now >= entry.since + settings.outlasts(lease.duration) {
                over.push((lease.process, lease.renewal));
            }
            seen.insert(lease.process, entry);
        }
        self.seen = seen;
        over
    }
}
