//! A history: what the application does and what befalls it, chosen by a seed, and then the end of all faults.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_flow::session::Input;
use evenkeel_flow::unplaced;

use crate::broker::BATCH_BYTES_MAX;
use crate::judge::Violation;
use crate::records::{Event, KEYS, PARTITIONS, Records};
use crate::store::RECORDS_MAX;
use crate::world::{Happening, World};

/// The most inputs of a history.
pub const INPUTS_MAX: u64 = 60;

/// Kinds of fault. Each history has some of them, so that some are met together often.
const FAULTS: u64 = 23;

/// Plays the history of a seed.
///
/// # Errors
/// The first invariant that was broken.
pub fn play(seed: u64) -> Result<(), Violation> {
    let mut world = World::new(seed);
    run(&mut world);
    world.judge.violation.map_or(Ok(()), Err)
}

/// Plays the history of a seed and tells what it met.
#[must_use]
pub fn met(seed: u64) -> BTreeSet<&'static str> {
    let mut world = World::new(seed);
    run(&mut world);
    world.met
}

/// What the histories are to meet.
pub const TO_MEET: &[&str] = &[
    "answered twice",
    "appended late",
    "epoch raised",
    "fenced",
    "found",
    "held",
    "joined",
    "letter",
    "letter lost",
    "marked",
    "missing",
    "not searchable",
    "out of turn",
    "parked stamped",
    "placed",
    "read later",
    "read stamped",
    "released",
    "split",
    "store refused",
    "store unknown",
    "throttled",
];

/// Plays the history of a seed and tells what was done.
#[must_use]
pub fn trace(seed: u64) -> (Vec<String>, Option<Violation>) {
    let mut world = World::new(seed);
    world.trace = Some(Vec::new());
    run(&mut world);
    (world.trace.unwrap_or_default(), world.judge.violation)
}

fn run(world: &mut World) {
    let faults = world.random.next() & world.random.next();
    let inputs = world.random.within(5, INPUTS_MAX + 1);
    world.metadata_hidden = faults & 1 != 0;
    world.start();
    for _ in 0..inputs {
        if world.judge.violation.is_some() {
            return;
        }
        world.step(faults);
    }
    world.finish();
}

impl World {
    fn step(&mut self, faults: u64) {
        match self.random.within(0, 100) {
            0..45 => self.publish_some(),
            45..60 => self.pass(50, 30_000),
            60..70 => self.pass(30_000, 1_500_000),
            70..76 => self.retry_failed(),
            _ => {
                let fault = self.random.within(0, FAULTS);
                if faults & (1 << fault) != 0 {
                    self.befall(fault);
                }
            }
        }
        self.pass(1, 3_000);
    }

    fn pass(&mut self, low_us: u64, high_us: u64) {
        let until = self.now_us + self.random.within(low_us, high_us);
        self.advance(until);
    }

    fn publish_some(&mut self) {
        if self.now_us < self.paused_until_us {
            return;
        }
        let count = self.random.within(1, 5);
        let partition = self.random.within(0, PARTITIONS as u64) as u8;
        let mut events = Vec::new();
        for _ in 0..count {
            let key = self.random.within(0, u64::from(KEYS) / PARTITIONS as u64) as u8 * PARTITIONS as u8
                + partition;
            let bytes = match self.random.within(0, 40) {
                0 => 2_000,
                1..4 => 400,
                _ => 100,
            };
            events.push(self.application.create(key, bytes));
        }
        let bytes: u32 = events.iter().map(|event| event.bytes).sum();
        // What is refused for its content behind an unanswered attempt is searched for.
        self.judge.may_doubt |= bytes as usize > self.judge.smallest_limit;
        self.publish(events);
    }

    fn publish(&mut self, events: Vec<Event>) {
        let Some(machines) = &self.process else { return };
        let process = self.processes;
        let partition = events.first().map_or(0, Event::partition);
        let is_open = machines.unplaced.is_open();
        let can_take = if is_open {
            machines.partitions[partition].can_take()
        } else {
            machines.unplaced.can_take()
        };
        if !can_take && self.random.chance(80) {
            return;
        }
        let ticket = self
            .application
            .call(process, self.known_topic[partition], &events);
        let payload = Records::new(events);
        let parks = self.random.chance(5);
        match (is_open, parks) {
            (true, false) => self.tell(process, partition, Input::Published { ticket, payload }),
            (true, true) => self.tell(process, partition, Input::Park { ticket, payload }),
            (false, false) => self.tell_unplaced(process, unplaced::Input::Published { ticket, payload }),
            (false, true) => self.tell_unplaced(process, unplaced::Input::Park { ticket, payload }),
        }
    }

