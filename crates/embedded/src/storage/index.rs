//! A sparse index of one segment: from offset and from time to a position in its file.
//!
//! It is a cache: it can be made anew from the segment at any time.

use serde::{Deserialize, Serialize};

/// Bytes of log for one entry while a segment is written to, so that the end is found at once.
const FINE_BYTES: u32 = 4 * 1024;
/// Bytes of log for one entry once it is sealed.
const COARSE_BYTES: u32 = 64 * 1024;

/// One batch of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its base offset.
    pub(crate) offset: i64,
    /// Where it begins in the file.
    pub(crate) position: u32,
    /// The newest timestamp of everything before it, in milliseconds since 1970.
    pub(crate) newest_before_ms: i64,
}

/// Entries in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index(Vec<Entry>);

impl Index {
    /// Notes a batch, unless the last one noted is near.
    pub(crate) fn note(&mut self, entry: Entry) {
        let near = |last: &Entry| entry.position < last.position.saturating_add(FINE_BYTES);
        if !self.0.last().is_some_and(near) {
            self.0.push(entry);
        }
    }

    /// Where to begin looking for `offset`.
    pub(crate) fn position_of(&self, offset: i64) -> u32 {
        self.last_where(|entry| entry.offset <= offset)
    }

    /// Where to begin looking for the first record at or after `time_ms`.
    pub(crate) fn position_at(&self, time_ms: i64) -> u32 {
        self.last_where(|entry| entry.newest_before_ms < time_ms)
    }

    fn last_where(&self, holds: impl Fn(&Entry) -> bool) -> u32 {
        let count = self.0.partition_point(holds);
        count
            .checked_sub(1)
            .and_then(|last| self.0.get(last))
            .map_or(0, |entry| entry.position)
    }

    /// Keeps as many entries as a sealed segment needs.
    pub(crate) fn thin(&mut self) {
        let mut next = 0;
        self.0.retain(|entry| {
            let keep = entry.position >= next;
            if keep {
                next = entry.position.saturating_add(COARSE_BYTES);
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for batch in 0..100_u32 {
            let newest_before_ms = if batch == 0 { -1 } else { i64::from(batch) * 10 };
            index.note(Entry {
                offset: i64::from(batch) * 2,
                position: batch * 2048,
                newest_before_ms,
            });
        }
        index
    }

    #[test]
    fn lookups_begin_at_or_before_what_is_sought() {
        let index = index();
        assert_eq!(index.position_of(0), 0);
        assert_eq!(index.position_of(7), 2 * 2048);
        assert_eq!(index.position_of(8), 4 * 2048);
        assert_eq!(index.position_of(10_000), 98 * 2048);
        assert_eq!(index.position_at(0), 0);
        assert_eq!(index.position_at(41), 4 * 2048);
        assert_eq!(index.position_at(40), 2 * 2048);
    }

    #[test]
    fn a_thinned_index_still_begins_before() {
        let mut index = index();
        index.thin();
        assert_eq!(index.0.len(), 4);
        assert_eq!(index.position_of(70), 64 * 1024);
        assert_eq!(index.position_of(62), 0);
    }
}
