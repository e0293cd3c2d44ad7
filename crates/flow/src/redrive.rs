//! Redriving dead letters: each is claimed by one redrive and sent on once, across crashes.
//!
//! ```text
//! plan ──Claim──> first claim is ours ──Append──> lane in the standby store ──Finish──> done
//!                  ├─ an earlier run's ──LookFor──> there: Finish; missing: Append
//!                  │                                                        └─ from there the drain sends it, with a stored stamp
//!                  └─ another's: left out, and Hold for what is behind it on its lane
//! ```
//!
//! The rules it keeps (invariants **once**, **in-order**, **untouched**):
//! - a letter is sent by the redrive whose claim of it stands first in the log of decisions; a letter that was sent
//!   before, by whatever redrive, stays sent;
//! - letters are appended to their lanes in the order of the plan, each alone; the drain stores a stamp before it sends;
//!   what is behind a letter of another redrive on one lane waits for a later run, so that it does not pass that letter;
//! - what an earlier run claimed and did not finish is looked for first: in the store, then on the log. It was sent from
//!   the store or not at all, so nothing of it can land later unseen. What cannot be known, and what was taken over from
//!   a store that is gone, is appended marked as a possible double;
//! - a letter is finished when its event is in the store; the letter itself is not touched. Where that store is gone, the
//!   event is looked for on the log: it is sent again when it is missing, and left alone when that cannot be known;
//! - claims run a bounded number ahead, and no more letters are appended a second than the rate says.
//!
//! A redrive that was interrupted is made again, with the same plan or another one, and told the claims and endings that
//! the log of decisions holds; it goes on where it was.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::session::StoreResult;

/// Letters claimed and not yet finished. They are claimed by halves of this, so that a write holds many claims.
const CLAIMED_AHEAD_MAX: usize = 64;

/// How long an append that the store refused waits before it is ordered again.
const STORE_BACK_OFF: Duration = Duration::from_millis(250);

/// One redrive of a plan. `Key` names a letter: (topic, partition, offset, group), or the event's id on the publish side.
#[derive(Debug)]
pub struct Redrive<Key> {
    plan: VecDeque<Planned<Key>>,
    /// Lanes of letters that were at the front of the plan and are left to another redrive.
    held: HashSet<u64>,
    interval: Duration,
    next_at: Duration,
    wake: Option<Duration>,
}

/// A letter as a plan names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter<Key> {
    /// The letter.
    pub key: Key,
    /// The number of its event's lane in this plan; absent when no order is promised for it.
    pub lane: Option<u64>,
}

#[derive(Debug)]
struct Planned<Key> {
    key: Key,
    lane: Option<u64>,
    state: State,
    possible_double: bool,
    was_done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Planned,
    Claiming,
    Looking,
    Claimed,
    Appending,
    Stored,
    Finishing,
    Over,
    /// Another redrive's, or behind one that is.
    Left,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<Key> {
    /// The log of decisions was read up to a claim of the letter.
    Claimed {
        /// The letter.
        key: Key,
        /// Whose claim counts.
        claim: Claim,
    },
    /// What a letter's event was looked for came to.
    Looked {
        /// The letter.
        key: Key,
        /// What it came to.
        seen: Seen,
    },
    /// What became of an append.
    Appended {
        /// The letter.
        key: Key,
        /// What became of it.
        result: StoreResult,
    },
    /// The letter's ending is in the log of decisions.
    Finished {
        /// The letter.
        key: Key,
    },
    /// Time has passed.
    Timer,
}

/// Whose claim of a letter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This run's.
    Ours,
    /// That of an earlier run through the same store: it may have appended the event.
    OursBefore,
    /// This run's, taken over from a redrive whose store is out of reach: that one may have sent the event.
    TakenOver,
    /// This run's, taken over from a redrive that finished the letter through a store which is gone: the event is on the
    /// log, or was lost with that store.
    DoneElsewhere,
    /// Another redrive's.
    Anothers,
}

/// What looking for a letter's event came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It is in the store or on the log.
    There,
    /// It is in neither.
    Missing,
    /// It is not in the store, and the log no longer goes back to its claim.
    Unknowable,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order<Key> {
    /// Write a claim of the letter to the log of decisions, and read the log up to it.
    Claim {
        /// The letter.
        key: Key,
    },
    /// Look for the letter's event in the standby store, and then on the log behind the place that its claim names.
    LookFor {
        /// The letter.
        key: Key,
    },
    /// Append the letter's event, mended or not, to the lane of its partition in the standby store. Ordered again after
    /// [`StoreResult::Unknown`], it joins the append before it.
    Append {
        /// The letter.
        key: Key,
        /// To be marked: the event may have been sent before.
        possible_double: bool,
    },
    /// Leave the letter to a later run: one before it on its lane is another redrive's. Told once.
    Hold {
        /// The letter.
        key: Key,
    },
    /// Write the letter's ending to the log of decisions.
    Finish {
        /// The letter.
        key: Key,
    },
    /// Tell the time at this instant of the monotonic clock. Replaces earlier ones.
    WakeAt(Duration),
}

