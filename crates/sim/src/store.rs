//! The simulated standby store: lanes of records with positions and stamps. What is in it survives a crash.

use std::collections::HashMap;

use evenkeel_flow::Stamping;
use evenkeel_flow::session::{ProducerEpoch, StampedRange, StoreResult, Stored};

use crate::random::Random;
use crate::records::{Event, PARTITIONS, Records};

/// The lane of the topic's unplaced events.
pub const UNPLACED: usize = PARTITIONS;

/// The lanes: one per partition, then that of the topic.
pub const LANES: usize = PARTITIONS + 1;

/// One lane.
#[derive(Debug, Default)]
pub struct Lane {
    /// Position of the oldest record.
    pub head: u64,
    /// The records.
    pub records: Vec<Event>,
    stamps: Vec<StampedRange>,
    /// The highest epoch of each producer id that was ever stored.
    epochs: HashMap<i64, i16>,
    /// The newest append of each process and its position.
    appends: HashMap<u32, (u64, u64)>,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    /// The lanes.
    pub lanes: [Lane; LANES],
    /// The most records that it takes.
    pub records_max: usize,
    /// It does not say whether it did what it was asked to.
    pub broken: bool,
    /// It takes long.
    pub slow: bool,
}

/// The most records while nothing lowers it.
pub const RECORDS_MAX: usize = 10_000;

impl Default for Store {
    fn default() -> Self {
        Self {
            lanes: <[Lane; LANES]>::default(),
            records_max: RECORDS_MAX,
            broken: false,
            slow: false,
        }
    }
}

impl Store {
    /// Appends all or none; the same append again is one.
    pub fn append(
        &mut self,
        lane: usize,
        process: u32,
        number: u64,
        batches: &[(Option<Stamping>, Records)],
    ) -> StoreResult {
        if let Some((newest, position)) = self.lanes[lane].appends.get(&process)
            && *newest == number
        {
            return StoreResult::Durable { position: *position };
        }
        let held: usize = self.lanes.iter().map(|lane| lane.records.len()).sum();
        let more: usize = batches.iter().map(|(_, records)| records.events().len()).sum();
        if held + more > self.records_max {
            return StoreResult::Refused;
        }
        let lane = &mut self.lanes[lane];
        let position = lane.tail();
        for (stamping, records) in batches {
            if let Some(stamping) = stamping {
                lane.note_epoch(stamping);
                let position = lane.tail();
                lane.stamps.push(StampedRange {
                    position,
                    stamping: *stamping,
                });
            }
            lane.records.extend_from_slice(records.events());
        }
        lane.appends.insert(process, (number, position));
        StoreResult::Durable { position }
    }

    /// Moves up to `count` of the oldest unplaced records to their partitions.
    pub fn place(&mut self, count: usize) {
        let [lanes @ .., unplaced] = &mut self.lanes;
        let count = count.min(unplaced.records.len());
        for event in unplaced.records.drain(..count) {
            lanes[event.partition()].records.push(event);
        }
        unplaced.head += count as u64;
    }

    /// True when it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.records.is_empty())
    }
}

impl Lane {
    /// Position after the newest record.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.head + self.records.len() as u64
    }

    /// Stores stamps, each instead of those that it overlaps.
    pub fn store_stamps(&mut self, stamps: &[StampedRange]) {
        for new in stamps {
            let (from, to) = bounds(new);
            self.stamps.retain(|old| {
                let (old_from, old_to) = bounds(old);
                old_to <= from || old_from >= to
            });
            self.note_epoch(&new.stamping);
            if from >= self.head {
                self.stamps.push(*new);
            }
        }
    }

    fn note_epoch(&mut self, stamping: &Stamping) {
        let stamp = stamping.stamp;
        let highest = self.epochs.entry(stamp.producer_id).or_insert(stamp.epoch);
        *highest = stamp.epoch.max(*highest);
    }

    /// The highest epoch of each producer id that was ever stored, in the order of the ids.
    #[must_use]
    pub fn epochs(&self) -> Vec<ProducerEpoch> {
        let used = |(producer_id, epoch): (&i64, &i16)| ProducerEpoch {
            producer_id: *producer_id,
            epoch: *epoch,
        };
        let mut epochs: Vec<ProducerEpoch> = self.epochs.iter().map(used).collect();
        epochs.sort_by_key(|used| used.producer_id);
        epochs
    }

    /// Removes and returns the records below.
    pub fn remove(&mut self, below: u64) -> Vec<Event> {
        let count = (below.saturating_sub(self.head) as usize).min(self.records.len());
        self.head += count as u64;
        self.stamps.retain(|stamp| stamp.position >= below);
        self.records.drain(..count).collect()
    }

    /// Reads a few batches from a position on.
    pub fn read(&self, from: u64, random: &mut Random) -> Vec<Stored<Records>> {
        let mut batches = Vec::new();
        let mut position = from.max(self.head);
        while position < self.tail() && batches.len() < 3 {
            let stamp = self.stamps.iter().find(|stamp| stamp.position == position);
            let next_stamp = self
                .stamps
                .iter()
                .map(|stamp| stamp.position)
                .filter(|at| *at > position)
                .min();
            let longest = next_stamp.unwrap_or(u64::MAX).min(self.tail()) - position;
            let count = match stamp {
                Some(stamp) => stamp.stamping.stamp.count as u64,
                None => random.within(1, 4).min(longest),
            };
            let at = (position - self.head) as usize;
            batches.push(Stored {
                position,
                payload: Records::new(self.records[at..at + count as usize].to_vec()),
                stamping: stamp.map(|stamp| stamp.stamping),
            });
            position += count;
        }
        batches
    }
}

fn bounds(range: &StampedRange) -> (u64, u64) {
    (range.position, range.position + range.stamping.stamp.count as u64)
}
