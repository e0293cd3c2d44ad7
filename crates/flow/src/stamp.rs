//! The stamp that Kafka's idempotence puts on a batch (KIP-98).

use evenkeel_event::TopicId;
use evenkeel_event::clock::Timestamp;

/// Identity of a batch for one partition: sent any number of times with the same stamp, it lands once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Given by the cluster through InitProducerId.
    pub producer_id: i64,
    /// From 0; raised to fence late writes of the older epoch.
    pub epoch: i16,
    /// Sequence of the batch's first record, 0 to 2^31-1, per partition and epoch.
    pub base_sequence: i32,
    /// Records in the batch, at least 1.
    pub count: i32,
}

impl Stamp {
    /// The sequence after this batch's last record. After 2^31-1 comes 0, as in `DefaultRecordBatch.incrementSequence`.
    #[must_use]
    pub const fn next_sequence(&self) -> i32 {
        advance(self.base_sequence, self.count)
    }

    /// The sequence of the batch's last record, for the wire and for Kafka's duplicate check.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        advance(self.base_sequence, self.count - 1)
    }
}

/// A stamp with what must be kept beside it to decide later whether its batch landed. Stored with the batch's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamping {
    /// The stamp.
    pub stamp: Stamp,
    /// When it was stamped. It is the Kafka timestamp of every record in the batch, because the broker counts a
    /// producer's expiry from these.
    pub at: Timestamp,
    /// The topic for which it was stamped; [`TopicId::UNKNOWN`] where the broker told none.
    pub topic_id: TopicId,
    /// The batch cannot lie below this offset: the log's end as known before it was first sent.
    pub search_from: Option<i64>,
    /// True when an earlier stamp could not decide: each record then carries `evenkeel-possible-double: 1`.
    pub possible_double: bool,
}

/// The sequence `count` records after `sequence`.
#[must_use]
pub const fn advance(sequence: i32, count: i32) -> i32 {
    sequence.wrapping_add(count) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        let stamp = Stamp {
            producer_id: 1,
            epoch: 0,
            base_sequence: i32::MAX - 1,
            count: 3,
        };
        assert_eq!(stamp.last_sequence(), 0);
        assert_eq!(stamp.next_sequence(), 1);
        assert_eq!(advance(i32::MAX, 1), 0);
    }
}
