//! What a partition remembers of each producer, and the decision on a batch that carries a sequence.
//!
//! The rules are Kafka's (KIP-98, `ProducerAppendInfo` of Apache Kafka 4): the last five batches of a producer are
//! remembered and answered as the first time; a batch out of turn is refused, also under a new epoch that does not
//! begin at 0; an older epoch is refused; a producer that is not known may begin at any sequence.

use std::collections::{HashMap, VecDeque};

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use super::batch::{Header, Refusal, add_sequence};

/// Batches remembered of each producer.
const REMEMBERED: usize = 5;

/// All producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    known: HashMap<i64, Producer>,
    /// What to put back when the round fails, oldest first.
    undo: Vec<(i64, Option<Producer>)>,
}

/// One producer as the partition knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    /// Newest timestamp of its last batch, in milliseconds since 1970.
    pub(crate) last_timestamp: i64,
    /// Oldest first.
    pub(crate) batches: VecDeque<Remembered>,
}

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: i64,
}

/// What to do with a batch.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Append,
    /// It is in the log already, from this offset on.
    Duplicate(i64),
    Refuse(Refusal),
}

impl Producers {
    /// Decides on a batch without changing anything.
    pub(crate) fn judge(&self, header: &Header) -> Verdict {
        if !header.is_idempotent() {
            return Verdict::Append;
        }
        match self.known.get(&header.producer_id) {
            None => Verdict::Append,
            Some(producer) => producer.judge(header),
        }
    }

    /// Remembers a batch that was written at `base_offset`. [`Producers::undo`] takes it back.
    pub(crate) fn remember(&mut self, header: &Header, base_offset: i64) {
        if !header.is_idempotent() {
            return;
        }
        let before = self.known.get(&header.producer_id).cloned();
        self.undo.push((header.producer_id, before));
        self.known
            .entry(header.producer_id)
            .or_insert_with(|| Producer {
                epoch: header.producer_epoch,
                last_timestamp: 0,
                batches: VecDeque::new(),
            })
            .remember(header, base_offset);
    }

    /// Everything remembered so far stands.
    pub(crate) fn settle(&mut self) {
        self.undo.clear();
    }

    /// Takes back what was remembered since the last [`Producers::settle`].
    pub(crate) fn undo(&mut self) {
        while let Some((id, before)) = self.undo.pop() {
            match before {
                Some(producer) => self.known.insert(id, producer),
                None => self.known.remove(&id),
            };
        }
    }

    /// Forgets whoever's newest timestamp is `expiration_ms` old or older, as Kafka counts it.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.known
            .retain(|_, producer| now_ms.saturating_sub(producer.last_timestamp) < expiration_ms);
    }

    pub(crate) fn to_saved(&self) -> Vec<(i64, Producer)> {
        self.known
            .iter()
            .map(|(id, producer)| (*id, producer.clone()))
            .collect()
    }

    pub(crate) fn from_saved(saved: Vec<(i64, Producer)>) -> Self {
        Self {
            known: saved.into_iter().collect(),
            undo: Vec::new(),
        }
    }
}

impl Producer {
    fn judge(&self, header: &Header) -> Verdict {
        if header.producer_epoch < self.epoch {
            let reason = format!(
                "producer {} is at epoch {}, the batch has {}",
                header.producer_id, self.epoch, header.producer_epoch
            );
            return Verdict::Refuse(Refusal::new(ResponseError::InvalidProducerEpoch, reason));
        }
        if header.producer_epoch > self.epoch {
            return if header.base_sequence == 0 {
                Verdict::Append
            } else {
                self.out_of_turn(header, 0)
            };
        }
        let same = |batch: &&Remembered| {
            batch.first_sequence == header.base_sequence && batch.last_sequence == header.last_sequence()
        };
        if let Some(batch) = self.batches.iter().find(same) {
            return Verdict::Duplicate(batch.base_offset);
        }
        match self.batches.back() {
            None => Verdict::Append,
            Some(last) => {
                let expected = add_sequence(last.last_sequence, 1);
                if header.base_sequence == expected {
                    Verdict::Append
                } else {
                    self.out_of_turn(header, expected)
                }
            }
        }
    }

