//! When a stamp cannot decide: search the log by event id, and send again what is not there, marked.
//!
//! The rules it keeps:
//! - nothing is searched for while an attempt is open, and never without a leader;
//! - what is found is on the log; what is not is stored first, and then sent again as a possible double, with the same
//!   producer id at the epoch above, sequence 0, which fences what may land late;
//! - what cannot be searched for counts as not found.

use super::in_flight::{Home, InFlight, State};
use super::partition::Numbers;
use super::{Now, Order, Partition, Payload, SearchResult, StampedRange};

impl<P: Payload> Partition<P> {
    pub(super) fn search(&mut self, now: Now, index: usize, orders: &mut Vec<Order<P>>) {
        if self.has_open_attempt() || !self.may_send(now) {
            return;
        }
        let Some(front) = self.flight.get(index) else {
            return;
        };
        let stamping = front.stamping;
        let from = stamping.search_from.filter(|_| self.is_of_this_topic(stamping));
        let search = Numbers::next(&mut self.numbers.search);
        if let Some(front) = self.flight.get_mut(index) {
            front.state = State::Searching(search);
            orders.push(Order::Search {
                search,
                payload: front.payload.clone(),
                from,
                since: stamping.at,
            });
        }
    }

    pub(super) fn has_open_attempt(&self) -> bool {
        self.flight.iter().any(|batch| batch.attempt.is_some())
    }

    pub(super) fn searched(
        &mut self,
        now: Now,
        search: u64,
        result: SearchResult,
        orders: &mut Vec<Order<P>>,
    ) {
        let is_it = |batch: &InFlight<P>| batch.state == State::Searching(search);
        let Some(index) = self.flight.iter().position(is_it) else {
            return;
        };
        let frozen = self
            .flight
            .get(index)
            .is_some_and(|batch| batch.home == Home::Appending);
        match result {
            SearchResult::Found(offsets)
                if frozen && first_run(&offsets).is_some_and(|(_, run)| run < offsets.len()) =>
            {
                self.set_state(index, State::Undecided);
            }
            SearchResult::Found(offsets) => self.found(now, index, &offsets, orders),
            SearchResult::NotSearchable => self.set_state(index, State::Missing),
            SearchResult::Failed => {
                self.set_state(index, State::Undecided);
                self.back_off(now);
            }
        }
    }

    /// Parts the batch where found and missing records, or found ones that do not lie together, meet.
    fn found(&mut self, now: Now, index: usize, offsets: &[Option<i64>], orders: &mut Vec<Order<P>>) {
        let (mut at, mut rest) = (index, offsets);
        let mut stamps = Vec::new();
        while let Some((offset, run)) = first_run(rest) {
            let Some(batch) = self.flight.get(at) else { break };
            if let Ok(kept) = i32::try_from(run)
                && kept < batch.payload.count()
                && let Some(whole) = self.flight.remove(at)
            {
                let (first, second) = whole.split_at(kept);
                self.flight.insert(at, second);
                self.flight.insert(at, first);
            }
            let Some(batch) = self.flight.get_mut(at) else {
                break;
            };
            if let Home::Stored(position) = batch.home {
                let stamping = batch.stamping;
                stamps.push(StampedRange { position, stamping });
            }
            match offset {
                Some(_) => {
                    batch.state = State::Done;
                    batch.tell_published(offset, orders);
                    self.remember_landed(at, offset);
                    self.health.stalled_since = Some(now.elapsed);
                }
                None => batch.state = State::Missing,
            }
            at += 1;
            rest = rest.get(run..).unwrap_or_default();
        }
        if stamps.len() > 1 {
            self.store_stamps(stamps, orders);
        }
    }

    /// Stamps the front anew at the epoch above, marked. True when it did.
    pub(super) fn send_marked(&mut self, now: Now, index: usize, orders: &mut Vec<Order<P>>) -> bool {
        let Some(front) = self.flight.get_mut(index) else {
            return false;
        };
        front.stamping.possible_double = true;
        let old = front.stamping.stamp;
        let Some(producer_id) = self.above(old, orders) else {
            return false;
        };
        let range = self.restamp(now, index, producer_id);
        self.store_stamps(range.into_iter().collect(), orders);
        true
    }

    fn set_state(&mut self, index: usize, state: State) {
        if let Some(batch) = self.flight.get_mut(index) {
            batch.state = state;
        }
    }
}

/// The records from the first on that are all missing, or all found one behind the other.
fn first_run(offsets: &[Option<i64>]) -> Option<(Option<i64>, usize)> {
    let first = *offsets.first()?;
    let belongs = |(index, offset): (usize, &Option<i64>)| match (first, offset) {
        (None, None) => true,
        (Some(first), Some(offset)) => i64::try_from(index).is_ok_and(|index| first + index == *offset),
        _ => false,
    };
    let run = offsets
        .iter()
        .enumerate()
        .take_while(|(index, offset)| belongs((*index, *offset)))
        .count();
    Some((first, run))
}