impl<Key: Clone + PartialEq> Redrive<Key> {
    /// A redrive of `plan`, in its order, of at most `rate_per_second` letters a second (0: no limit).
    #[must_use]
    pub fn new(plan: Vec<Letter<Key>>, rate_per_second: u32) -> Self {
        let planned = |letter: Letter<Key>| Planned {
            key: letter.key,
            lane: letter.lane,
            state: State::Planned,
            possible_double: false,
            was_done: false,
        };
        Self {
            plan: plan.into_iter().map(planned).collect(),
            held: HashSet::new(),
            interval: Duration::from_secs(1)
                .checked_div(rate_per_second)
                .unwrap_or_default(),
            next_at: Duration::ZERO,
            wake: None,
        }
    }

    /// Takes in what happened, `now` on the monotonic clock, and pushes what is to be done onto `orders`.
    pub fn handle(&mut self, now: Duration, input: Input<Key>, orders: &mut Vec<Order<Key>>) {
        match input {
            Input::Claimed { key, claim } => self.claimed(&key, claim, orders),
            Input::Looked { key, seen } => self.looked(&key, seen),
            Input::Appended { key, result } => self.appended(now, &key, result),
            Input::Finished { key } => {
                if let Some(letter) = self.letter(&key) {
                    letter.state = State::Over;
                }
            }
            Input::Timer => self.wake = None,
        }
        self.go_on(now, orders);
    }

