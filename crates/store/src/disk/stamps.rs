//! The stamps stored over a place's positions.

use std::collections::BTreeMap;

use evenkeel_flow::Stamping;
use evenkeel_flow::session::StampedRange;

use crate::Span;

/// Ranges that do not overlap. Where a stamp was replaced by one that covers less, the rest is void: no stamp that came
/// with a row counts there again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stamps {
    ranges: BTreeMap<u64, (u64, Option<Stamping>)>,
}

/// The positions that a stamp covers.
pub(crate) fn span_of(range: &StampedRange) -> Span {
    let count = u64::try_from(range.stamping.stamp.count).unwrap_or(0);
    Span {
        head: range.position,
        tail: range.position.saturating_add(count),
    }
}

impl Stamps {
    pub(crate) fn insert(&mut self, range: StampedRange) {
        self.put(span_of(&range), Some(range.stamping));
    }

    pub(crate) fn void(&mut self, span: Span) {
        self.put(span, None);
    }

    fn put(&mut self, span: Span, stamping: Option<Stamping>) {
        for (other, _) in self.overlapping(span) {
            self.ranges.remove(&other.head);
            if other.head < span.head {
                self.ranges.insert(other.head, (span.head, None));
            }
            if other.tail > span.tail {
                self.ranges.insert(span.tail, (other.tail, None));
            }
        }
        self.ranges.insert(span.head, (span.tail, stamping));
    }

    /// Ranges that are kept, void ones included.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Forgets what lies wholly below `head`.
    pub(crate) fn remove(&mut self, head: u64) {
        self.ranges.retain(|_, (end, _)| *end > head);
    }

    /// What overlaps `span`, in order.
    pub(crate) fn overlapping(&self, span: Span) -> Vec<(Span, Option<Stamping>)> {
        let before = self
            .ranges
            .range(..span.head)
            .next_back()
            .filter(|(_, (end, _))| *end > span.head);
        let within = self.ranges.range(span.head..span.tail.max(span.head));
        before
            .into_iter()
            .chain(within)
            .map(|(head, (tail, stamping))| {
                let (head, tail) = (*head, *tail);
                (Span { head, tail }, *stamping)
            })
            .collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (Span, Option<Stamping>)> {
        self.ranges.iter().map(|(head, (tail, stamping))| {
            let (head, tail) = (*head, *tail);
            (Span { head, tail }, *stamping)
        })
    }
}
