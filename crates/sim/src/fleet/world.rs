//! Some processes, a store and a broker, and everything that may happen next.

use std::time::Duration;

use evenkeel_flow::diversion::{Input, Member, Phase, Process, Settings};

use super::broker::{Broker, Message, Taken};
use super::judge::{Judge, Violation};
use super::process::{Asked, Outside, Running};
use super::store::{Ask, PLACE, Store};
use super::{Begin, Bounds, met};

/// How long a lease counts. A tick is as long.
const LEASE: Duration = Duration::from_secs(1);

/// Requests of a process until it has parked, and has asked who else there is.
const ALONE_TURNS: usize = 20;
/// More turns than it takes until a drain begins.
const TURNS_MAX: usize = 1_000;

/// A state of everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) store: Store,
    pub(super) broker: Broker,
    pub(super) processes: Vec<Option<Running>>,
    net: Vec<Message>,
    /// Requests to the store that their askers gave up, and that may be carried out late.
    ghosts: Vec<Ask>,
    judge: Judge,
    ticks: u8,
    /// Reads are carried out when their turn comes, not at once.
    reads_wait: bool,
    left: Left,
}

/// How often something may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Left {
    ticks: u8,
    timeouts: u8,
    losses: u8,
    delays: u8,
    crashes: u8,
}

/// Something that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A process publishes its next event.
    Call(u8),
    /// The store carries out a request of a process, which takes the answer in.
    Ask(u8, u8),
    /// The store carries out a request of a process; the answer is under way.
    Delay(u8, u8),
    /// A process takes an answer in that was under way.
    Answer(u8, u8),
    /// The store carries out a request of a process; the answer is lost.
    LoseAnswer(u8, u8),
    /// A process gives a request up that may be carried out later.
    LoseRequest(u8, u8),
    /// A request that was given up is carried out.
    Haunt(u8),
    /// A message comes to the broker, and its answer back.
    Send(u8),
    /// A message comes to the broker, and its answer is lost.
    SendUnanswered(u8),
    /// A process has waited too long for the broker.
    TimeOut(u8),
    /// Every lease that is not renewed runs out.
    Tick,
    /// A process is killed.
    Crash(u8),
}

