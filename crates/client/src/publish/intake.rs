//! What a line takes from its front.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::front::{Front, Offer, Ready};
use super::shared::Shared;

/// A front, and batches that go before what it gathers.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) front: Arc<Front>,
    pub(super) ready: VecDeque<Ready>,
    /// When the open batch is looked at again.
    pub(super) due: Option<Duration>,
}

impl Intake {
    pub(super) fn new(front: Arc<Front>) -> Self {
        Self {
            front,
            ready: VecDeque::new(),
            due: None,
        }
    }

    /// The next batch. Notes when to look again where one is still open.
    pub(super) fn next(&mut self, at_once: bool, shared: &Shared) -> Option<Ready> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        let now = shared.clock.monotonic();
        match self.front.take(at_once, shared.linger, shared.closing, now) {
            Offer::Batch(ready) => Some(ready),
            Offer::At(due) => {
                self.due = Some(due);
                None
            }
            Offer::Nothing => None,
        }
    }

    /// Tells all who wait here that nothing more will be known.
    pub(super) fn give_up(&mut self, shared: &Shared) {
        while let Some(ready) = self.next(true, shared) {
            ready.who.give_up();
        }
    }
}
