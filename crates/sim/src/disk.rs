//! Operations on the store: they take time, fail, or are carried out without an answer.

use evenkeel_flow::session::{Input, StampedRange, StoreResult};
use evenkeel_flow::unplaced;

use crate::records::PARTITIONS;
use crate::store::UNPLACED;
use crate::world::{Happening, World};

/// An operation on a lane's head. They are carried out in order, but for a read, which may come later.
#[derive(Debug, Clone)]
pub enum HeadOperation {
    /// Read from a position.
    Read(u64),
    /// Store stamps.
    Stamps(u64, Vec<StampedRange>),
    /// Remove what is below.
    Remove(u64),
    /// Place unplaced events.
    Place,
}

impl World {
    fn store_delay(&mut self) -> u64 {
        if self.store.slow {
            self.random.within(50_000, 700_000)
        } else {
            self.random.within(100, 3_000)
        }
    }

    pub(crate) fn order_append(&mut self, append: crate::world::PendingAppend) {
        let number = self.appends.len();
        self.appends.push(append);
        let delay = self.store_delay();
        self.after(delay, Happening::Append(number));
    }

    pub(crate) fn carry_out_append(&mut self, number: usize) {
        let append = &mut self.appends[number];
        if std::mem::replace(&mut append.is_over, true) {
            return;
        }
        let (process, lane, order) = (append.process, append.lane, append.number);
        let is_done = !self.store.broken || self.random.chance(50);
        let mut result = StoreResult::Unknown;
        if is_done {
            let done = self
                .store
                .append(lane, process, order, &self.appends[number].batches);
            if !self.store.broken {
                result = done;
            }
        }
        self.note(|| format!("store {lane} append {order}: {result:?}, carried out {is_done}"));
        let is_stamped = self.appends[number]
            .batches
            .iter()
            .any(|(stamping, _)| stamping.is_some());
        let meets = [
            ("store refused", result == StoreResult::Refused),
            ("store unknown", result == StoreResult::Unknown),
            ("parked stamped", is_stamped && is_done),
        ];
        self.met
            .extend(meets.iter().filter(|(_, is_met)| *is_met).map(|(what, _)| what));
        let delay = self.random.within(50, 1_000);
        let what = if lane == UNPLACED {
            let input = unplaced::Input::Appended {
                append: order,
                result,
            };
            Happening::TellUnplaced(process, input)
        } else {
            let input = Input::Appended {
                append: order,
                result,
            };
            Happening::Tell(process, lane, input)
        };
        self.after(delay, what);
    }

    pub(crate) fn order_head(&mut self, lane: usize, operation: HeadOperation) {
        self.heads[lane].push_back(operation);
        if self.heads[lane].len() == 1 {
            self.schedule_head(lane);
        }
    }

    fn schedule_head(&mut self, lane: usize) {
        let delay = self.store_delay();
        self.after(delay, Happening::Head(lane, self.processes));
    }

    pub(crate) fn carry_out_head(&mut self, lane: usize, process: u32) {
        if process != self.processes || self.process.is_none() {
            return;
        }
        let Some(operation) = self.heads[lane].front().cloned() else {
            return;
        };
        // A drain that is limited in rate reads when its turn comes; what else is ordered does not wait for that.
        if let HeadOperation::Read(_) = operation
            && self.heads[lane].len() > 1
            && self.random.chance(20)
        {
            self.heads[lane].rotate_left(1);
            self.met.insert("read later");
            return self.schedule_head(lane);
        }
        if self.store.broken {
            if self.random.chance(30) {
                self.execute(lane, &operation);
            }
            self.schedule_head(lane);
            return;
        }
        self.execute(lane, &operation);
        self.heads[lane].pop_front();
        if !self.heads[lane].is_empty() {
            self.schedule_head(lane);
        }
        self.tell_of(lane, &operation);
    }

    fn execute(&mut self, lane: usize, operation: &HeadOperation) {
        self.note(|| format!("store {lane} {operation:?}"));
        match operation {
            HeadOperation::Read(_) => {}
            HeadOperation::Stamps(_, stamps) => {
                if stamps.len() > 1 {
                    self.met.insert("split");
                }
                self.store.lanes[lane].store_stamps(stamps);
            }
            HeadOperation::Remove(below) => {
                if *below > self.store.lanes[lane].tail() {
                    let seen = format!("what is below {below} is removed, beyond the end of lane {lane}");
                    self.judge.fail("owned", seen);
                }
                let removed = self.store.lanes[lane].remove(*below);
                self.judge.removed(&removed);
            }
            HeadOperation::Place => {
                let count = self.random.within(1, 5) as usize;
                self.store.place(count);
                self.met.insert("placed");
            }
        }
    }

    fn tell_of(&mut self, lane: usize, operation: &HeadOperation) {
        let process = self.processes;
        let delay = self.random.within(50, 1_000);
        match operation {
            HeadOperation::Read(from) => {
                let head = self.store.lanes[lane].head;
                if *from < head {
                    let seen = format!("lane {lane} is read from {from} on, and begins at {head}");
                    self.judge.fail("restartable", seen);
                }
                let batches = self.store.lanes[lane].read(*from, &mut self.random);
                if batches.iter().any(|batch| batch.stamping.is_some()) {
                    self.met.insert("read stamped");
                }
                self.after(delay, Happening::Tell(process, lane, Input::Read { batches }));
            }
            HeadOperation::Stamps(write, _) => {
                let input = Input::StampsStored { write: *write };
                self.after(delay, Happening::Tell(process, lane, input));
            }
            HeadOperation::Remove(below) => {
                let input = Input::Removed { below: *below };
                self.after(delay, Happening::Tell(process, lane, input));
            }
            HeadOperation::Place => {
                for partition in 0..PARTITIONS {
                    let lane = &self.store.lanes[partition];
                    let (head, tail) = (lane.head, lane.tail());
                    let grown = Input::Grown { head, tail };
                    self.after(delay, Happening::Tell(process, partition, grown));
                }
                let below = self.store.lanes[UNPLACED].head;
                let input = unplaced::Input::Placed { below };
                self.after(delay, Happening::TellUnplaced(process, input));
            }
        }
    }

    /// The process dies: of what it had ordered some is still carried out, in order, and nothing later.
    pub(crate) fn lose_store_operations(&mut self) {
        for lane in 0..self.heads.len() {
            while let Some(operation) = self.heads[lane].pop_front() {
                if self.random.chance(50) {
                    self.execute(lane, &operation);
                } else {
                    self.heads[lane].clear();
                }
            }
        }
        for number in 0..self.appends.len() {
            if self.appends[number].is_over {
                continue;
            }
            self.appends[number].is_over = true;
            if self.random.chance(50) {
                let append = &self.appends[number];
                self.store
                    .append(append.lane, append.process, append.number, &append.batches);
            }
        }
    }
}
