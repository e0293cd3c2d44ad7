//! What of a partition's batches a reader of committed data sees.

use std::collections::BTreeSet;

use super::Batch;

/// Follows the aborted transactions of one fetch (`read_committed`, KIP-98).
#[derive(Debug, Clone, Default)]
pub struct Transactions {
    /// (first offset, producer id) of transactions that were aborted and not met yet, by offset, last first.
    ahead: Vec<(i64, i64)>,
    /// Producers whose transaction is being skipped.
    skipped: BTreeSet<i64>,
}

impl Transactions {
    /// Begins with what a fetch told: (producer id, first offset) of each aborted transaction.
    #[must_use]
    pub fn new(aborted: &[(i64, i64)]) -> Self {
        let mut ahead: Vec<(i64, i64)> = aborted
            .iter()
            .map(|(producer, offset)| (*offset, *producer))
            .collect();
        ahead.sort_unstable_by(|left, right| right.cmp(left));
        Self {
            ahead,
            skipped: BTreeSet::new(),
        }
    }

    /// True when the batch holds records for the reader: it is no marker and no part of an aborted transaction.
    /// Must be asked for every batch of the fetch, in order.
    pub fn is_visible(&mut self, batch: &Batch) -> bool {
        while let Some((_, producer)) = self.ahead.pop_if(|(first, _)| *first <= batch.last_offset) {
            self.skipped.insert(producer);
        }
        if batch.is_control() {
            if batch.is_abort_marker() {
                self.skipped.remove(&batch.producer_id);
            }
            return false;
        }
        !(batch.is_transactional() && self.skipped.contains(&batch.producer_id))
    }
}
