//! Histories of redrives: two of them with overlapping plans claim, append and finish letters over crashes, against a log
//! of decisions and their stores. One of them may lose its store for good: then the other takes its claims over, and looks
//! for what it had done.

use std::collections::HashMap;
use std::time::Duration;

use evenkeel_flow::redrive::{Claim, Input, Letter, Order, Redrive, Seen};
use evenkeel_flow::session::StoreResult;

use crate::judge::Violation;
use crate::random::Random;

const REDRIVES: usize = 2;
const LETTERS: u32 = 12;
const LANES: u32 = 4;

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
    endings: Vec<Ending>,
    /// What each running process has appended, and every event that was appended to a store.
    appended: [Vec<u32>; REDRIVES],
    sent: Vec<Sent>,
    /// Whether letters of each wait for a later run.
    holds: [bool; REDRIVES],
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ending {
    by: usize,
    key: u32,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    by: usize,
    key: u32,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In its store, or on the log: both can be seen from its machine.
    Here,
    /// On the log; its store is gone.
    Log,
    /// In a store that is out of reach, and comes back when it has been forgotten.
    Away,
    /// Lost with its store.
    Burnt,
}

fn lane(key: u32) -> u32 {
    key % LANES
}

fn redrive(plan: &[u32]) -> Redrive<u32> {
    let letter = |key: &u32| Letter {
        key: *key,
        lane: Some(lane(*key).into()),
    };
    Redrive::new(plan.iter().map(letter).collect(), 100)
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
        redrives: std::array::from_fn(|who| redrive(&plans[who])),
        plans,
        runs: [0; REDRIVES],
        orders: Default::default(),
        now: Duration::ZERO,
        claims: HashMap::new(),
        endings: Vec::new(),
        appended: Default::default(),
        sent: Vec::new(),
        holds: [false; REDRIVES],
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
        } else if self.redrives[who].is_done() && self.holds[who] {
            self.restart(who);
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
        for sent in self.sent.iter_mut().filter(|sent| sent.by == who) {
            sent.place = match self.random.within(0, 3) {
                0 => Place::Log,
                1 => Place::Away,
                _ => Place::Burnt,
            };
        }
        let other = 1 - who;
        self.restart(other);
        let run = self.runs[other];
        let taken: Vec<u32> = self
            .claims
            .iter()
            .filter(|(key, claimed)| claimed.by == who && self.plans[other].contains(key))
            .map(|(key, _)| *key)
            .collect();
        for key in taken {
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
        self.redrives[who] = redrive(&self.plans[who]);
        self.holds[who] = false;
        for key in self.plans[who].clone() {
            if self.is_over(key) {
                self.tell(who, Input::Finished { key });
            }
        }
        for key in self.plans[who].clone() {
            if self.claims.contains_key(&key) {
                self.tell_claim(who, key);
            }
        }
    }

    /// True when the redrive whose claim of the letter counts has finished it.
    fn is_over(&self, key: u32) -> bool {
        let by = self.claims.get(&key).map(|claimed| claimed.by);
        by.is_some_and(|by| self.endings.contains(&Ending { by, key }))
    }

    fn tell_claim(&mut self, who: usize, key: u32) {
        let claimed = self.claims[&key];
        let claim = match claimed {
            _ if claimed.by != who => Claim::Anothers,
            _ if self.endings.contains(&Ending { by: 1 - who, key }) => Claim::DoneElsewhere,
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
                let mut sent = self.sent.iter().filter(|sent| sent.key == key);
                let is_there = sent.any(|sent| sent.by == who || sent.place == Place::Log);
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
                self.endings.push(Ending { by: who, key });
                self.tell(who, Input::Finished { key });
            }
            Order::Hold { .. } => self.holds[who] = true,
            Order::WakeAt(_) => {}
        }
    }

    fn append(&mut self, who: usize, key: u32, marked: bool) {
        self.appended[who].push(key);
        let is_twice = self
            .sent
            .iter()
            .any(|sent| sent.key == key && sent.place != Place::Burnt);
        let waits_for = |earlier: &&u32| **earlier < key && lane(**earlier) == lane(key);
        let is_sent = |key: u32| self.sent.iter().any(|sent| sent.key == key);
        let passed = self.plans[who]
            .iter()
            .filter(waits_for)
            .find(|earlier| !is_sent(**earlier))
            .copied();
        let place = Place::Here;
        self.sent.push(Sent { by: who, key, place });
        if is_twice && !marked {
            self.fail("once", format!("letter {key} is sent twice"));
        }
        if marked && self.lost.is_none() && !self.is_cut {
            self.fail("once", format!("letter {key} is marked without a reason"));
        }
        if let Some(passed) = passed {
            self.fail(
                "in-order",
                format!("letter {key} passes letter {passed} of its lane"),
            );
        }
    }

    fn check_the_end(&mut self) {
        let lost = self.lost;
        for who in (0..REDRIVES).filter(|who| lost != Some(*who)) {
            if !self.redrives[who].is_done() {
                self.fail("restartable", format!("redrive {who} is not done"));
            }
            for key in self.plans[who].clone() {
                let mut sent = self.sent.iter().filter(|sent| sent.key == key);
                // Where the log is cut, nothing tells what was lost with the other's store.
                let is_excused = self.is_cut && sent.clone().any(|sent| sent.place == Place::Burnt);
                if !is_excused && !sent.any(|sent| sent.place != Place::Burnt) {
                    self.fail("owned", format!("letter {key} is never sent"));
                }
            }
        }
    }

    fn fail(&mut self, invariant: &'static str, seen: String) {
        self.violation.get_or_insert(Violation { invariant, seen });
    }
}
