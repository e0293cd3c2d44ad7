//! Reads of parked events wait in one row for their turns, so that partitions share the pace of the drain fairly, and the
//! memory for it: what is read, and not removed yet, has a limit over all of them.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;

use evenkeel_broker::Outcome;
use evenkeel_flow::pace::{Grant, Pace};
use evenkeel_flow::session::{Payload as _, Stored};
use evenkeel_flow::{Answer, Trouble};

use super::batch::Batch;
use super::done::Done;
use super::engine::Engine;
use super::store_step::{READ_BYTES_MAX, StoreStep};

/// Most bytes of parked events that are read and not removed yet, of all partitions together. A partition that has read nothing
/// may read once beyond that, so that one that stands still holds up no other.
const AHEAD_BYTES_MAX: usize = 4 << 20;

/// The row, the pace, and what was read.
#[derive(Debug)]
pub(super) struct Turns {
    pace: Pace,
    /// Lines whose reads wait, and from which positions on.
    waiting: VecDeque<(u32, u64)>,
    is_sleeping: bool,
    ahead: HashMap<u32, Ahead>,
    ahead_bytes: usize,
}

/// What one line has read and not removed.
#[derive(Debug, Default)]
struct Ahead {
    /// For a read that is under way.
    reserved: usize,
    /// Where batches stand, and their bytes.
    batches: VecDeque<(u64, usize)>,
}

impl Turns {
    pub(super) fn new(events_per_second: Option<NonZeroU32>) -> Self {
        Self {
            pace: Pace::new(events_per_second),
            waiting: VecDeque::new(),
            is_sleeping: false,
            ahead: HashMap::new(),
            ahead_bytes: 0,
        }
    }

    /// The place in the row of the first line that may read now.
    fn next(&self) -> Option<usize> {
        let has_room = self.ahead_bytes + READ_BYTES_MAX <= AHEAD_BYTES_MAX;
        let may_read = |id: &u32| has_room || self.ahead.get(id).is_none_or(Ahead::is_empty);
        self.waiting.iter().position(|(id, _)| may_read(id))
    }

    /// A line waits for its turn to read from a position on; what it had read behind that it has given up.
    fn wait(&mut self, id: u32, from: u64) {
        self.change(id, |ahead| {
            while ahead
                .batches
                .back()
                .is_some_and(|(position, _)| *position >= from)
            {
                ahead.batches.pop_back();
            }
        });
        self.waiting.push_back((id, from));
    }

    /// A line is about to read.
    fn reserve(&mut self, id: u32) {
        self.change(id, |ahead| ahead.reserved = READ_BYTES_MAX);
    }

    /// A read has ended.
    pub(super) fn has_come(&mut self, id: u32, batches: &[Stored<Batch>]) {
        self.change(id, |ahead| {
            ahead.reserved = 0;
            let sizes = batches
                .iter()
                .map(|batch| (batch.position, batch.payload.bytes()));
            ahead.batches.extend(sizes);
        });
    }

    /// What stood below a position has left the store.
    pub(super) fn has_left(&mut self, id: u32, below: u64) {
        self.change(id, |ahead| {
            while ahead
                .batches
                .front()
                .is_some_and(|(position, _)| *position < below)
            {
                ahead.batches.pop_front();
            }
        });
    }

    /// A line is there no more.
    pub(super) fn forget(&mut self, id: u32) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        self.change(id, |ahead| *ahead = Ahead::default());
    }

    fn change(&mut self, id: u32, change: impl FnOnce(&mut Ahead)) {
        let ahead = self.ahead.entry(id).or_default();
        let before = ahead.bytes();
        change(ahead);
        self.ahead_bytes = self.ahead_bytes.saturating_sub(before) + ahead.bytes();
        if ahead.is_empty() {
            self.ahead.remove(&id);
        }
    }
}

impl Ahead {
    fn bytes(&self) -> usize {
        self.reserved + self.batches.iter().map(|(_, bytes)| bytes).sum::<usize>()
    }

    fn is_empty(&self) -> bool {
        self.reserved == 0 && self.batches.is_empty()
    }
}

impl Engine {
    /// Puts a line's read behind those of others.
    pub(super) fn order_read(&mut self, id: u32, from: u64) {
        self.turns.wait(id, from);
        self.give_turns();
    }