    fn out_of_turn(&self, header: &Header, expected: i32) -> Verdict {
        let reason = format!(
            "producer {} at epoch {} (known: {}) sent sequence {}, expected {expected}",
            header.producer_id, header.producer_epoch, self.epoch, header.base_sequence
        );
        Verdict::Refuse(Refusal::new(ResponseError::OutOfOrderSequenceNumber, reason))
    }

    fn remember(&mut self, header: &Header, base_offset: i64) {
        if header.producer_epoch != self.epoch {
            self.epoch = header.producer_epoch;
            self.batches.clear();
        }
        if self.batches.len() == REMEMBERED {
            self.batches.pop_front();
        }
        self.last_timestamp = header.max_timestamp;
        self.batches.push_back(Remembered {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, sequence: i32, records: i32) -> Header {
        Header {
            base_offset: 0,
            batch_length: 100,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: records - 1,
            base_timestamp: 1_000,
            max_timestamp: 1_000,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence: sequence,
            records,
        }
    }

    /// Plays batches as (epoch, sequence, records) and returns each answer: its offset, or its error code negated.
    fn play(batches: &[(i16, i32, i32)]) -> Vec<i64> {
        let mut producers = Producers::default();
        let mut next = 0;
        batches
            .iter()
            .map(|&(epoch, sequence, records)| {
                let header = batch(epoch, sequence, records);
                match producers.judge(&header) {
                    Verdict::Append => {
                        let offset = next;
                        producers.remember(&header, offset);
                        next += i64::from(records);
                        offset
                    }
                    Verdict::Duplicate(offset) => offset,
                    Verdict::Refuse(refusal) => -i64::from(refusal.error.code()),
                }
            })
            .collect()
    }

    #[test]
    fn the_last_five_are_answered_as_the_first_time_and_the_sixth_is_refused() {
        let mut batches: Vec<_> = (0..6).map(|n| (0, n * 2, 2)).collect();
        batches.extend((1..6).map(|n| (0, n * 2, 2)));
        batches.push((0, 0, 2));
        assert_eq!(play(&batches), [0, 2, 4, 6, 8, 10, 2, 4, 6, 8, 10, -45]);
    }

    #[test]
    fn out_of_turn_is_refused_and_changes_nothing() {
        assert_eq!(
            play(&[(0, 0, 3), (0, 4, 1), (0, 3, 1), (0, 2, 1)]),
            [0, -45, 3, -45]
        );
    }

    #[test]
    fn a_range_that_only_overlaps_a_remembered_one_is_no_duplicate() {
        assert_eq!(play(&[(0, 0, 3), (0, 0, 2), (0, 0, 4)]), [0, -45, -45]);
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_older() {
        assert_eq!(
            play(&[(0, 0, 1), (1, 1, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)]),
            [0, -45, 1, -47, 2]
        );
    }

    #[test]
    fn an_unknown_producer_begins_where_it_likes() {
        assert_eq!(play(&[(3, 41, 2), (3, 43, 1), (3, 41, 2)]), [0, 2, 0]);
    }

    #[test]
    fn zero_follows_the_largest_sequence() {
        assert_eq!(
            play(&[(0, i32::MAX - 1, 4), (0, 2, 1), (0, i32::MAX - 1, 4)]),
            [0, 4, 0]
        );
        assert_eq!(play(&[(0, i32::MAX, 1), (0, 0, 1)]), [0, 1]);
    }

    #[test]
    fn what_is_undone_was_never_there() {
        let mut producers = Producers::default();
        producers.remember(&batch(0, 0, 1), 0);
        producers.settle();
        producers.remember(&batch(0, 1, 1), 1);
        producers.remember(&batch(1, 0, 1), 2);
        producers.undo();
        assert_eq!(producers.judge(&batch(0, 1, 1)), Verdict::Append);
        assert_eq!(producers.judge(&batch(0, 0, 1)), Verdict::Duplicate(0));
    }

    #[test]
    fn expiry_counts_from_the_batches_timestamps() {
        let mut producers = Producers::default();
        producers.remember(&batch(0, 0, 1), 0);
        producers.settle();
        producers.expire(1_999, 1_000);
        assert_eq!(producers.judge(&batch(0, 0, 1)), Verdict::Duplicate(0));
        producers.expire(2_000, 1_000);
        assert_eq!(producers.judge(&batch(0, 0, 1)), Verdict::Append);
    }
}
