//! The processes, the network and what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_event::{TopicName, TopicPartition};

use super::coordinator::{Answers, Coordinator};
use crate::membership::{Assignor, Claim, CommitTrouble, Input, Mark, Member, Order, Reply, Settings};

const STEP: Duration = Duration::from_millis(10);
const SESSION: Duration = Duration::from_secs(6);
const PARTITIONS: i32 = 6;

/// Splitmix64: small, seeded, good enough to choose faults.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A process with one member and an application that handles records in order and commits.
struct Process {
    member: Member,
    /// The next offset to handle, by claim.
    positions: BTreeMap<Claim, i64>,
    revoking: BTreeSet<Claim>,
    /// Claims that were lost, with what the application had handled: it may still try to commit it.
    ghosts: Vec<(Claim, Mark)>,
    /// Partitions that were lost and not assigned again.
    lost: BTreeSet<TopicPartition>,
    paused_until: Duration,
    alive: bool,
    closed: bool,
}

enum Event {
    Arrives(Order),
    Happens(Input),
}

pub(super) struct World {
    pub(super) loss_percent: u64,
    dice: Dice,
    now: Duration,
    assignor: Assignor,
    coordinator: Coordinator,
    /// Nobody answers before this time.
    outage_until: Duration,
    processes: Vec<Process>,
    events: BTreeMap<(Duration, u64), (usize, Event)>,
    last_event: u64,
    last_ticket: u64,
    /// Tickets that only hold positions of claims that had ended.
    ghost_tickets: BTreeSet<u64>,
    /// The process that held a partition in a generation.
    holders: BTreeMap<(i32, TopicPartition), usize>,
    /// Everything below was handled by somebody.
    handled: BTreeMap<TopicPartition, i64>,
}

fn topic() -> TopicName {
    TopicName::new("t").unwrap()
}

impl World {
    pub(super) fn new(assignor: Assignor, seed: u64) -> Self {
        Self {
            loss_percent: 0,
            dice: Dice(seed),
            now: Duration::ZERO,
            assignor,
            coordinator: Coordinator::new(assignor.name(), SESSION, Duration::from_secs(10)),
            outage_until: Duration::ZERO,
            processes: Vec::new(),
            events: BTreeMap::new(),
            last_event: 0,
            last_ticket: 0,
            ghost_tickets: BTreeSet::new(),
            holders: BTreeMap::new(),
            handled: BTreeMap::new(),
        }
    }

    pub(super) fn generation(&self) -> i32 {
        self.coordinator.generation
    }

    pub(super) fn start_members(&mut self, count: usize) {
        for _ in 0..count {
            let mut settings = Settings::new("g", vec![topic()]);
            settings.assignors = vec![self.assignor];
            settings.session_timeout = SESSION;
            settings.heartbeat_interval = Duration::from_millis(500);
            settings.poll_interval_max = Duration::from_secs(10);
            self.processes.push(Process {
                member: Member::new(settings, self.now),
                positions: BTreeMap::new(),
                revoking: BTreeSet::new(),
                ghosts: Vec::new(),
                lost: BTreeSet::new(),
                paused_until: Duration::ZERO,
                alive: true,
                closed: false,
            });
            self.give(self.processes.len() - 1, Input::Waiting);
        }
    }

    pub(super) fn crash(&mut self, process: usize) {
        self.processes[process].alive = false;
        self.events
            .retain(|_, (to, event)| *to != process || matches!(event, Event::Arrives(_)));
    }

    pub(super) fn close(&mut self, process: usize) {
        self.give(
            process,
            Input::Close {
                within: Duration::from_secs(5),
            },
        );
    }

    pub(super) fn pause(&mut self, process: usize, time: Duration) {
        self.processes[process].paused_until = self.now + time;
    }

    pub(super) fn fail_over(&mut self) {
        self.outage_until = self.now + Duration::from_secs(2);
        let answers = self.coordinator.fail_over(self.outage_until);
        self.send_back(answers);
    }

    pub(super) fn random_fault(&mut self) {
        let living: Vec<usize> = (0..self.processes.len())
            .filter(|at| self.processes[*at].alive && !self.processes[*at].closed)
            .collect();
        let kind = self.dice.below(6);
        let chosen = self.dice.below(living.len().max(1) as u64) as usize;
        match (kind, living.get(chosen)) {
            (0, Some(process)) => self.crash(*process),
            (1, Some(process)) => {
                self.crash(*process);
                self.start_members(1);
            }
            (2, Some(process)) => self.close(*process),
            (3, Some(process)) => self.pause(*process, Duration::from_secs(9)),
            (4, _) => self.fail_over(),
            _ => self.start_members(1),
        }
    }

    /// Ends every pause and sees to it that somebody is left.
    pub(super) fn calm_down(&mut self) {
        for process in &mut self.processes {
            process.paused_until = self.now;
        }
        self.start_members(1);
    }