    /// Publishes again what failed; where it may have landed, the retry joins it.
    fn retry_failed(&mut self) {
        if self.now_us < self.paused_until_us {
            return;
        }
        for event in self.application.failed() {
            let process = self.processes;
            let now = self.now();
            let published = &self.application.events[event.id as usize];
            let is_of_this_process = published.calls.last().is_some_and(|call| call.process == process);
            let ticket = self.application.retry_ticket(event.id);
            let Some(machines) = &mut self.process else { return };
            let mut orders = Vec::new();
            let mut unplaced_orders = Vec::new();
            self.application.events[event.id as usize].joined_open += 1;
            let joined = machines.unplaced.join(ticket, &event.id, &mut unplaced_orders)
                || machines.partitions[event.partition()].join(now, ticket, &event.id, &mut orders);
            self.note(|| format!("retry {}: joined {joined}", event.id));
            if joined {
                self.met.insert("joined");
            }
            if !joined {
                let published = &mut self.application.events[event.id as usize];
                published.joined_open -= 1;
                if let Some(call) = published.calls.last_mut().filter(|_| is_of_this_process) {
                    call.is_void = true;
                }
                self.publish(vec![event]);
            }
            for order in unplaced_orders {
                if let unplaced::Order::Acknowledge { claim, outcome } = order {
                    self.judge.acknowledged(
                        &mut self.application,
                        (&self.broker, &self.store),
                        None,
                        claim,
                        outcome,
                    );
                }
            }
            self.carry_out(event.partition(), orders);
        }
    }

    fn befall(&mut self, fault: u64) {
        self.note(|| format!("fault {fault}"));
        let partition = self.random.within(0, PARTITIONS as u64) as usize;
        match fault {
            0 => self.metadata_hidden = !self.metadata_hidden,
            1 | 2 => self.cut(partition),
            3 => self.kill_or_restart_broker(),
            4 => self.freeze_or_thaw(),
            5 => {
                let log = &mut self.broker.logs[partition];
                log.leaderless = !log.leaderless;
                if self.random.chance(70) {
                    self.tell_leader(partition);
                }
            }
            6 => self.refuse_with(&[19, 6, 7, 56]),
            7 => self.broker.too_few_replicas_after = !self.broker.too_few_replicas_after,
            8 => self.refuse_with(&[29, 3, 32, 58, -1]),
            9 => self.throttle(partition),
            10 => self.limit_store(),
            11 => self.store.broken = !self.store.broken,
            12 => self.store.slow = !self.store.slow,
            13 => self.limit_batches(),
            14 | 15 => self.crash_and_restart(),
            16 => self.pause(),
            17 => self.long_outage(),
            18 => self.recreate_topic(),
            19 => self.letters_lost = !self.letters_lost,
            20 => self.hide_or_show_the_log(),
            21 => self.hold_or_release(partition),
            _ => self.close(),
        }
    }

    fn hold_or_release(&mut self, partition: usize) {
        self.holds[partition] = !self.holds[partition];
        self.tell_hold(partition);
    }

    fn kill_or_restart_broker(&mut self) {
        self.broker.down = !self.broker.down;
        if self.broker.down {
            for partition in 0..PARTITIONS {
                self.cut(partition);
            }
        }
        if self.random.chance(70) {
            for partition in 0..PARTITIONS {
                self.tell_leader(partition);
            }
        }
    }

    fn freeze_or_thaw(&mut self) {
        if self.broker.frozen {
            self.thaw();
        } else {
            self.broker.frozen = true;
        }
    }

    fn refuse_with(&mut self, codes: &[i16]) {
        let code = codes[self.random.within(0, codes.len() as u64) as usize];
        self.broker.refuses_with = match self.broker.refuses_with {
            None => Some(code),
            Some(_) => None,
        };
    }

    fn throttle(&mut self, partition: usize) {
        if self.random.chance(50) {
            self.refuse_with(&[89]);
        } else {
            let until = self.now().elapsed + Duration::from_micros(self.random.within(1_000, 2_000_000));
            self.met.insert("throttled");
            self.tell(self.processes, partition, Input::Throttled { until });
        }
    }

