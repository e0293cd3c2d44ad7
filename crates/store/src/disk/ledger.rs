//! What the store holds, in memory that is bounded by places and segments, not by rows.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::codec::Totals;
use super::frame::{Block, Draft, Step};
use crate::{AppendId, Damage, Parked, Place, Row, StoredStamp};

/// Appends that are remembered, so that a retried one is one.
const APPENDS_REMEMBERED: usize = 1_024;
/// Damages that are reported; further ones are only logged.
const DAMAGES_MAX: usize = 1_000;

/// Everything known about the store but the rows themselves.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) next_number: u64,
    pub(super) next_place: u32,
    pub(super) by_name: HashMap<Place, u32>,
    pub(super) places: BTreeMap<u32, Holding>,
    pub(super) appends: VecDeque<AppendId>,
    pub(super) parked: HashMap<AppendId, Parked>,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// The segment that is written.
    pub(super) active: u64,
    /// Where rows lie in the active segment, by place.
    pub(super) active_blocks: HashMap<u32, Vec<Block>>,
    pub(super) damages: Vec<Damage>,
}

/// What one place holds.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) name: Place,
    pub(super) removed_up_to: u64,
    pub(super) last: u64,
    /// All that was ever appended while the place was known.
    pub(super) totals: Totals,
    /// Which segments hold its rows, oldest first.
    pub(super) extents: VecDeque<Extent>,
    pub(super) stamps: BTreeMap<u64, StampedRows>,
    pub(super) replaced: BTreeMap<u64, Replacement>,
}

/// Rows of one place in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) segment: u64,
    pub(super) last: u64,
}

/// Rows that were stamped together.
#[derive(Debug, Clone, Copy)]
pub(super) struct StampedRows {
    pub(super) last: u64,
    pub(super) stamp: StoredStamp,
    pub(super) possible_double: bool,
}

/// A row that stands for others.
#[derive(Debug, Clone)]
pub(super) struct Replacement {
    pub(super) last: u64,
    pub(super) row: Arc<Row>,
}

/// A file of the log.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Segment {
    pub(super) bytes: u64,
    /// Places that have rows in it which were not removed.
    pub(super) users: u32,
}