    /// Every partition has one holder among the living, in the present generation.
    pub(super) fn check_settled(&self) {
        assert!(
            self.coordinator.is_stable(),
            "the group is still forming a generation"
        );
        let mut held = BTreeSet::new();
        for process in self
            .processes
            .iter()
            .filter(|process| process.alive && !process.closed)
        {
            assert!(
                process.member.is_stable(),
                "{} is not settled: {:?}",
                process.member.member_id(),
                process.member
            );
            assert_eq!(process.member.generation(), Some(self.coordinator.generation));
            for claim in process.positions.keys() {
                assert!(
                    held.insert(claim.partition.clone()),
                    "{} has two holders",
                    claim.partition
                );
            }
        }
        assert_eq!(held.len(), PARTITIONS as usize, "partitions without a holder");
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            let answers = if self.now < self.outage_until {
                Vec::new()
            } else {
                self.coordinator.tick(self.now)
            };
            self.send_back(answers);
            self.deliver();
            for at in 0..self.processes.len() {
                self.live(at);
            }
        }
    }

    fn awake(&self, at: usize) -> bool {
        self.processes[at].alive && self.processes[at].paused_until <= self.now
    }

    fn live(&mut self, at: usize) {
        if !self.awake(at) {
            return;
        }
        if self.processes[at]
            .member
            .deadline()
            .is_some_and(|deadline| deadline <= self.now)
        {
            self.give(at, Input::Tick);
        }
        if self.dice.below(10) == 0 {
            self.work(at);
        }
    }

    /// The application handles some records and commits, now and then for a claim that it has lost.
    fn work(&mut self, at: usize) {
        let mut offsets = Vec::new();
        let process = &mut self.processes[at];
        for (claim, position) in &mut process.positions {
            if process.revoking.contains(claim) {
                continue;
            }
            *position += 1;
            let handled = self.handled.entry(claim.partition.clone()).or_default();
            assert!(
                *position <= *handled + 1,
                "{} skips to {position}",
                claim.partition
            );
            *handled = (*handled).max(*position);
            offsets.push((
                claim.clone(),
                Mark {
                    offset: *position,
                    leader_epoch: -1,
                },
            ));
        }
        // Now and then so late that the partition has come back.
        let notices = self.dice.below(8) > 0;
        let ghosts = if notices {
            Vec::new()
        } else {
            std::mem::take(&mut process.ghosts)
        };
        if self.dice.below(3) == 0 {
            self.commit(at, offsets);
        }
        if !ghosts.is_empty() {
            self.ghost_tickets.insert(self.last_ticket + 1);
            self.commit(at, ghosts);
        }
    }

    fn commit(&mut self, at: usize, offsets: Vec<(Claim, Mark)>) {
        self.last_ticket += 1;
        self.give(
            at,
            Input::Commit {
                ticket: self.last_ticket,
                offsets,
            },
        );
    }

    fn give(&mut self, at: usize, input: Input) {
        let orders = self.processes[at].member.handle(self.now, input);
        for order in orders {
            self.obey(at, order);
        }
    }

    fn obey(&mut self, at: usize, order: Order) {
        let process = &mut self.processes[at];
        match order {
            Order::Assign { claims, generation } => self.assigned(at, claims, generation),
            Order::Revoke(claims) => {
                process.revoking.extend(claims.iter().cloned());
                let offsets = claims
                    .iter()
                    .map(|claim| {
                        (
                            claim.clone(),
                            Mark {
                                offset: process.positions[claim],
                                leader_epoch: -1,
                            },
                        )
                    })
                    .collect();
                self.commit(at, offsets);
                let wait = Duration::from_millis(10 + self.dice.below(300));
                self.schedule(self.now + wait, at, Event::Happens(Input::Released(claims)));
            }
            Order::Lose(claims) => {
                for claim in claims {
                    process.revoking.remove(&claim);
                    process.lost.insert(claim.partition.clone());
                    if let Some(offset) = process.positions.remove(&claim) {
                        process.ghosts.push((
                            claim,
                            Mark {
                                offset,
                                leader_epoch: -1,
                            },
                        ));
                    }
                }
            }
            Order::CommitDone { ticket, refused } => {
                let ghost = self.ghost_tickets.remove(&ticket);
                let not_held = refused
                    .iter()
                    .all(|(_, trouble)| *trouble == CommitTrouble::NotHeld);
                assert!(
                    !ghost || (not_held && !refused.is_empty()),
                    "a lost claim was committed"
                );
            }
            Order::Closed(error) => {
                assert_eq!(error, None);
                process.closed = true;
                assert!(
                    process.positions.is_empty() || !process.revoking.is_empty(),
                    "closed and still holding"
                );
            }
            Order::Alarm { code } => panic!("an alarm for code {code}"),
            request => {
                if let Order::Commit { offsets, .. } = &request {
                    let lost = offsets
                        .iter()
                        .find(|(partition, _)| process.lost.contains(partition));
                    assert_eq!(lost, None, "a commit after the partition was lost");
                }
                let wait = Duration::from_millis(1 + self.dice.below(30));
                self.schedule(self.now + wait, at, Event::Arrives(request));
            }
        }
    }

    fn assigned(&mut self, at: usize, claims: Vec<Claim>, generation: i32) {
        let process = &mut self.processes[at];
        for claim in claims {
            let committed = self
                .coordinator
                .offsets
                .get(&claim.partition)
                .copied()
                .unwrap_or(0);
            let handled = self.handled.get(&claim.partition).copied().unwrap_or(0);
            assert!(
                committed <= handled,
                "{} was committed beyond what was handled",
                claim.partition
            );
            process.lost.remove(&claim.partition);
            process.positions.insert(claim, committed);
        }
        for claim in process
            .positions
            .keys()
            .filter(|claim| !process.revoking.contains(claim))
        {
            let holder = *self
                .holders
                .entry((generation, claim.partition.clone()))
                .or_insert(at);
            assert_eq!(
                holder, at,
                "{} has two holders in generation {generation}",
                claim.partition
            );
        }
    }

    fn schedule(&mut self, time: Duration, at: usize, event: Event) {
        self.last_event += 1;
        self.events.insert((time, self.last_event), (at, event));
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= self.now
        {
            let (_, (at, event)) = entry.remove_entry();
            match event {
                Event::Arrives(request) => self.serve(at, request),
                Event::Happens(_) if !self.processes[at].alive => {}
                Event::Happens(input) if !self.awake(at) => {
                    let time = self.processes[at].paused_until;
                    self.schedule(time, at, Event::Happens(input));
                }
                Event::Happens(input) => {
                    if let Input::Released(claims) = &input {
                        for claim in claims {
                            self.processes[at].revoking.remove(claim);
                            self.processes[at].positions.remove(claim);
                        }
                    }
                    self.give(at, input);
                }
            }
        }
    }

    /// A request reaches its node. Some are lost before they are executed, some answers after.
    fn serve(&mut self, at: usize, order: Order) {
        let lost_before = self.dice.below(100) < self.loss_percent;
        let (request, node) = address(&order);
        let reply = if lost_before || self.now < self.outage_until {
            vec![((at, request), Reply::Unreachable)]
        } else if node.is_some_and(|node| node != self.coordinator.node) {
            vec![((at, request), Reply::Refused(16))]
        } else {
            self.execute(at, order)
        };
        self.send_back(reply);
    }

    fn execute(&mut self, at: usize, order: Order) -> Answers {
        let (now, group) = (self.now, &mut self.coordinator);
        match order {
            Order::FindCoordinator { request } => vec![((at, request), Reply::Coordinator(group.node))],
            Order::Describe { request, .. } => {
                vec![(
                    (at, request),
                    Reply::Described(BTreeMap::from([(topic(), PARTITIONS)])),
                )]
            }
            Order::Join {
                request,
                member_id,
                protocols,
                ..
            } => group.join(now, (at, request), &member_id, &protocols[0].1),
            Order::Sync {
                request,
                identity,
                assignments,
                ..
            } => group.sync(now, (at, request), &identity, &assignments),
            Order::Heartbeat {
                request, identity, ..
            } => {
                vec![((at, request), group.heartbeat(now, &identity))]
            }
            Order::Commit {
                request,
                identity,
                offsets,
                ..
            } => {
                vec![((at, request), group.commit(now, &identity, &offsets))]
            }
            Order::Leave {
                request, member_id, ..
            } => {
                let (reply, mut answers) = group.leave(now, &member_id);
                answers.push(((at, request), reply));
                answers
            }
            _ => Vec::new(),
        }
    }

    fn send_back(&mut self, answers: Answers) {
        for ((at, request), reply) in answers {
            let lost = self.dice.below(100) < self.loss_percent;
            let reply = if lost { Reply::Unreachable } else { reply };
            let slow = if self.dice.below(20) == 0 { 1_500 } else { 30 };
            let wait = Duration::from_millis(1 + self.dice.below(slow));
            self.schedule(
                self.now + wait,
                at,
                Event::Happens(Input::Answered { request, reply }),
            );
        }
    }
}

fn address(order: &Order) -> (u64, Option<i32>) {
    match order {
        Order::FindCoordinator { request } | Order::Describe { request, .. } => (*request, None),
        Order::Join { request, node, .. }
        | Order::Sync { request, node, .. }
        | Order::Heartbeat { request, node, .. }
        | Order::Commit { request, node, .. }
        | Order::Leave { request, node, .. } => (*request, Some(*node)),
        _ => (0, None),
    }
}