impl World {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let mut processes = Vec::new();
        let mut next_event = 0;
        for (number, events) in (0..).zip(bounds.publishers.iter().copied().chain(bounds.drainers())) {
            let drains = number >= bounds.publishers.len() as u8;
            let settings = Settings {
                lease: LEASE,
                poll_every: Duration::ZERO,
                drift_per_mille: 0,
                mode: bounds.mode,
                drains,
            };
            let member = Member::new(Process(u128::from(number)), settings);
            let own = (next_event..next_event + events).collect();
            next_event += events;
            processes.push(Some(Running::new(number, member, own)));
        }
        let mut world = Self {
            store: Store::default(),
            broker: Broker::default(),
            processes,
            net: Vec::new(),
            ghosts: Vec::new(),
            judge: Judge::new(next_event as usize, bounds.counts_unguarded),
            ticks: 0,
            reads_wait: bounds.reads_wait,
            left: Left {
                ticks: bounds.ticks,
                timeouts: bounds.timeouts,
                losses: bounds.losses,
                delays: bounds.delays,
                crashes: bounds.crashes,
            },
        };
        world.join(bounds.begin);
        match bounds.begin {
            Begin::Joined | Begin::JoinsLate => {}
            Begin::Diverts => world.divert(),
            Begin::Drains | Begin::Orphaned => world.drain(),
        }
        if bounds.begin == Begin::Orphaned {
            world.crash(0);
        }
        world
    }

    /// The processes join.
    fn join(&mut self, begin: Begin) {
        let numbers = 0..self.processes.len() as u8;
        for number in numbers.clone() {
            let is_reachable = true;
            let place = PLACE;
            self.with(number, |running, outside| {
                running.tell(outside, Input::Reachable { place, is_reachable });
            });
        }
        for number in numbers.filter(|number| *number == 0 || begin != Begin::JoinsLate) {
            for _ in 0..3 {
                self.step(Action::Ask(number, 0));
            }
        }
    }

    /// The first process calls all its events and waits too long for the first of them. Returns how many those are.
    fn call_and_wait(&mut self) -> usize {
        let running = self.processes[0].as_ref();
        let events = running.map_or(0, |running| running.to_call.len());
        self.step(Action::Call(0));
        self.with(0, Running::time_out);
        for _ in 1..events {
            self.step(Action::Call(0));
        }
        events
    }

    /// Carries out a request of a process, each in its turn.
    fn ask_in_turn(&mut self, number: u8, turn: usize) {
        let running = self.processes[number as usize].as_ref();
        let asked = running.map_or(0, |running| running.asked.len());
        if asked > 0 {
            self.step(Action::Ask(number, (turn % asked) as u8));
        }
    }

    /// The requests of the first process alone are carried out.
    fn divert(&mut self) {
        let events = self.call_and_wait();
        for turn in 0..ALONE_TURNS {
            self.ask_in_turn(0, turn);
        }
        assert_eq!(self.store.rows.len(), events, "nothing is parked: {self:#?}");
    }

    /// Everybody's requests are carried out until a drain begins.
    fn drain(&mut self) {
        let events = self.call_and_wait();
        for turn in 0..TURNS_MAX {
            if self.store.rows.len() == events && self.store.diversion.record.drainer.is_some() {
                return;
            }
            for number in 0..self.processes.len() as u8 {
                self.ask_in_turn(number, turn);
            }
        }
        panic!("no drain begins: {self:#?}");
    }

    /// Lets a process do something, and then whatever it can do without an answer.
    fn with<T>(
        &mut self,
        number: u8,
        act: impl FnOnce(&mut Running, &mut Outside<'_>) -> T,
    ) -> (Option<T>, u64) {
        let mut met = 0;
        let clock = Duration::from_secs(self.ticks.into());
        let Some(running) = self.processes[number as usize].as_mut() else {
            return (None, 0);
        };
        let mut outside = Outside {
            now: clock,
            net: &mut self.net,
            ghosts: &mut self.ghosts,
            judge: &mut self.judge,
            met: &mut met,
        };
        let result = act(running, &mut outside);
        running.pump(&mut outside);
        (Some(result), met)
    }

    /// Everything that may happen next.
    pub(super) fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for running in self.processes.iter().flatten() {
            let number = running.number;
            if !running.to_call.is_empty() {
                actions.push(Action::Call(number));
            }
            for (index, asked) in (0..).zip(&running.asked) {
                self.store_actions(number, index, asked, &mut actions);
            }
            if self.left.timeouts > 0 && running.waits_for_broker() {
                actions.push(Action::TimeOut(number));
            }
            if self.left.crashes > 0 {
                actions.push(Action::Crash(number));
            }
        }
        actions.extend((0..self.ghosts.len() as u8).map(Action::Haunt));
        for index in 0..self.net.len() as u8 {
            actions.push(Action::Send(index));
            if self.left.losses > 0 {
                actions.push(Action::SendUnanswered(index));
            }
        }
        if self.left.ticks > 0 {
            actions.push(Action::Tick);
        }
        actions
    }

    fn store_actions(&self, number: u8, index: u8, asked: &Asked, actions: &mut Vec<Action>) {
        if asked.answer.is_some() {
            actions.push(Action::Answer(number, index));
            return;
        }
        actions.push(Action::Ask(number, index));
        if self.left.delays > 0 {
            actions.push(Action::Delay(number, index));
        }
        if self.left.losses > 0 {
            actions.push(Action::LoseAnswer(number, index));
            if asked.ask.writes() {
                actions.push(Action::LoseRequest(number, index));
            }
        }
    }

    /// Makes one step. Returns what was met, and the promise that it broke.
    pub(super) fn step(&mut self, action: Action) -> (u64, Option<Violation>) {
        let before = self.store.diversion.record;
        let mut met = 0;
        match action {
            Action::Call(number) => met |= self.with(number, Running::call).1,
            Action::Ask(number, index) => {
                self.execute(number, index);
                met |= self.answer(number, index, true);
            }
            Action::Delay(number, index) => {
                self.left.delays -= 1;
                self.execute(number, index);
            }
            Action::Answer(number, index) => met |= self.answer(number, index, true),
            Action::LoseAnswer(number, index) => {
                self.left.losses -= 1;
                self.execute(number, index);
                met |= self.answer(number, index, false);
            }
            Action::LoseRequest(number, index) => {
                self.left.losses -= 1;
                met |= self.answer(number, index, false);
            }
            Action::Haunt(index) => {
                let ask = self.ghosts.remove(index as usize);
                let was = self.store.clone();
                self.store.execute(&ask, LEASE);
                if was != self.store {
                    met |= match ask {
                        Ask::Revoke { .. } => met::REVOKED,
                        _ => met::WRITTEN_LATE,
                    };
                }
            }
            Action::Send(index) => met |= self.send(index, true),
            Action::SendUnanswered(index) => {
                self.left.losses -= 1;
                met |= self.send(index, false);
            }
            Action::TimeOut(number) => {
                self.left.timeouts -= 1;
                met |= self.with(number, Running::time_out).1;
            }
            Action::Tick => {
                self.left.ticks -= 1;
                self.ticks += 1;
            }
            Action::Crash(number) => {
                self.left.crashes -= 1;
                self.crash(number);
            }
        }
        if !self.reads_wait {
            met |= self.look();
        }
        self.net.sort_unstable();
        self.ghosts.sort_unstable();
        met |= self.notice(before);
        (met, self.check())
    }

    /// Carries out every read that waits.
    fn look(&mut self) -> u64 {
        let mut met = 0;
        let waits = |asked: &Asked| asked.answer.is_none() && asked.ask.is_look();
        for number in 0..self.processes.len() as u8 {
            while let Some(index) = self.processes[number as usize]
                .as_ref()
                .and_then(|running| running.asked.iter().position(waits))
            {
                self.execute(number, index as u8);
                met |= self.answer(number, index as u8, true);
            }
        }
        met
    }

    fn execute(&mut self, number: u8, index: u8) {
        let Some(running) = &mut self.processes[number as usize] else {
            return;
        };
        let asked = &mut running.asked[index as usize];
        asked.answer = Some(self.store.execute(&asked.ask, LEASE));
    }

    fn answer(&mut self, number: u8, index: u8, arrives: bool) -> u64 {
        let answered = self.with(number, |running, outside| {
            let asked = running.asked.remove(index as usize);
            if asked.answer.is_none() && asked.ask.writes() {
                outside.haunt(asked.ask.clone());
            }
            running.answered(outside, asked.ask, asked.answer.filter(|_| arrives));
        });
        answered.1
    }

    fn send(&mut self, index: u8, is_answered: bool) -> u64 {
        let message = self.net.remove(index as usize);
        let taken = self.broker.take(&message);
        let mut met = match taken {
            Taken::Already => met::SENT_TWICE,
            Taken::Appended if !message.is_drain && self.store.diversion.record.phase != Phase::Open => {
                met::LANDED_LATE
            }
            _ => 0,
        };
        let is_landed = taken != Taken::OutOfTurn && is_answered;
        let answered = self.with(message.from, |running, outside| {
            if is_landed && message.is_drain {
                running.drain_landed(message.stamp);
            } else if is_landed {
                running.landed(outside, message.event);
            }
        });
        met |= answered.1;
        met
    }

    fn crash(&mut self, number: u8) {
        let Some(running) = self.processes[number as usize].take() else {
            return;
        };
        let unanswered = running.asked.into_iter().filter(|asked| asked.answer.is_none());
        let late = unanswered.map(|asked| asked.ask).filter(Ask::writes);
        self.ghosts.extend(late);
    }

    fn notice(&self, before: evenkeel_flow::diversion::Diversion) -> u64 {
        let record = self.store.diversion.record;
        let mut met = 0;
        if record.epoch > before.epoch {
            met |= met::REOPENED;
        }
        if record.term > before.term && before.drainer.is_some() {
            met |= met::TAKEN_OVER;
        }
        if record.epoch > 0 && record.phase == Phase::Diverting {
            met |= met::DIVERTED_AGAIN;
        }
        let all = self.judge.events();
        if record.epoch > 0 && record.phase == Phase::Open && self.broker.log.len() == all {
            met |= met::ALL_DONE;
        }
        met
    }

    fn check(&self) -> Option<Violation> {
        if self.store.diversion.record.phase == Phase::Open && !self.store.rows.is_empty() {
            return Some(Violation {
                invariant: "in-order",
                seen: format!("the partition is open, and parked are {:?}", self.store.rows),
            });
        }
        let broker = &self.broker;
        let is_kept = |event| broker.log.contains(&event) || self.store.holds(event);
        let broken = self.judge.check_log(&broker.log);
        broken.or_else(|| self.judge.check_owned(is_kept))
    }
}