    pub(super) fn give_turns(&mut self) {
        while let Some(place) = self.turns.next() {
            let now = self.shared.clock.monotonic();
            match self.turns.pace.grant(now) {
                Grant::Events(events_max) => {
                    let Some((id, from)) = self.turns.waiting.remove(place) else {
                        return;
                    };
                    self.turns.pace.took(now, events_max);
                    self.turns.reserve(id);
                    self.order_step(id, StoreStep::Read { from, events_max });
                }
                Grant::At(at) => return self.sleep_for_turns(at.saturating_sub(now)),
            }
        }
    }

    fn sleep_for_turns(&mut self, wait: std::time::Duration) {
        if !std::mem::replace(&mut self.turns.is_sleeping, true) {
            self.work.push(Box::pin(async move {
                tokio::time::sleep(wait).await;
                Done::Turn
            }));
        }
    }

    pub(super) fn turn_has_come(&mut self) {
        self.turns.is_sleeping = false;
        self.give_turns();
    }

    /// So many events were read for a grant of `granted`.
    pub(super) fn has_read(&mut self, granted: u32, read: u32) {
        self.turns.pace.settle(granted, read);
    }

    /// Lets the pace follow how the cluster is.
    pub(super) fn note_health(&mut self, outcome: &Outcome, throttle: std::time::Duration) {
        let now = self.shared.clock.monotonic();
        if !throttle.is_zero() {
            self.turns.pace.throttled(now + throttle);
        }
        match outcome.answer {
            Answer::Appended { .. } => self.turns.pace.went_well(),
            Answer::Unanswered {
                trouble:
                    Trouble::TimedOut | Trouble::NotEnoughReplicas | Trouble::StorageFailed | Trouble::Throttled,
                ..
            } => self.turns.pace.troubled(now),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_broker::batch::{Builder, Compression};
    use evenkeel_event::clock::Timestamp;
    use evenkeel_store::Kind;

    use super::*;

    fn read(position: u64, bytes: usize) -> Stored<Batch> {
        let mut builder = Builder::new(4 << 20);
        let value = vec![b'x'; bytes];
        builder
            .push(None, Some(&value), &[], Timestamp::from_millis(0))
            .unwrap();
        Stored {
            position,
            payload: Batch::close(Kind::Event, builder, Compression::None).unwrap(),
            stamping: None,
        }
    }

    fn turns(waiting: &[u32]) -> Turns {
        let mut turns = Turns::new(None);
        for id in waiting {
            turns.wait(*id, 0);
        }
        turns
    }

    #[test]
    fn lines_wait_while_too_much_is_read_ahead_and_one_that_stands_still_holds_up_no_other() {
        let mut turns = turns(&[1, 2]);
        turns.has_come(1, &[read(0, AHEAD_BYTES_MAX / 4), read(1, AHEAD_BYTES_MAX / 4)]);
        assert_eq!(turns.next(), Some(0), "there is room");
        turns.reserve(1);
        turns.has_come(1, &[read(2, AHEAD_BYTES_MAX / 2)]);
        assert_eq!(turns.next(), Some(1), "only one that has read nothing");
        turns.has_left(1, 2);
        assert_eq!(turns.next(), Some(0));
        turns.has_left(1, 3);
        assert_eq!((turns.ahead_bytes, turns.ahead.len()), (0, 0));
    }

    #[test]
    fn what_a_line_gives_up_and_reads_again_counts_once() {
        let mut turns = turns(&[]);
        turns.has_come(1, &[read(0, 1_000), read(1, 1_000)]);
        let before = turns.ahead_bytes;
        turns.wait(1, 1);
        turns.reserve(1);
        assert_eq!(turns.ahead_bytes, before / 2 + READ_BYTES_MAX);
        turns.has_come(1, &[read(1, 1_000)]);
        assert_eq!(turns.ahead_bytes, before);
        turns.reserve(1);
        turns.has_come(1, &[]);
        assert_eq!(turns.ahead_bytes, before, "a read that failed holds nothing");
    }

    #[test]
    fn lines_that_gave_up_all_that_they_had_read_are_not_held_up_by_it() {
        let mut turns = turns(&[]);
        for id in 0..4 {
            turns.has_come(id, &[read(0, AHEAD_BYTES_MAX / 2)]);
        }
        for id in 0..4 {
            turns.wait(id, 0);
            assert_eq!(turns.next(), Some(0));
            turns.waiting.clear();
            turns.reserve(id);
        }
    }
}
