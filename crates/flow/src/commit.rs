//! Which offset of a partition may be committed (invariant **commit-last**).
//!
//! The rules it keeps:
//! - an offset is committed only when every record up to it is finished: handled, dead-lettered, or dropped as seen;
//! - records may finish in any order;
//! - once the partition is lost, nothing more is committed: another member owns it;
//! - no more records are delivered than may be unfinished at once (invariant **bounded**).

use std::collections::VecDeque;

/// The progress of one assigned partition.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Delivered records from the oldest unfinished one on; each with whether it is finished.
    delivered: VecDeque<(i64, bool)>,
    /// Offset after the last delivered record and whatever unreadable or control records follow it.
    position: i64,
    committed: Option<i64>,
    unfinished_max: usize,
    lost: bool,
}

impl Progress {
    /// A partition to be read from `position` on, with at most `unfinished_max` (at least 1) records under way.
    #[must_use]
    pub fn new(position: i64, unfinished_max: usize) -> Self {
        Self {
            delivered: VecDeque::new(),
            position,
            committed: None,
            unfinished_max: unfinished_max.max(1),
            lost: false,
        }
    }

    /// True while another record may be handed out.
    #[must_use]
    pub fn can_deliver(&self) -> bool {
        !self.lost && self.delivered.len() < self.unfinished_max
    }

    /// A record was handed out. Offsets only grow; one that was handed out before is ignored.
    pub fn delivered(&mut self, offset: i64) {
        if offset >= self.position {
            self.delivered.push_back((offset, false));
            self.position = offset + 1;
        }
    }

    /// Everything below `position` was read; what was not delivered there needs no handling (control records, gaps
    /// that compaction left).
    pub fn advanced(&mut self, position: i64) {
        self.position = self.position.max(position);
    }

    /// A delivered record is finished. Finishing twice is harmless.
    pub fn finished(&mut self, offset: i64) {
        let index = self
            .delivered
            .partition_point(|(delivered, _)| *delivered < offset);
        if let Some((_, finished)) = self
            .delivered
            .get_mut(index)
            .filter(|(delivered, _)| *delivered == offset)
        {
            *finished = true;
        }
        while self.delivered.front().is_some_and(|(_, finished)| *finished) {
            self.delivered.pop_front();
        }
    }

    /// The offset to commit, the next one to be read after a restart, when it is newer than what was committed.
    #[must_use]
    pub fn committable(&self) -> Option<i64> {
        let offset = self
            .delivered
            .front()
            .map_or(self.position, |(offset, _)| *offset);
        (!self.lost && self.committed.is_none_or(|committed| committed < offset)).then_some(offset)
    }

    /// A commit of `offset` was confirmed.
    pub fn committed(&mut self, offset: i64) {
        self.committed = self.committed.max(Some(offset));
    }

    /// The partition was lost: another member may own it already.
    pub fn lost(&mut self) {
        self.lost = true;
    }

    /// True when every delivered record is finished.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.delivered.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(offsets: &[i64]) -> Progress {
        let mut progress = Progress::new(offsets[0], 10);
        for offset in offsets {
            progress.delivered(*offset);
        }
        progress
    }

    #[test]
    fn an_offset_waits_for_every_earlier_one() {
        let mut progress = delivered(&[5, 6, 9]);
        progress.finished(6);
        progress.finished(9);
        assert_eq!(progress.committable(), Some(5));
        progress.finished(5);
        assert_eq!(progress.committable(), Some(10));
    }

    #[test]
    fn gaps_are_stepped_over_once_everything_before_them_is_finished() {
        let mut progress = delivered(&[5]);
        progress.advanced(20);
        assert_eq!(progress.committable(), Some(5));
        progress.finished(5);
        assert_eq!(progress.committable(), Some(20));
    }

    #[test]
    fn nothing_is_committed_twice_or_after_a_loss() {
        let mut progress = delivered(&[5, 6]);
        progress.finished(5);
        assert_eq!(progress.committable(), Some(6));
        progress.committed(6);
        assert_eq!(progress.committable(), None);
        progress.finished(6);
        progress.lost();
        assert_eq!(progress.committable(), None);
    }

    #[test]
    fn unfinished_records_are_bounded() {
        let mut progress = Progress::new(0, 2);
        progress.delivered(0);
        progress.delivered(1);
        assert!(!progress.can_deliver());
        progress.finished(0);
        assert!(progress.can_deliver());
    }

    #[test]
    fn a_record_that_is_delivered_again_does_not_hold_up_the_commit() {
        let mut progress = delivered(&[5, 6]);
        progress.finished(5);
        progress.delivered(5);
        progress.finished(6);
        assert_eq!(progress.committable(), Some(7));
    }
}
