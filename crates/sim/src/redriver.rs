//! Histories of redrives: two of them with overlapping plans claim, append and finish letters over crashes, against a log
//! of decisions and a store that remembers the appends of each.

use std::collections::HashMap;
use std::time::Duration;

use evenkeel_flow::redrive::{Input, Order, Redrive};
use evenkeel_flow::session::StoreResult;

use crate::judge::Violation;
use crate::random::Random;

const REDRIVES: usize = 2;
const LETTERS: u32 = 12;

#[derive(Debug)]
struct Desk {
    random: Random,
    plans: [Vec<u32>; REDRIVES],
    redrives: [Redrive<u32>; REDRIVES],
    orders: [Vec<Order<u32>>; REDRIVES],
    now: Duration,
    /// The log of decisions: who claimed first, and what is over.
    claims: HashMap<u32, usize>,
    endings: Vec<u32>,
    /// The store: the newest append of each redrive, and every event that was appended.
    newest: [u64; REDRIVES],
    sent: Vec<(usize, u32)>,
    violation: Option<Violation>,
}

/// Plays the history of a seed.
///
/// # Errors
/// The first invariant that was broken.
pub fn play(seed: u64) -> Result<(), Violation> {
    let mut random = Random::new(seed);
    let plans: [Vec<u32>; REDRIVES] =
        std::array::from_fn(|_| (0..LETTERS).filter(|_| random.chance(70)).collect());
    let mut desk = Desk {
        random,
        redrives: std::array::from_fn(|who| Redrive::new(plans[who].clone(), 100)),
        plans,
        orders: Default::default(),
        now: Duration::ZERO,
        claims: HashMap::new(),
        endings: Vec::new(),
        newest: [0; REDRIVES],
        sent: Vec::new(),
        violation: None,
    };
    for _ in 0..100 {
        desk.step(true);
    }
    for _ in 0..2_000 {
        desk.step(false);
    }
    desk.check_the_end();
    desk.violation.map_or(Ok(()), Err)
}

impl Desk {
    fn step(&mut self, with_faults: bool) {
        let who = self.random.within(0, REDRIVES as u64) as usize;
        self.now += Duration::from_millis(self.random.within(0, 20));
        if with_faults && self.random.chance(5) {
            self.restart(who);
        } else if self.orders[who].is_empty() || self.random.chance(20) {
            self.tell(who, Input::Timer);
        } else {
            let fails = with_faults && self.random.chance(20);
            let order = self.orders[who].remove(0);
            self.carry_out(who, order, fails);
        }
    }

    fn tell(&mut self, who: usize, input: Input<u32>) {
        let mut orders = Vec::new();
        self.redrives[who].handle(self.now, input, &mut orders);
        orders.retain(|order| !matches!(order, Order::WakeAt(_)));
        self.orders[who].append(&mut orders);
    }

    /// The process dies; a new one reads the log of decisions and goes on with the same plan.
    fn restart(&mut self, who: usize) {
        self.orders[who].clear();
        self.redrives[who] = Redrive::new(self.plans[who].clone(), 100);
        let endings = self.endings.clone();
        for key in endings {
            self.tell(who, Input::Finished { key });
        }
        for key in self.plans[who].clone() {
            if let Some(first) = self.claims.get(&key) {
                let is_ours = *first == who;
                self.tell(who, Input::Claimed { key, is_ours });
            }
        }
    }

    fn carry_out(&mut self, who: usize, order: Order<u32>, fails: bool) {
        match order {
            Order::Claim { key } => {
                let is_ours = *self.claims.entry(key).or_insert(who) == who;
                self.tell(who, Input::Claimed { key, is_ours });
            }
            Order::Append { key, number } => {
                let carried_out = !fails || self.random.chance(50);
                if carried_out && self.newest[who] < number {
                    self.newest[who] = number;
                    self.send(who, key);
                }
                let result = if fails {
                    StoreResult::Unknown
                } else {
                    StoreResult::Durable { position: 0 }
                };
                self.tell(who, Input::Appended { number, result });
            }
            Order::Finish { key } => {
                self.endings.push(key);
                self.tell(who, Input::Finished { key });
            }
            Order::WakeAt(_) => {}
        }
    }

    fn send(&mut self, who: usize, key: u32) {
        let is_twice = self.sent.iter().any(|(_, sent)| *sent == key);
        let is_behind = self.sent.iter().any(|(by, sent)| *by == who && *sent > key);
        self.sent.push((who, key));
        if is_twice {
            self.fail("once", format!("letter {key} is sent twice"));
        }
        if is_behind {
            self.fail("in-order", format!("letter {key} is sent after a later one"));
        }
    }

    fn check_the_end(&mut self) {
        for who in 0..REDRIVES {
            if !self.redrives[who].is_done() {
                self.fail("restartable", format!("redrive {who} is not done"));
            }
            for key in self.plans[who].clone() {
                if !self.sent.iter().any(|(_, sent)| *sent == key) {
                    self.fail("owned", format!("letter {key} is never sent"));
                }
            }
        }
    }

    fn fail(&mut self, invariant: &'static str, seen: String) {
        self.violation.get_or_insert(Violation { invariant, seen });
    }
}
