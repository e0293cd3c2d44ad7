//! The independent checker: sees what is appended, removed, acknowledged and lettered, and says which invariant broke.

use std::collections::{HashMap, HashSet};

use evenkeel_flow::session::{Claim, Outcome};

use crate::application::{Application, Target};
use crate::broker::{Broker, Logged};
use crate::records::{Event, KEYS, PARTITIONS};
use crate::store::Store;

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its name in the design.
    pub invariant: &'static str,
    /// What was seen.
    pub seen: String,
}

/// The checker.
#[derive(Debug, Default)]
pub struct Judge {
    /// The first violation.
    pub violation: Option<Violation>,
    /// Something happened that may leave a stamp without a decision.
    pub may_doubt: bool,
    /// The smallest batch limit that was in force, bytes.
    pub smallest_limit: usize,
    ever_logged: HashSet<u32>,
    lettered: HashSet<u32>,
    unmarked: HashMap<u32, usize>,
    marked: HashSet<u32>,
    first_seen: HashSet<u32>,
    newest_order: [Option<u32>; KEYS as usize],
}

impl Judge {
    /// A checker for a topic whose batch limit is `limit`.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            smallest_limit: limit,
            ..Self::default()
        }
    }

    /// Notes a broken invariant, when it is the first.
    pub fn fail(&mut self, invariant: &'static str, seen: String) {
        self.violation.get_or_insert(Violation { invariant, seen });
    }

    /// The topic was created anew: what was on its log is gone, and order begins anew.
    pub fn topic_recreated(&mut self) {
        self.may_doubt = true;
        self.unmarked.clear();
        self.marked.clear();
        self.first_seen.clear();
        self.newest_order = <[Option<u32>; KEYS as usize]>::default();
    }

    /// Records reached a log, in a request of the process `dead` when that is no more.
    ///
    /// What a dead process left unanswered lands when it does: only calls that returned come before those that follow.
    /// So does what it sent of an event that became a dead letter since, where no append under a higher epoch fenced it.
    pub fn appended(&mut self, application: &Application, records: &[Logged], topic: u8, dead: Option<u32>) {
        for record in records {
            let id = record.event.id;
            self.ever_logged.insert(id);
            if record.marked {
                self.marked.insert(id);
                if !self.may_doubt {
                    self.fail("once", format!("event {id} is marked without a reason"));
                }
            } else {
                *self.unmarked.entry(id).or_default() += 1;
                self.check_once(application, id);
            }
            let published = &application.events[id as usize];
            let has_left = self.lettered.contains(&id);
            let is_left_open = dead.is_some_and(|dead| has_left || published.is_unanswered_by(dead));
            if !is_left_open && self.first_seen.insert(id) {
                self.check_order(application, record.event, topic);
            }
        }
    }

    fn check_once(&mut self, application: &Application, id: u32) {
        let times = self.unmarked.get(&id).copied().unwrap_or(0);
        let allowed = application.events[id as usize].unmarked_max();
        if times > allowed {
            self.fail(
                "once",
                format!("event {id} is on the log {times} times unmarked, {allowed} allowed"),
            );
        }
    }

    /// The event takes the place of the first of its calls that is not before what the key already has on the log.
    fn check_order(&mut self, application: &Application, event: Event, topic: u8) {
        let newest = self.newest_order[event.key as usize];
        let published = &application.events[event.id as usize];
        let calls = &published.calls;
        let is_given_up = published.is_given_up || calls.last().is_some_and(|call| call.is_void);
        if is_given_up || calls.iter().any(|call| call.topic != topic) {
            return;
        }
        let place = calls
            .iter()
            .filter(|call| !call.is_void)
            .map(|call| call.order)
            .find(|order| newest.is_none_or(|newest| newest < *order));
        match place {
            Some(order) => self.newest_order[event.key as usize] = Some(order),
            None => self.fail(
                "in-order",
                format!("event {} of key {} came after a later one", event.id, event.key),
            ),
        }
    }

    /// A dead letter is ordered.
    pub fn lettered(&mut self, event: Event) {
        if event.bytes as usize <= self.smallest_limit {
            self.fail(
                "told-apart",
                format!("event {} is dead-lettered and not wrong", event.id),
            );
        }
        self.lettered.insert(event.id);
    }

    /// The store removed records.
    pub fn removed(&mut self, events: &[Event]) {
        for event in events {
            if !self.ever_logged.contains(&event.id) && !self.lettered.contains(&event.id) {
                self.fail("owned", format!("event {} was removed and is nowhere", event.id));
            }
        }
    }

    /// Callers are told.
    pub fn acknowledged(
        &mut self,
        application: &mut Application,
        (broker, store): (&Broker, &Store),
        partition: Option<usize>,
        claim: Claim,
        outcome: Outcome,
    ) {
        for (at, (id, target)) in application.claimed(claim).into_iter().enumerate() {
            let published = &mut application.events[id as usize];
            let event = published.event;
            if let Target::Joined = target {
                published.joined_open = published.joined_open.saturating_sub(1);
            }
            let index = match target {
                Target::Call(index) => index,
                Target::Joined => published.calls.len() - 1,
            };
            let call = &mut published.calls[index];
            let is_retry = target == Target::Joined;
            if !is_retry && call.outcome.is_some() {
                self.fail("owned", format!("the caller of event {id} is told twice"));
            }
            call.outcome = Some(outcome);
            if matches!(
                outcome,
                Outcome::Failed {
                    may_have_landed: false,
                    ..
                } | Outcome::DeadLettered { .. }
            ) {
                call.is_void = true;
            }
            let call = *call;
            self.check_once(application, id);
            if call.topic == broker.topic {
                self.check_owned((broker, store), partition, event, outcome, at);
            }
        }
    }

    fn check_owned(
        &mut self,
        (broker, store): (&Broker, &Store),
        partition: Option<usize>,
        event: Event,
        outcome: Outcome,
        at: usize,
    ) {
        let id = event.id;
        let is_there = match outcome {
            Outcome::Published { offset: Some(offset) } => {
                let log = &broker.logs[event.partition()];
                log.records
                    .get(offset as usize + at)
                    .is_some_and(|record| record.event.id == id)
            }
            Outcome::Published { offset: None } => self.ever_logged.contains(&id),
            Outcome::Parked { position } => {
                let lane = &store.lanes[partition.unwrap_or(PARTITIONS)];
                let position = position + at as u64;
                position < lane.head
                    || lane
                        .records
                        .get((position - lane.head) as usize)
                        .is_some_and(|held| held.id == id)
            }
            Outcome::DeadLettered { .. } => self.lettered.contains(&id),
            Outcome::Failed { .. } => true,
        };
        if !is_there {
            self.fail(
                "owned",
                format!("event {id} is told {outcome:?} and is not there"),
            );
        }
    }

    /// After all faults are mended and everything had its time.
    pub fn at_the_end(&mut self, application: &Application, store: &Store, last_process: u32) {
        if !store.is_empty() {
            self.fail("restartable", "the store is not empty at the end".to_owned());
        }
        for (id, published) in application.events.iter().enumerate() {
            let id = id as u32;
            let somewhere = self.ever_logged.contains(&id) || self.lettered.contains(&id);
            for call in &published.calls {
                let promised = matches!(
                    call.outcome,
                    Some(Outcome::Published { .. } | Outcome::Parked { .. } | Outcome::DeadLettered { .. })
                );
                if promised && !somewhere {
                    self.fail("owned", format!("event {id} was acknowledged and is lost"));
                }
                if call.outcome.is_none() && call.process == last_process {
                    self.fail("owned", format!("the caller of event {id} is never answered"));
                }
            }
            self.check_once(application, id);
        }
    }
}
