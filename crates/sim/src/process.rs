//! The process: it carries inputs and orders between the machines and the world, as the SDK's shell does.

use evenkeel_event::TopicId;
use evenkeel_event::backoff::Backoff;
use evenkeel_flow::answer::Refusal;
use evenkeel_flow::session::{Claim, Input, Order, Outcome, Partition, SearchResult, Settings, Ticket};
use evenkeel_flow::unplaced::{self, Unplaced};
use std::time::Duration;

use crate::broker::EXPIRY_US;
use crate::disk::HeadOperation;
use crate::records::{Event, PARTITIONS, Records};
use crate::store::UNPLACED;
use crate::world::{Happening, PendingAppend, Search, World};

/// The machines of one process.
#[derive(Debug)]
pub struct Process {
    /// One session per partition.
    pub partitions: [Partition<Records>; PARTITIONS],
    /// The topic's events before its partitions are known.
    pub unplaced: Unplaced<Records>,
    producer: Option<i64>,
}

/// The sessions' settings: small limits, so that they are met.
fn settings() -> Settings {
    Settings {
        out_after: Duration::from_millis(500),
        waiting_batches_max: 6,
        waiting_bytes_max: 20_000,
        closing_records_max: 6,
        producer_expiry: Duration::from_micros(EXPIRY_US),
        backoff: Backoff::RECONNECT,
        settled_batches_max: 1_000,
    }
}