    fn limit_store(&mut self) {
        self.store.records_max = if self.store.records_max == RECORDS_MAX {
            self.random.within(0, 8) as usize
        } else {
            RECORDS_MAX
        };
    }

    fn limit_batches(&mut self) {
        self.judge.may_doubt = true;
        self.broker.batch_bytes_max = if self.broker.batch_bytes_max == BATCH_BYTES_MAX {
            300
        } else {
            BATCH_BYTES_MAX
        };
        self.judge.smallest_limit = self.judge.smallest_limit.min(self.broker.batch_bytes_max);
    }

    fn crash_and_restart(&mut self) {
        // What was refused for its content is uncertain after a crash.
        self.judge.may_doubt = true;
        let before = self.processes;
        self.crash();
        self.pass(1, 2_000_000);
        self.start();
        self.republish(before);
    }

    fn republish(&mut self, before: u32) {
        let gives_up = self.random.chance(10);
        for event in self.application.unanswered(before) {
            let calls = self.application.events[event.id as usize].calls.len();
            if !gives_up {
                self.publish(vec![event]);
            }
            let published = &mut self.application.events[event.id as usize];
            published.is_given_up |= published.calls.len() == calls;
            self.pass(1, 10_000);
        }
    }

    fn pause(&mut self) {
        self.paused_until_us = self.now_us + self.random.within(1_000, 10_000_000);
    }

    /// Longer than half of the producer's expiry, and maybe than the whole. Nothing helps against a broker that appends
    /// what it held for longer than it remembers producers, so it does not hold anything for so long.
    fn long_outage(&mut self) {
        self.thaw();
        self.judge.may_doubt = true;
        if self.random.chance(50) && !self.broker.down {
            self.kill_or_restart_broker();
        }
        self.pass(50_000_000, 200_000_000);
        if self.broker.down {
            self.kill_or_restart_broker();
        }
    }

    fn recreate_topic(&mut self) {
        self.note(|| "the topic is created anew".to_owned());
        self.broker.recreate();
        self.judge.topic_recreated();
    }

    fn hide_or_show_the_log(&mut self) {
        self.judge.may_doubt = true;
        self.broker.unsearchable = !self.broker.unsearchable;
    }

    /// Closes the process in good order, for some seconds, and starts another.
    fn close(&mut self) {
        self.judge.may_doubt = true;
        let process = self.processes;
        self.tell_unplaced(process, unplaced::Input::Close);
        for partition in 0..PARTITIONS {
            self.tell(process, partition, Input::Close);
        }
        let deadline = self.now_us + 5_000_000;
        while self.now_us < deadline && !self.is_idle() {
            self.pass(10_000, 20_000);
        }
        self.crash();
        self.start();
        self.republish(process);
    }

    fn is_idle(&self) -> bool {
        self.process.as_ref().is_none_or(|process| {
            process.unplaced.is_idle() && process.partitions.iter().all(|partition| partition.is_idle())
        })
    }

    /// All faults end, and everything has its time.
    fn finish(&mut self) {
        self.note(|| "all faults end".to_owned());
        self.paused_until_us = 0;
        self.metadata_hidden = false;
        self.letters_lost = false;
        self.holds = [false; PARTITIONS];
        self.broker.down = false;
        self.broker.refuses_with = None;
        self.broker.too_few_replicas_after = false;
        self.broker.batch_bytes_max = BATCH_BYTES_MAX;
        for log in &mut self.broker.logs {
            log.leaderless = false;
        }
        self.store.broken = false;
        self.store.slow = false;
        self.store.records_max = RECORDS_MAX;
        self.thaw();
        self.is_ending = true;
        self.start();
        for partition in 0..PARTITIONS {
            self.tell_hold(partition);
        }
        self.after(1, Happening::AskMetadata(self.processes));
        let deadline = self.now_us + 600_000_000;
        while self.now_us < deadline && !(self.is_idle() && self.store.is_empty()) {
            self.pass(200_000, 400_000);
        }
        self.pass(20_000_000, 20_000_001);
        if self.judge.violation.is_none() {
            self.judge
                .at_the_end(&self.application, &self.store, self.processes);
        }
    }
}
