//! Redriving dead letters: each is claimed by one redrive and sent on once, across crashes.
//!
//! ```text
//! plan ──Claim──> first claim is ours ──Append──> lane in the standby store ──Finish──> done
//!                  └─ another's: left out              └─ from there the drain sends it, with a stored stamp
//! ```
//!
//! The rules it keeps (invariants **once**, **in-order**, **untouched**):
//! - a letter is sent by the redrive whose claim of it stands first in the log of decisions; a letter that was sent
//!   before, by whatever redrive, stays sent;
//! - letters are appended to their lanes in the order of the plan, each alone, under (this redrive, its number), so that
//!   the same append ordered again after a crash is one; the drain stores a stamp before it sends;
//! - a letter is finished when its event is in the store; the letter itself is not touched;
//! - claims run a bounded number ahead, and no more letters are sent a second than the rate says.
//!
//! A redrive that was interrupted is made again with the same plan and told the claims and endings that the log of
//! decisions holds; it goes on where it was.

use std::collections::VecDeque;
use std::time::Duration;

use crate::session::StoreResult;

/// Letters claimed ahead of the one that is being sent.
const CLAIMED_AHEAD_MAX: usize = 16;

/// How long an append that the store refused waits before it is ordered again.
const STORE_BACK_OFF: Duration = Duration::from_millis(250);

/// One redrive of a plan. `Key` names a letter: (topic, partition, offset, group), or the event's id on the publish side.
#[derive(Debug)]
pub struct Redrive<Key> {
    plan: VecDeque<Planned<Key>>,
    interval: Duration,
    next_at: Duration,
    wake: Option<Duration>,
}