impl World {
    /// Starts a process on what the store holds.
    pub(crate) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.processes += 1;
        self.known_topic = [self.broker.topic; PARTITIONS];
        self.note(|| "start".to_owned());
        self.process = Some(Process {
            partitions: std::array::from_fn(|_| Partition::new(settings())),
            unplaced: Unplaced::new(settings()),
            producer: None,
        });
        let process = self.processes;
        let bounds: Vec<(u64, u64)> = self
            .store
            .lanes
            .iter()
            .map(|lane| (lane.head, lane.tail()))
            .collect();
        // A shell tells of the lanes that hold something, and no others.
        let held = |(_, (head, tail)): &(usize, (u64, u64))| head < tail;
        for (lane, (head, tail)) in bounds.into_iter().enumerate().filter(held) {
            if lane == UNPLACED {
                self.tell_unplaced(process, unplaced::Input::Recovered { head, tail });
            } else {
                let epochs = self.store.lanes[lane].epochs();
                self.tell(process, lane, Input::Recovered { head, tail, epochs });
            }
        }
        for partition in 0..PARTITIONS {
            self.tell_hold(partition);
        }
        self.after(500, Happening::AskMetadata(process));
    }

    /// Tells the machine whether an operator holds what is parked.
    pub(crate) fn tell_hold(&mut self, partition: usize) {
        let (process, held) = (self.processes, self.holds[partition]);
        self.tell(process, partition, Input::Hold { held });
        if partition == 0 {
            self.tell_unplaced(process, unplaced::Input::Hold { held });
        }
    }

    /// What the store holds of a held partition stays there (an operator's hold is obeyed).
    fn judge_hold(&mut self, partition: usize, orders: &[Order<Records>]) {
        let Some(process) = self.process.as_ref().filter(|_| self.holds[partition]) else {
            return;
        };
        if !process.partitions[partition].is_held() {
            return;
        }
        self.met.insert("held");
        let is_moved = |order: &Order<Records>| matches!(order, Order::Send { .. } | Order::Read { .. });
        if orders.iter().any(is_moved) {
            let seen = format!("partition {partition} is held, and is read or sent");
            self.judge.fail("held", seen);
        }
    }

    /// Kills the process.
    pub fn crash(&mut self) {
        if self.process.take().is_some() {
            self.note(|| "crash".to_owned());
            self.paused_until_us = 0;
            for partition in 0..PARTITIONS {
                self.abandon(partition);
            }
            self.lose_store_operations();
        }
    }

    pub(crate) fn tell(&mut self, process: u32, partition: usize, input: Input<Records>) {
        let now = self.now();
        self.note(|| format!("p{process} {partition} <- {input:?}"));
        let Some(machines) = self.process.as_mut().filter(|_| process == self.processes) else {
            return;
        };
        let mut orders = Vec::new();
        machines.partitions[partition].handle(now, input, &mut orders);
        self.judge_hold(partition, &orders);
        self.carry_out(partition, orders);
    }

    pub(crate) fn carry_out(&mut self, partition: usize, orders: Vec<Order<Records>>) {
        for order in orders {
            self.note(|| format!("      {partition} -> {order:?}"));
            self.carry_out_one(partition, order);
        }
        let held = self
            .process
            .as_ref()
            .map_or(0, |process| process.partitions[partition].batches_in_memory());
        if held > 40 {
            self.judge
                .fail("bounded", format!("{held} batches are in memory"));
        }
    }

    fn carry_out_one(&mut self, partition: usize, order: Order<Records>) {
        let process = self.processes;
        match order {
            Order::Send {
                attempt,
                stamping,
                payload,
            } => self.send(partition, attempt, stamping, payload),
            Order::Append { append, batches } => self.order_append(PendingAppend {
                process,
                lane: partition,
                number: append,
                batches,
                is_over: false,
            }),
            Order::StoreStamps { write, stamps } => {
                self.order_head(partition, HeadOperation::Stamps(write, stamps));
            }
            Order::Read { from } => self.order_head(partition, HeadOperation::Read(from)),
            Order::Remove { below } => self.order_head(partition, HeadOperation::Remove(below)),
            Order::Search {
                search,
                payload,
                from,
                ..
            } => {
                let search = Search {
                    number: search,
                    records: payload,
                    from,
                };
                let delay = self.random.within(1_000, 20_000);
                self.after(delay, Happening::Search(process, partition, search));
            }
            Order::DeadLetter {
                letter,
                payload,
                refusal,
            } => {
                let delay = self.random.within(1_000, 20_000);
                self.after(
                    delay,
                    Happening::Letter(process, partition, letter, payload, refusal),
                );
            }
            Order::Acknowledge { claim, outcome } => self.acknowledge(Some(partition), claim, outcome),
            Order::AskProducer { used_up } => {
                self.after(1_000, Happening::AskProducer(process, partition, used_up));
            }
            Order::WakeAt(at) => {
                let at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
                self.at(at_us, Happening::Tell(process, partition, Input::Timer));
            }
            Order::Alarm(_) => {}
        }
    }

    fn acknowledge(&mut self, partition: Option<usize>, claim: Claim, outcome: Outcome) {
        self.judge.acknowledged(
            &mut self.application,
            (&self.broker, &self.store),
            partition,
            claim,
            outcome,
        );
    }

    pub(crate) fn tell_unplaced(&mut self, process: u32, input: unplaced::Input<Records>) {
        let now = self.now();
        self.note(|| format!("p{process} unplaced <- {input:?}"));
        let Some(machines) = self.process.as_mut().filter(|_| process == self.processes) else {
            return;
        };
        let mut orders = Vec::new();
        machines.unplaced.handle(now, input, &mut orders);
        for order in orders {
            self.note(|| format!("      unplaced -> {order:?}"));
            self.carry_out_unplaced(process, order);
        }
    }

    fn carry_out_unplaced(&mut self, process: u32, order: unplaced::Order<Records>) {
        match order {
            unplaced::Order::Append { append, batches } => self.order_append(PendingAppend {
                process,
                lane: UNPLACED,
                number: append,
                batches: batches.into_iter().map(|records| (None, records)).collect(),
                is_over: false,
            }),
            unplaced::Order::Place { .. } => self.order_head(UNPLACED, HeadOperation::Place),
            unplaced::Order::Release { ticket, payload } => {
                self.met.insert("released");
                self.release(process, ticket, &payload);
            }
            unplaced::Order::Acknowledge { claim, outcome } => self.acknowledge(None, claim, outcome),
            unplaced::Order::WakeAt(at) => {
                let at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
                self.at(at_us, Happening::TellUnplaced(process, unplaced::Input::Timer));
            }
        }
    }

    fn release(&mut self, process: u32, ticket: Ticket, records: &Records) {
        for partition in 0..PARTITIONS {
            let (indices, events): (Vec<usize>, Vec<Event>) = records
                .events()
                .iter()
                .enumerate()
                .filter(|(_, event)| event.partition() == partition)
                .map(|(index, event)| (index, *event))
                .unzip();
            if !events.is_empty() {
                let ticket = self.application.part(ticket, &indices);
                let payload = Records::new(events);
                self.tell(process, partition, Input::Published { ticket, payload });
            }
        }
    }

    pub(crate) fn carry_out_search(&mut self, process: u32, partition: usize, search: &Search) {
        let log = &self.broker.logs[partition];
        let result = if self.broker.unsearchable {
            SearchResult::NotSearchable
        } else if self.broker.down || self.broker.frozen || log.leaderless {
            SearchResult::Failed
        } else {
            let from = search.from.map_or(0, |from| from as usize);
            let from = if from > log.records.len() { 0 } else { from };
            let find = |event: &Event| {
                let found = log.records[from..]
                    .iter()
                    .position(|record| record.event.id == event.id);
                found.map(|index| (from + index) as i64)
            };
            SearchResult::Found(search.records.events().iter().map(find).collect())
        };
        self.met.extend(match &result {
            SearchResult::NotSearchable => Some("not searchable"),
            SearchResult::Failed => None,
            SearchResult::Found(offsets) if offsets.contains(&None) => Some("missing"),
            SearchResult::Found(_) => Some("found"),
        });
        let number = search.number;
        self.after(
            1_000,
            Happening::Tell(
                process,
                partition,
                Input::Searched {
                    search: number,
                    result,
                },
            ),
        );
    }

    pub(crate) fn write_letter(
        &mut self,
        process: u32,
        partition: usize,
        letter: u64,
        records: &Records,
        _refusal: Refusal,
    ) {
        if process != self.processes || self.process.is_none() {
            return;
        }
        let durable = !self.letters_lost;
        self.met.insert(if durable { "letter" } else { "letter lost" });
        if records.events().len() != 1 {
            self.judge
                .fail("told-apart", "a letter is written for several events".to_owned());
        }
        if durable {
            for event in records.events() {
                self.judge.lettered(*event);
            }
        }
        self.after(
            500,
            Happening::Tell(process, partition, Input::Lettered { letter, durable }),
        );
    }

    pub(crate) fn give_producer(&mut self, process: u32, partition: usize, used_up: Option<i64>) {
        if self.broker.down || self.broker.frozen {
            self.after(100_000, Happening::AskProducer(process, partition, used_up));
            return;
        }
        let next = self.next_producer + 1;
        let Some(machines) = self.process.as_mut().filter(|_| process == self.processes) else {
            return;
        };
        if machines.producer.is_none() || machines.producer == used_up {
            machines.producer = Some(next);
            self.next_producer = next;
        }
        if let Some(id) = machines.producer {
            self.tell(process, partition, Input::Producer { id });
        }
    }

    /// Tells the process what the cluster says of the topic, and asks again later.
    pub(crate) fn give_metadata(&mut self, process: u32) {
        if process != self.processes || self.process.is_none() {
            return;
        }
        if !self.is_ending {
            self.after(100_000, Happening::AskMetadata(process));
        }
        if self.broker.down || self.broker.frozen || self.metadata_hidden {
            return;
        }
        self.tell_unplaced(process, unplaced::Input::PartitionsKnown);
        for partition in 0..PARTITIONS {
            self.tell_leader(partition);
        }
    }

    /// Tells whether the partition has a leader.
    pub fn tell_leader(&mut self, partition: usize) {
        let process = self.processes;
        self.known_topic[partition] = self.broker.topic;
        let input = if self.broker.down || self.broker.logs[partition].leaderless {
            Input::LeaderGone
        } else {
            Input::LeaderKnown {
                topic_id: TopicId([self.broker.topic; 16]),
            }
        };
        self.tell(process, partition, input);
    }
}
