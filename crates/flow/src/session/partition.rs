//! The session's state, and where each input goes.

use std::ops::Range;

use super::{Input, Now, Order, Payload, Settings, Ticket};

/// The produce session of one partition. See the [module](super) for its contract with the shell.
#[derive(Debug)]
pub struct Partition<P> {
    settings: Settings,
    waiting: Vec<(Ticket, P)>,
    lane: Range<u64>,
}

impl<P: Payload> Partition<P> {
    /// A partition of which nothing is known.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            waiting: Vec::new(),
            lane: 0..0,
        }
    }

    /// Takes in what happened and pushes what is to be done onto `orders`.
    pub fn handle(&mut self, _now: Now, input: Input<P>, _orders: &mut Vec<Order<P>>) {
        match input {
            Input::Published { ticket, payload } => self.waiting.push((ticket, payload)),
            Input::Recovered { head, tail } => self.lane = head..tail,
            _ => {}
        }
    }

    /// Lets `ticket` (of one record) share what becomes of the event `id`, when an earlier caller was told that it may
    /// have landed. False when no such event is known: then it is published as any other.
    pub fn join(&mut self, _now: Now, _ticket: Ticket, id: &P::Id, _orders: &mut Vec<Order<P>>) -> bool {
        self.waiting.iter().any(|(_, payload)| payload.find(id).is_some())
    }

    /// True while another batch may be published.
    #[must_use]
    pub fn can_take(&self) -> bool {
        self.waiting.len() < self.settings.waiting_batches_max
    }

    /// True when every caller is answered and nothing is kept in memory alone: the process may end.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Positions of the records that the store holds of this partition, as far as the session knows.
    #[must_use]
    pub fn parked(&self) -> Range<u64> {
        self.lane.clone()
    }
}