#[derive(Debug)]
struct Planned<Key> {
    key: Key,
    number: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Planned,
    Claiming,
    Claimed,
    Appending,
    Stored,
    Finishing,
    Over,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<Key> {
    /// The log of decisions was read up to a claim of the letter.
    Claimed {
        /// The letter.
        key: Key,
        /// True when the first claim in the log is this redrive's.
        is_ours: bool,
    },
    /// What became of an append.
    Appended {
        /// Number of the letter in the plan.
        number: u64,
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

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order<Key> {
    /// Write a claim of the letter to the log of decisions, and read the log up to it.
    Claim {
        /// The letter.
        key: Key,
    },
    /// Append the letter's event, mended or not, to the lane of its partition in the standby store, under (this redrive,
    /// `number`): what was appended under this number or a higher one before is one, also when it was removed since.
    Append {
        /// The letter.
        key: Key,
        /// Its number in the plan, from 1.
        number: u64,
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
    pub fn new(plan: Vec<Key>, rate_per_second: u32) -> Self {
        let planned = |(key, number)| Planned {
            key,
            number,
            state: State::Planned,
        };
        Self {
            plan: plan.into_iter().zip(1..).map(planned).collect(),
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
            Input::Claimed { key, is_ours } => {
                let state = if is_ours { State::Claimed } else { State::Over };
                let is_open = |letter: &Planned<Key>| letter.key == key && letter.state < State::Appending;
                self.advance(is_open, state);
            }
            Input::Appended { number, result } => self.appended(now, number, result),
            Input::Finished { key } => self.advance(|letter| letter.key == key, State::Over),
            Input::Timer => self.wake = None,
        }
        self.go_on(now, orders);
    }

    /// True when every letter is sent on or left to another redrive.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.plan.is_empty()
    }

    fn advance(&mut self, is_it: impl Fn(&Planned<Key>) -> bool, state: State) {
        for letter in self.plan.iter_mut().filter(|letter| is_it(letter)) {
            letter.state = letter.state.max(state);
        }
    }

    fn appended(&mut self, now: Duration, number: u64, result: StoreResult) {
        let is_it = |letter: &&mut Planned<Key>| letter.number == number && letter.state == State::Appending;
        let Some(letter) = self.plan.iter_mut().find(is_it) else {
            return;
        };
        match result {
            StoreResult::Durable { .. } => letter.state = State::Stored,
            StoreResult::Refused | StoreResult::Unknown => {
                letter.state = State::Claimed;
                self.next_at = now + STORE_BACK_OFF;
            }
        }
    }

    fn go_on(&mut self, now: Duration, orders: &mut Vec<Order<Key>>) {
        let mut is_front = true;
        for letter in self.plan.iter_mut().take(CLAIMED_AHEAD_MAX) {
            match letter.state {
                State::Planned => {
                    letter.state = State::Claiming;
                    orders.push(Order::Claim {
                        key: letter.key.clone(),
                    });
                }
                State::Claimed if is_front && now >= self.next_at => {
                    letter.state = State::Appending;
                    self.next_at = now + self.interval;
                    let (key, number) = (letter.key.clone(), letter.number);
                    orders.push(Order::Append { key, number });
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
        while self
            .plan
            .front()
            .is_some_and(|letter| letter.state == State::Over)
        {
            self.plan.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURABLE: StoreResult = StoreResult::Durable { position: 0 };

    fn claimed(key: &str, is_ours: bool) -> Input<&str> {
        Input::Claimed { key, is_ours }
    }

    fn stored<'key>(number: u64, result: StoreResult) -> Input<&'key str> {
        Input::Appended { number, result }
    }

    /// Tells a redrive of `a`, `b` and `c` the inputs, each at its millisecond, and gives the last orders.
    fn after(rate_per_second: u32, inputs: Vec<(u64, Input<&'static str>)>) -> Vec<Order<&'static str>> {
        let mut redrive = Redrive::new(vec!["a", "b", "c"], rate_per_second);
        let mut orders = Vec::new();
        redrive.handle(Duration::ZERO, Input::Timer, &mut orders);
        for (millis, input) in inputs {
            orders.clear();
            redrive.handle(Duration::from_millis(millis), input, &mut orders);
        }
        orders
    }

    fn append(key: &'static str, number: u64) -> Order<&'static str> {
        Order::Append { key, number }
    }

    #[test]
    fn all_are_claimed_and_the_first_is_sent_alone() {
        let claims = ["a", "b", "c"].map(|key| Order::Claim { key });
        assert_eq!(after(0, vec![(0, Input::Timer)]), []);
        assert_eq!(after(0, vec![(0, claimed("b", true))]), []);
        assert_eq!(
            after(0, vec![(0, claimed("b", true)), (0, claimed("a", true))]),
            [append("a", 1)]
        );
        let mut orders = Vec::new();
        Redrive::new(vec!["a", "b", "c"], 0).handle(Duration::ZERO, Input::Timer, &mut orders);
        assert_eq!(orders, claims);
    }

    #[test]
    fn the_next_is_sent_when_the_one_before_is_stored() {
        let inputs = vec![
            (0, claimed("a", true)),
            (0, claimed("b", true)),
            (0, stored(1, DURABLE)),
        ];
        assert_eq!(after(0, inputs), [append("b", 2), Order::Finish { key: "a" }]);
    }

    #[test]
    fn a_letter_that_another_redrive_claimed_is_left_out() {
        let inputs = vec![(0, claimed("b", true)), (0, claimed("a", false))];
        assert_eq!(after(0, inputs), [append("b", 2)]);
    }

    #[test]
    fn a_finished_letter_is_not_sent_again_after_a_restart() {
        let inputs = vec![
            (0, Input::Finished { key: "a" }),
            (0, claimed("a", true)),
            (0, claimed("b", true)),
        ];
        assert_eq!(after(0, inputs), [append("b", 2)]);
    }

    #[test]
    fn a_refused_append_waits_and_is_ordered_again_under_its_number() {
        let refused = vec![(0, claimed("a", true)), (0, stored(1, StoreResult::Refused))];
        assert_eq!(after(0, refused.clone()), [Order::WakeAt(STORE_BACK_OFF)]);
        let again = [refused, vec![(250, Input::Timer)]].concat();
        assert_eq!(after(0, again), [append("a", 1)]);
    }

    #[test]
    fn the_rate_is_kept() {
        let inputs = vec![
            (0, claimed("a", true)),
            (0, claimed("b", true)),
            (0, stored(1, DURABLE)),
        ];
        let woken = inputs.iter().take(2).cloned().collect();
        assert_eq!(after(2, woken), [Order::WakeAt(Duration::from_millis(500))]);
        assert_eq!(after(2, inputs.clone()), [Order::Finish { key: "a" }]);
        let later = [inputs, vec![(500, Input::Timer)]].concat();
        assert_eq!(after(2, later), [append("b", 2)]);
    }

    #[test]
    fn it_is_done_when_all_are_over() {
        let mut redrive = Redrive::new(vec!["a"], 0);
        let mut orders = Vec::new();
        for input in [claimed("a", true), stored(1, DURABLE)] {
            redrive.handle(Duration::ZERO, input, &mut orders);
            assert!(!redrive.is_done());
        }
        redrive.handle(Duration::ZERO, Input::Finished { key: "a" }, &mut orders);
        assert!(redrive.is_done());
    }
}
