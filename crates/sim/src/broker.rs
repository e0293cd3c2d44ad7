//! The simulated broker: one log per partition with Kafka's idempotence.
//!
//! Source: Apache Kafka 4.3, `ProducerStateManager`, `ProducerAppendInfo`, `LogValidator`.

use std::collections::{HashMap, VecDeque};

use evenkeel_flow::{Answer, Stamping};

use crate::records::{Event, PARTITIONS};

/// How long a producer is remembered after its newest batch's timestamp, microseconds.
pub const EXPIRY_US: u64 = 120_000_000;

/// A record on a log.
#[derive(Debug, Clone, Copy)]
pub struct Logged {
    /// The event.
    pub event: Event,
    /// It is marked as a possible double.
    pub marked: bool,
}

/// One partition.
#[derive(Debug, Default)]
pub struct Log {
    /// The records, by offset.
    pub records: Vec<Logged>,
    producers: HashMap<i64, Producer>,
    /// No leader.
    pub leaderless: bool,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// First and last sequence and base offset of the newest batches, at most five.
    batches: VecDeque<(i32, i32, i64)>,
    newest_at_us: u64,
}

/// The cluster.
#[derive(Debug)]
pub struct Broker {
    /// The partitions.
    pub logs: [Log; PARTITIONS],
    /// The topic's incarnation, from 1.
    pub topic: u8,
    /// Nothing answers, connections are refused.
    pub down: bool,
    /// Requests are taken and wait.
    pub frozen: bool,
    /// An error code that is answered before anything is looked at.
    pub refuses_with: Option<i16>,
    /// Appends, and then answers that too few replicas have it (20).
    pub too_few_replicas_after: bool,
    /// The largest batch, bytes.
    pub batch_bytes_max: usize,
    /// Searching is not permitted.
    pub unsearchable: bool,
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            logs: <[Log; PARTITIONS]>::default(),
            topic: 1,
            down: false,
            frozen: false,
            refuses_with: None,
            too_few_replicas_after: false,
            batch_bytes_max: BATCH_BYTES_MAX,
            unsearchable: false,
        }
    }
}

/// The largest batch while nothing lowers it, bytes.
pub const BATCH_BYTES_MAX: usize = 1_000;

/// What the broker did.
#[derive(Debug)]
pub struct Done {
    /// Its answer's error code and base offset.
    pub answer: Answer,
    /// Offset from which it appended.
    pub appended_from: Option<usize>,
}

impl Broker {
    /// Handles a produce request in the order of Kafka's checks.
    pub fn produce(&mut self, now_us: u64, partition: usize, stamping: &Stamping, events: &[Event]) -> Done {
        let refused = |code| Done {
            answer: Answer::from_code(code, -1),
            appended_from: None,
        };
        if let Some(code) = self.refuses_with {
            return refused(code);
        }
        let log = &mut self.logs[partition];
        if log.leaderless {
            return refused(6);
        }
        if events.iter().map(|event| event.bytes as usize).sum::<usize>() > self.batch_bytes_max {
            return refused(10);
        }
        log.expire(now_us);
        let offset = match log.check(stamping) {
            Check::Refused(code) => return refused(code),
            Check::Twice(offset) => {
                return Done {
                    answer: Answer::from_code(0, offset),
                    appended_from: None,
                };
            }
            Check::New => log.append(stamping, events),
        };
        let code = if self.too_few_replicas_after { 20 } else { 0 };
        Done {
            answer: Answer::from_code(code, offset),
            appended_from: Some(offset as usize),
        }
    }

    /// Deletes the topic and creates it again.
    pub fn recreate(&mut self) {
        self.topic += 1;
        for log in &mut self.logs {
            log.records.clear();
            log.producers.clear();
        }
    }
}

enum Check {
    Refused(i16),
    Twice(i64),
    New,
}

impl Log {
    fn expire(&mut self, now_us: u64) {
        self.producers
            .retain(|_, producer| now_us < producer.newest_at_us + EXPIRY_US);
    }

    fn check(&self, stamping: &Stamping) -> Check {
        let stamp = stamping.stamp;
        let Some(producer) = self.producers.get(&stamp.producer_id) else {
            return Check::New;
        };
        if stamp.epoch < producer.epoch {
            return Check::Refused(47);
        }
        if stamp.epoch > producer.epoch {
            return if stamp.base_sequence == 0 {
                Check::New
            } else {
                Check::Refused(45)
            };
        }
        let twice = producer
            .batches
            .iter()
            .find(|(first, last, _)| (*first, *last) == (stamp.base_sequence, stamp.last_sequence()));
        if let Some((_, _, offset)) = twice {
            return Check::Twice(*offset);
        }
        let expected = producer
            .batches
            .back()
            .map(|(_, last, _)| evenkeel_flow::stamp::advance(*last, 1));
        if expected == Some(stamp.base_sequence) {
            Check::New
        } else {
            Check::Refused(45)
        }
    }

    fn append(&mut self, stamping: &Stamping, events: &[Event]) -> i64 {
        let stamp = stamping.stamp;
        let offset = self.records.len() as i64;
        self.records.extend(events.iter().map(|event| Logged {
            event: *event,
            marked: stamping.possible_double,
        }));
        let producer = self
            .producers
            .entry(stamp.producer_id)
            .or_insert_with(|| Producer {
                epoch: stamp.epoch,
                batches: VecDeque::new(),
                newest_at_us: 0,
            });
        if producer.epoch != stamp.epoch {
            producer.epoch = stamp.epoch;
            producer.batches.clear();
        }
        producer
            .batches
            .push_back((stamp.base_sequence, stamp.last_sequence(), offset));
        if producer.batches.len() > 5 {
            producer.batches.pop_front();
        }
        let at_us = u64::try_from(stamping.at.millis()).unwrap_or(0) * 1_000;
        producer.newest_at_us = producer.newest_at_us.max(at_us);
        offset
    }
}
