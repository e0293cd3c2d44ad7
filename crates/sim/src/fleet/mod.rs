//! Every way in which a few processes that share a store can meet, a store and a broker: each state that the member
//! which ships can be brought into is visited once, and the promises are checked in it.
//!
//! Anything can happen at any step: a call, a poll, a request carried out late or never, its answer late or lost, a send
//! that lands late, twice or never, a time-out, a lease that runs out, a crash. Bounded is only how often.

mod broker;
mod drain;
mod judge;
mod met;
mod process;
mod store;
mod world;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use evenkeel_flow::diversion::Mode;

pub use judge::Violation;
pub use world::Action;

use world::World;

/// Where an exploration begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Every process has joined.
    Joined,
    /// The first process has joined, the others have not.
    JoinsLate,
    /// The first process has parked its events, and waits for the others to hear of it.
    Diverts,
    /// The first process has parked its events, the first of them while it was under way; one that drains has just begun.
    Drains,
    /// As before, and the process that parked them was killed since.
    Orphaned,
}

/// How much may happen.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Where it begins.
    pub begin: Begin,
    /// Processes that publish, and how many events each.
    pub publishers: Vec<u8>,
    /// Processes that drain.
    pub drainers: u8,
    /// How often the time of a lease passes.
    pub ticks: u8,
    /// How often a publisher waits too long for the broker.
    pub timeouts: u8,
    /// How many answers of the store or the broker are lost, or requests late.
    pub losses: u8,
    /// How many answers of the store are taken in late.
    pub delays: u8,
    /// Reads of a record, a row or the leases are carried out when their turn comes, not at once.
    pub reads_wait: bool,
    /// How many processes are killed.
    pub crashes: u8,
    /// What a process does without a lease.
    pub mode: Mode,
    /// The order across processes is looked at also where one had no lease.
    pub counts_unguarded: bool,
    /// Most states.
    pub states_max: u64,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Different states.
    pub states: u64,
    /// Steps between them.
    pub steps: u64,
    /// Every state within the bounds was visited.
    pub is_complete: bool,
    /// What happened in some of them.
    pub met: Vec<&'static str>,
    /// A promise that was broken, and the steps that led there.
    pub violation: Option<(Violation, Vec<Action>)>,
}

impl Bounds {
    fn drainers(&self) -> impl Iterator<Item = u8> {
        (0..self.drainers).map(|_| 0)
    }
}

/// Visits every state within the bounds, or until a promise is broken.
#[must_use]
pub fn explore(bounds: &Bounds) -> Report {
    let first = World::new(bounds);
    let mut parents: HashMap<u64, Option<(u64, Action)>> = HashMap::new();
    parents.insert(fingerprint(&first), None);
    let mut open = vec![first];
    let mut report = Report {
        states: 1,
        steps: 0,
        is_complete: true,
        met: Vec::new(),
        violation: None,
    };
    let mut met = 0;
    while let Some(world) = open.pop() {
        let parent = fingerprint(&world);
        for action in world.actions() {
            let mut next = world.clone();
            let (seen, violation) = next.step(action);
            met |= seen;
            report.steps += 1;
            if let Some(violation) = violation {
                let mut path = path(&parents, parent);
                path.push(action);
                report.violation = Some((violation, path));
                report.is_complete = false;
                report.met = met::names(met);
                return report;
            }
            if let std::collections::hash_map::Entry::Vacant(entry) = parents.entry(fingerprint(&next)) {
                entry.insert(Some((parent, action)));
                report.states += 1;
                open.push(next);
            }
        }
        if report.states >= bounds.states_max {
            report.is_complete = false;
            break;
        }
    }
    report.met = met::names(met);
    report
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = Fingerprint::default();
    world.hash(&mut hasher);
    hasher.finish()
}

fn path(parents: &HashMap<u64, Option<(u64, Action)>>, mut at: u64) -> Vec<Action> {
    let mut path = Vec::new();
    while let Some(Some((parent, action))) = parents.get(&at) {
        path.push(*action);
        at = *parent;
    }
    path.reverse();
    path
}

/// Plays some steps and tells the state after each.
#[must_use]
pub fn replay(bounds: &Bounds, actions: &[Action]) -> Vec<String> {
    let mut world = World::new(bounds);
    let mut told = vec![format!("{world:#?}")];
    for action in actions {
        let (_, violation) = world.step(*action);
        told.push(format!(
            "{action:?}: log {:?}, store {:?} {:?}, {violation:?}",
            world.broker.log, world.store.diversion.record, world.store.rows
        ));
    }
    told
}

/// A fast hash of 64 bits: the multiplication of two words, folded.
#[derive(Debug, Default)]
struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ chunk.len() as u64);
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0xa076_1d64_78bd_642f)
            .wrapping_mul(u128::from(self.0.rotate_left(25) ^ 0xe703_7ed1_a0b4_28db));
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}
