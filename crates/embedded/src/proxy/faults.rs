use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::Api;

/// What is broken at the moment.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Grows with every order.
    pub(super) revision: u64,
    pub(super) cut_all: bool,
    pub(super) cut_nodes: BTreeSet<i32>,
    /// Where the brokers are, as far as answers have named them. No fault: it outlives [`Faults::clear`].
    pub(super) nodes: BTreeMap<i32, SocketAddr>,
    pub(super) hung: bool,
    pub(super) delay: Duration,
    /// How many answers of an API are still to be swallowed.
    pub(super) drops: BTreeMap<Api, usize>,
    /// How many were.
    pub(super) dropped: usize,
}

impl Faults {
    /// Whether the broker at this address cannot be reached.
    pub(super) fn cuts(&self, upstream: SocketAddr) -> bool {
        self.cut_all
            || self
                .cut_nodes
                .iter()
                .any(|node| self.nodes.get(node) == Some(&upstream))
    }

    /// Whether this answer is to be swallowed; counts it.
    pub(super) fn swallows(&mut self, api: Api) -> bool {
        match self.drops.get_mut(&api) {
            Some(times) if *times > 0 => {
                *times -= 1;
                self.dropped += 1;
                true
            }
            _ => false,
        }
    }

    /// Ends every fault.
    pub(super) fn clear(&mut self) {
        self.cut_all = false;
        self.cut_nodes.clear();
        self.hung = false;
        self.delay = Duration::ZERO;
        self.drops.clear();
    }
}
