//! Histories of redrives: two of them with overlapping plans claim, append and finish letters over crashes, against a log
//! of decisions and their stores. One of them may lose its store for good: then the other takes its claims over.

use std::collections::HashMap;
use std::time::Duration;

use evenkeel_flow::redrive::{Claim, Input, Order, Redrive, Seen};
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
    /// Counts the restarts of each.
    runs: [u32; REDRIVES],
    orders: [Vec<Order<u32>>; REDRIVES],
    now: Duration,
    /// The log of decisions: whose claim of a letter counts, whether it was taken over, and what is over.
    claims: HashMap<u32, Claimed>,
    endings: Vec<u32>,
    /// What each running process has appended, and every event that was appended to a store.
    appended: [Vec<u32>; REDRIVES],
    sent: Vec<Sent>,
    /// This redrive's machine and store are gone for good.
    lost: Option<usize>,
    /// The log no longer goes back to the claims.
    is_cut: bool,
    violation: Option<Violation>,
}

#[derive(Debug, Clone, Copy)]
struct Claimed {
    by: usize,
    run: u32,
    taken_over: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    by: usize,
    key: u32,
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
        runs: [0; REDRIVES],
        orders: Default::default(),
        now: Duration::ZERO,
        claims: HashMap::new(),
        endings: Vec::new(),
        appended: Default::default(),
        sent: Vec::new(),
        lost: None,
        is_cut: false,
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
        if self.lost == Some(who) {
            return;
        }
        if with_faults && self.random.chance(5) {
            self.befall(who);
        } else if self.orders[who].is_empty() || self.random.chance(20) {
            self.tell(who, Input::Timer);
        } else {
            let fails = with_faults && self.random.chance(20);
            let order = self.orders[who].remove(0);
            self.carry_out(who, order, fails);
        }
    }

    fn befall(&mut self, who: usize) {
        match self.random.within(0, 20) {
            0 if self.lost.is_none() => self.lose(who),
            1 => self.is_cut = true,
            _ => self.restart(who),
        }
    }

    /// The machine that `who` runs on burns down, and its store with it; somebody lets the other take its claims over.
    fn lose(&mut self, who: usize) {
        self.lost = Some(who);
        let other = 1 - who;
        self.restart(other);
        let run = self.runs[other];
        let open: Vec<u32> = self
            .claims
            .iter()
            .filter(|(key, claimed)| claimed.by == who && !self.endings.contains(key))
            .map(|(key, _)| *key)
            .filter(|key| self.plans[other].contains(key))
            .collect();
        for key in open {
            let by = other;
            let taken_over = true;
            self.claims.insert(key, Claimed { by, run, taken_over });
        }
        self.restart(other);
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
        self.appended[who].clear();
        self.runs[who] += 1;
        self.redrives[who] = Redrive::new(self.plans[who].clone(), 100);
        let endings = self.endings.clone();
        for key in endings {
            self.tell(who, Input::Finished { key });
        }
        for key in self.plans[who].clone() {
            if self.claims.contains_key(&key) {
                self.tell_claim(who, key);
            }
        }
    }

    fn tell_claim(&mut self, who: usize, key: u32) {
        let claimed = self.claims[&key];
        let claim = match claimed {
            _ if claimed.by != who => Claim::Anothers,
            _ if claimed.taken_over => Claim::TakenOver,
            _ if claimed.run == self.runs[who] => Claim::Ours,
            _ => Claim::OursBefore,
        };
        self.tell(who, Input::Claimed { key, claim });
    }

    fn carry_out(&mut self, who: usize, order: Order<u32>, fails: bool) {
        match order {
            Order::Claim { key } => {
                self.claims.entry(key).or_insert(Claimed {
                    by: who,
                    run: self.runs[who],
                    taken_over: false,
                });
                self.tell_claim(who, key);
            }
            Order::LookFor { key } => {
                // What another store holds cannot be seen.
                let is_there = self.sent.iter().any(|sent| sent.key == key && sent.by == who);
                let seen = match is_there {
                    _ if self.is_cut => Seen::Unknowable,
                    true => Seen::There,
                    false => Seen::Missing,
                };
                self.tell(who, Input::Looked { key, seen });
            }
            Order::Append { key, possible_double } => {
                let carried_out = !fails || self.random.chance(50);
                if carried_out && !self.appended[who].contains(&key) {
                    self.append(who, key, possible_double);
                }
                let result = if fails {
                    StoreResult::Unknown
                } else {
                    StoreResult::Durable { position: 0 }
                };
                self.tell(who, Input::Appended { key, result });
            }
            Order::Finish { key } => {
                self.endings.push(key);
                self.tell(who, Input::Finished { key });
            }
            Order::WakeAt(_) => {}
        }
    }

    fn append(&mut self, who: usize, key: u32, marked: bool) {
        self.appended[who].push(key);
        let is_twice = self.sent.iter().any(|sent| sent.key == key);
        let is_behind = self.sent.iter().any(|sent| sent.by == who && sent.key > key);
        self.sent.push(Sent { by: who, key });
        if is_twice && !marked {
            self.fail("once", format!("letter {key} is sent twice"));
        }
        if marked && self.lost.is_none() && !self.is_cut {
            self.fail("once", format!("letter {key} is marked without a reason"));
        }
        // What is taken over comes when it comes; order is judged by first occurrences.
        if is_behind && !is_twice && !self.claims[&key].taken_over {
            self.fail("in-order", format!("letter {key} is sent after a later one"));
        }
    }

    fn check_the_end(&mut self) {
        let lost = self.lost;
        for who in (0..REDRIVES).filter(|who| lost != Some(*who)) {
            if !self.redrives[who].is_done() {
                self.fail("restartable", format!("redrive {who} is not done"));
            }
            for key in self.plans[who].clone() {
                if !self.sent.iter().any(|sent| sent.key == key) {
                    self.fail("owned", format!("letter {key} is never sent"));
                }
            }
        }
    }

    fn fail(&mut self, invariant: &'static str, seen: String) {
        self.violation.get_or_insert(Violation { invariant, seen });
    }
}