    /// True when every letter is sent on or left to another redrive.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.plan.is_empty()
    }

    fn letter(&mut self, key: &Key) -> Option<&mut Planned<Key>> {
        self.plan.iter_mut().find(|letter| letter.key == *key)
    }

    fn claimed(&mut self, key: &Key, claim: Claim, orders: &mut Vec<Order<Key>>) {
        let Some(letter) = self.letter(key).filter(|letter| letter.state < State::Looking) else {
            return;
        };
        letter.possible_double = matches!(claim, Claim::TakenOver | Claim::DoneElsewhere);
        letter.was_done = claim == Claim::DoneElsewhere;
        letter.state = match claim {
            Claim::Ours => State::Claimed,
            Claim::OursBefore | Claim::TakenOver | Claim::DoneElsewhere => State::Looking,
            Claim::Anothers => State::Left,
        };
        if letter.state == State::Looking {
            let key = letter.key.clone();
            orders.push(Order::LookFor { key });
        }
    }

    fn looked(&mut self, key: &Key, seen: Seen) {
        let Some(letter) = self.letter(key).filter(|letter| letter.state == State::Looking) else {
            return;
        };
        letter.possible_double |= seen == Seen::Unknowable;
        letter.state = match seen {
            Seen::There => State::Stored,
            Seen::Unknowable if letter.was_done => State::Stored,
            Seen::Missing | Seen::Unknowable => State::Claimed,
        };
    }

    fn appended(&mut self, now: Duration, key: &Key, result: StoreResult) {
        let Some(letter) = self.letter(key).filter(|letter| letter.state == State::Appending) else {
            return;
        };
        match result {
            StoreResult::Durable { .. } => letter.state = State::Stored,
            StoreResult::Refused | StoreResult::Passed | StoreResult::Unknown => {
                letter.state = State::Claimed;
                self.next_at = now + STORE_BACK_OFF;
            }
        }
    }

    fn go_on(&mut self, now: Duration, orders: &mut Vec<Order<Key>>) {
        let mut is_front = true;
        let claims_more = self.has_few_claimed();
        let mut held = HashSet::new();
        for letter in self.plan.iter_mut().take(CLAIMED_AHEAD_MAX) {
            let is_held = |lane: u64| held.contains(&lane) || self.held.contains(&lane);
            let is_open = matches!(letter.state, State::Planned | State::Claimed);
            if is_open && letter.lane.is_some_and(is_held) {
                letter.state = State::Left;
                let key = letter.key.clone();
                orders.push(Order::Hold { key });
            }
            match letter.state {
                State::Left => held.extend(letter.lane),
                State::Planned if claims_more => {
                    letter.state = State::Claiming;
                    orders.push(Order::Claim {
                        key: letter.key.clone(),
                    });
                }
                State::Claimed if is_front && now >= self.next_at => {
                    letter.state = State::Appending;
                    self.next_at = now + self.interval;
                    let (key, possible_double) = (letter.key.clone(), letter.possible_double);
                    orders.push(Order::Append { key, possible_double });
                }
                _ => {}
            }
            is_front &= letter.state >= State::Stored;
        }
        self.finish(orders);
        let is_waiting = self.plan.iter().any(|letter| letter.state == State::Claimed);
        let next = (is_waiting && self.next_at > now).then_some(self.next_at);
        if next != self.wake {
            self.wake = next;
            orders.extend(next.map(Order::WakeAt));
        }
    }

    fn has_few_claimed(&self) -> bool {
        let ahead = self.plan.iter().take(CLAIMED_AHEAD_MAX);
        let planned = ahead.clone().filter(|letter| letter.state == State::Planned);
        planned.count() * 2 >= ahead.count()
    }

    /// Writes the endings of what is stored, and forgets the beginning of the plan that is over.
    fn finish(&mut self, orders: &mut Vec<Order<Key>>) {
        for letter in &mut self.plan {
            if letter.state == State::Stored {
                letter.state = State::Finishing;
                orders.push(Order::Finish {
                    key: letter.key.clone(),
                });
            }
        }
        while let Some(letter) = self.plan.pop_front_if(|letter| letter.state >= State::Over) {
            if letter.state == State::Left {
                self.held.extend(letter.lane);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURABLE: StoreResult = StoreResult::Durable { position: 0 };

    fn claimed(key: &str, claim: Claim) -> Input<&str> {
        Input::Claimed { key, claim }
    }

    fn ours(key: &str) -> Input<&str> {
        claimed(key, Claim::Ours)
    }

    fn stored(key: &str, result: StoreResult) -> Input<&str> {
        Input::Appended { key, result }
    }

    fn looked(key: &str, seen: Seen) -> Input<&str> {
        Input::Looked { key, seen }
    }

    fn plan(letters: &[(&'static str, u64)]) -> Vec<Letter<&'static str>> {
        let letter = |(key, lane): &(&'static str, u64)| Letter {
            key: *key,
            lane: Some(*lane),
        };
        letters.iter().map(letter).collect()
    }

    /// Tells a redrive of `a`, `b` and `c` the inputs, each at its millisecond, and gives the last orders.
    fn after(rate_per_second: u32, inputs: Vec<(u64, Input<&'static str>)>) -> Vec<Order<&'static str>> {
        let mut redrive = Redrive::new(plan(&[("a", 0), ("b", 1), ("c", 0)]), rate_per_second);
        let mut orders = Vec::new();
        redrive.handle(Duration::ZERO, Input::Timer, &mut orders);
        for (millis, input) in inputs {
            orders.clear();
            redrive.handle(Duration::from_millis(millis), input, &mut orders);
        }
        orders
    }

    fn append(key: &'static str) -> Order<&'static str> {
        Order::Append {
            key,
            possible_double: false,
        }
    }

    #[test]
    fn all_are_claimed_and_the_first_is_sent_alone() {
        let claims = ["a", "b", "c"].map(|key| Order::Claim { key });
        assert_eq!(after(0, vec![(0, Input::Timer)]), []);
        assert_eq!(after(0, vec![(0, ours("b"))]), []);
        assert_eq!(after(0, vec![(0, ours("b")), (0, ours("a"))]), [append("a")]);
        let mut orders = Vec::new();
        Redrive::new(plan(&[("a", 0), ("b", 1), ("c", 0)]), 0).handle(
            Duration::ZERO,
            Input::Timer,
            &mut orders,
        );
        assert_eq!(orders, claims);
    }

    #[test]
    fn the_next_is_sent_when_the_one_before_is_stored() {
        let inputs = vec![(0, ours("a")), (0, ours("b")), (0, stored("a", DURABLE))];
        assert_eq!(after(0, inputs), [append("b"), Order::Finish { key: "a" }]);
    }

    #[test]
    fn a_letter_that_another_redrive_claimed_is_left_out() {
        let inputs = vec![(0, ours("b")), (0, claimed("a", Claim::Anothers))];
        assert_eq!(after(0, inputs), [append("b")]);
    }

    #[test]
    fn what_is_behind_a_letter_of_another_redrive_waits_for_a_later_run() {
        let hold = Order::Hold { key: "c" };
        let passes = vec![(0, ours("c")), (0, ours("b")), (0, claimed("a", Claim::Anothers))];
        assert_eq!(after(0, passes.clone()), [append("b"), hold.clone()]);
        let stored = [passes, vec![(0, stored("b", DURABLE))]].concat();
        assert_eq!(after(0, stored), [Order::Finish { key: "b" }], "it is told once");
        // What the other did last does not hold up what was before it.
        let last = vec![(0, claimed("c", Claim::Anothers)), (0, ours("a"))];
        assert_eq!(after(0, last), [append("a")]);
        // Also when the letter of the other has left the front of the plan meanwhile, or was sent before already.
        let left = vec![(0, claimed("a", Claim::Anothers)), (0, ours("b")), (0, ours("c"))];
        assert_eq!(after(0, left), [hold]);
        let sent = vec![
            (0, claimed("a", Claim::Anothers)),
            (0, claimed("c", Claim::OursBefore)),
            (0, looked("c", Seen::There)),
        ];
        assert_eq!(after(0, sent), [Order::Finish { key: "c" }]);
    }

    #[test]
    fn what_was_lost_with_the_store_of_another_is_sent_again_and_nothing_that_may_be_there() {
        let before = claimed("a", Claim::DoneElsewhere);
        assert_eq!(after(0, vec![(0, before.clone())]), [Order::LookFor { key: "a" }]);
        for seen in [Seen::There, Seen::Unknowable] {
            let inputs = vec![(0, before.clone()), (0, looked("a", seen))];
            assert_eq!(after(0, inputs), [Order::Finish { key: "a" }], "{seen:?}");
        }
        let missing = vec![(0, before), (0, looked("a", Seen::Missing))];
        let marked = Order::Append {
            key: "a",
            possible_double: true,
        };
        assert_eq!(after(0, missing), [marked]);
    }

    #[test]
    fn what_an_earlier_run_claimed_is_looked_for_first() {
        let look = Order::LookFor { key: "a" };
        for (claim, marked) in [(Claim::OursBefore, false), (Claim::TakenOver, true)] {
            let before = claimed("a", claim);
            assert_eq!(after(0, vec![(0, before.clone())]), std::slice::from_ref(&look));
            let there = vec![(0, before.clone()), (0, looked("a", Seen::There))];
            assert_eq!(after(0, there), [Order::Finish { key: "a" }]);
            for (seen, is_unknowable) in [(Seen::Missing, false), (Seen::Unknowable, true)] {
                let inputs = vec![(0, before.clone()), (0, looked("a", seen))];
                let append = Order::Append {
                    key: "a",
                    possible_double: marked || is_unknowable,
                };
                assert_eq!(after(0, inputs), [append]);
            }
        }
    }

    #[test]
    fn a_finished_letter_is_not_sent_again_after_a_restart() {
        let inputs = vec![(0, Input::Finished { key: "a" }), (0, ours("a")), (0, ours("b"))];
        assert_eq!(after(0, inputs), [append("b")]);
    }

    #[test]
    fn a_refused_append_waits_and_is_ordered_again() {
        let refused = vec![(0, ours("a")), (0, stored("a", StoreResult::Refused))];
        assert_eq!(after(0, refused.clone()), [Order::WakeAt(STORE_BACK_OFF)]);
        let again = [refused, vec![(250, Input::Timer)]].concat();
        assert_eq!(after(0, again), [append("a")]);
    }

    #[test]
    fn the_rate_is_kept() {
        let inputs = vec![(0, ours("a")), (0, ours("b")), (0, stored("a", DURABLE))];
        let woken = inputs.iter().take(2).cloned().collect();
        assert_eq!(after(2, woken), [Order::WakeAt(Duration::from_millis(500))]);
        assert_eq!(after(2, inputs.clone()), [Order::Finish { key: "a" }]);
        let later = [inputs, vec![(500, Input::Timer)]].concat();
        assert_eq!(after(2, later), [append("b")]);
    }

    #[test]
    fn it_is_done_when_all_are_over() {
        let mut redrive = Redrive::new(plan(&[("a", 0)]), 0);
        let mut orders = Vec::new();
        for input in [ours("a"), stored("a", DURABLE)] {
            redrive.handle(Duration::ZERO, input, &mut orders);
            assert!(!redrive.is_done());
        }
        redrive.handle(Duration::ZERO, Input::Finished { key: "a" }, &mut orders);
        assert!(redrive.is_done());
    }
}