impl Holding {
    fn new(name: Place) -> Self {
        Self {
            name,
            removed_up_to: 0,
            last: 0,
            totals: Totals::default(),
            extents: VecDeque::new(),
            stamps: BTreeMap::new(),
            replaced: BTreeMap::new(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.last <= self.removed_up_to
    }

    /// True when the range reaches rows that are there.
    pub(super) const fn reaches(&self, rows: Parked) -> bool {
        rows.first <= rows.last && rows.last <= self.last && rows.last > self.removed_up_to
    }

    /// The stamp stored for `number` after it was appended.
    pub(super) fn stamp_of(&self, number: u64) -> Option<StampedRows> {
        let (_, rows) = self.stamps.range(..=number).next_back()?;
        (rows.last >= number).then_some(*rows)
    }

    fn stamp(&mut self, rows: Parked, stamped: StampedRows) {
        self.stamps
            .retain(|first, other| other.last < rows.first || *first > rows.last);
        self.stamps.insert(rows.first, stamped);
    }

    fn replace(&mut self, rows: Parked, row: Row) {
        self.stamps
            .retain(|first, other| other.last < rows.first || *first > rows.last);
        self.replaced
            .retain(|first, other| other.last < rows.first || *first > rows.last);
        let row = Arc::new(row);
        let replacement = Replacement { last: rows.last, row };
        self.replaced.insert(rows.first, replacement);
    }

    fn remove(&mut self, up_to: u64) {
        self.removed_up_to = self.removed_up_to.max(up_to.min(self.last));
        let removed = self.removed_up_to;
        self.stamps.retain(|_, rows| rows.last > removed);
        self.replaced.retain(|_, replacement| replacement.last > removed);
    }
}

impl Ledger {
    pub(super) fn place(&self, name: &Place) -> Option<(u32, &Holding)> {
        let id = *self.by_name.get(name)?;
        Some((id, self.places.get(&id)?))
    }

    pub(super) fn remembered(&self, id: AppendId) -> Option<Parked> {
        self.parked.get(&id).copied()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    pub(super) fn active_bytes(&self) -> u64 {
        self.segments.get(&self.active).map_or(0, |segment| segment.bytes)
    }

    /// Makes one step. Blocks of rows are where they lie in `segment`'s file.
    pub(super) fn apply(&mut self, step: Step, segment: u64) {
        match step {
            Step::Snapshot {
                next_number,
                next_place,
            } => self.start_over(next_number, next_place),
            Step::Define { place, name } => {
                self.next_place = self.next_place.max(place + 1);
                self.by_name.insert(name.clone(), place);
                self.places.insert(place, Holding::new(name));
            }
            Step::Remember { id, parked } => self.remember(id, parked),
            Step::Rows {
                place,
                id,
                block,
                totals,
            } => self.add_rows(segment, place, id, block, totals),
            Step::Restore { place, .. }
            | Step::Stamp { place, .. }
            | Step::Remove { place, .. }
            | Step::Replace { place, .. } => {
                if let Some(holding) = self.places.get_mut(&place) {
                    holding.apply(step);
                }
            }
        }
    }

    fn start_over(&mut self, next_number: u64, next_place: u32) {
        self.next_number = next_number;
        self.next_place = next_place;
        self.by_name.clear();
        self.places.clear();
        self.appends.clear();
        self.parked.clear();
    }

    fn remember(&mut self, id: AppendId, parked: Parked) {
        if self.parked.insert(id, parked).is_none() {
            self.appends.push_back(id);
        }
        if self.appends.len() > APPENDS_REMEMBERED
            && let Some(oldest) = self.appends.pop_front()
        {
            self.parked.remove(&oldest);
        }
    }

    fn add_rows(&mut self, segment: u64, place: u32, id: Option<AppendId>, block: Block, totals: Totals) {
        let last = block.last();
        self.next_number = self.next_number.max(last + 1);
        if let Some(id) = id {
            let first = block.first;
            self.remember(id, Parked { first, last });
        }
        let Some(holding) = self.places.get_mut(&place) else {
            return;
        };
        holding.totals = holding.totals.add(totals);
        holding.last = holding.last.max(last);
        self.active_blocks.entry(place).or_default().push(block);
        self.extend(place, segment, last);
    }

    /// Notes that `segment` holds rows of `place` up to `last`. Segments come in order.
    pub(super) fn extend(&mut self, place: u32, segment: u64, last: u64) {
        let Some(holding) = self.places.get_mut(&place) else {
            return;
        };
        match holding.extents.back_mut() {
            Some(extent) if extent.segment == segment => extent.last = extent.last.max(last),
            _ => {
                holding.extents.push_back(Extent { segment, last });
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment.users += 1;
                }
            }
        }
    }

    /// Forgets removed rows and places without rows, after all steps of a frame.
    pub(super) fn sweep(&mut self) {
        for holding in self.places.values_mut() {
            while holding
                .extents
                .front()
                .is_some_and(|extent| extent.last <= holding.removed_up_to)
            {
                if let Some(extent) = holding.extents.pop_front()
                    && let Some(segment) = self.segments.get_mut(&extent.segment)
                {
                    segment.users = segment.users.saturating_sub(1);
                }
            }
        }
        let (places, by_name, blocks) = (&mut self.places, &mut self.by_name, &mut self.active_blocks);
        places.retain(|id, holding| {
            if holding.is_empty() {
                by_name.remove(&holding.name);
                blocks.remove(id);
            }
            !holding.is_empty()
        });
    }

    /// Segments whose rows are all removed.
    pub(super) fn unused(&self) -> Vec<u64> {
        let unused =
            |(id, segment): (&u64, &Segment)| (segment.users == 0 && *id < self.active).then_some(*id);
        self.segments.iter().filter_map(unused).collect()
    }

    /// Everything but the rows, as the steps that bring it back.
    pub(super) fn snapshot(&self) -> Draft {
        let mut draft = Draft::new(Vec::new());
        draft.put(&Step::Snapshot {
            next_number: self.next_number,
            next_place: self.next_place,
        });
        for (place, holding) in &self.places {
            holding.snapshot(*place, &mut draft);
        }
        for id in &self.appends {
            if let Some(parked) = self.remembered(*id) {
                draft.put(&Step::Remember { id: *id, parked });
            }
        }
        draft
    }

    pub(super) fn report(&mut self, damage: Damage) {
        let known = self
            .damages
            .iter()
            .any(|other| other.file == damage.file && other.offset == damage.offset);
        if known {
            return;
        }
        tracing::error!(
            file = %damage.file.display(),
            offset = damage.offset,
            place = ?damage.place,
            rows = ?damage.rows,
            kept_at = %damage.kept_at.display(),
            "the standby store has bytes that cannot be read back; they are kept aside"
        );
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        }
    }
}

impl Holding {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Restore {
                removed_up_to,
                last,
                totals,
                ..
            } => {
                self.removed_up_to = removed_up_to;
                self.last = last;
                self.totals = totals;
            }
            Step::Stamp {
                rows,
                stamp,
                possible_double,
                ..
            } => {
                let last = rows.last;
                self.stamp(
                    rows,
                    StampedRows {
                        last,
                        stamp,
                        possible_double,
                    },
                );
            }
            Step::Remove { up_to, .. } => self.remove(up_to),
            Step::Replace { rows, row, .. } => self.replace(rows, row),
            Step::Snapshot { .. } | Step::Define { .. } | Step::Remember { .. } | Step::Rows { .. } => {}
        }
    }

    fn snapshot(&self, place: u32, draft: &mut Draft) {
        let name = self.name.clone();
        draft.put(&Step::Define { place, name });
        draft.put(&Step::Restore {
            place,
            removed_up_to: self.removed_up_to,
            last: self.last,
            totals: self.totals,
        });
        for (first, rows) in &self.stamps {
            let (first, last) = (*first, rows.last);
            draft.put(&Step::Stamp {
                place,
                rows: Parked { first, last },
                stamp: rows.stamp,
                possible_double: rows.possible_double,
            });
        }
        for (first, replacement) in &self.replaced {
            let (first, last) = (*first, replacement.last);
            let row = Row::clone(&replacement.row);
            draft.put(&Step::Replace {
                place,
                rows: Parked { first, last },
                row,
            });
        }
    }
}
