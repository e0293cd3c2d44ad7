//! What the store holds, in memory that is bounded by places and segments, not by rows.

use std::collections::{BTreeMap, HashMap, VecDeque};

use evenkeel_flow::session::{ProducerEpoch, StampedRange};

use super::codec::Totals;
use super::frame::{Block, Draft, Step};
use super::open::Access;
use super::stamps::Stamps;
use crate::{AppendId, Damage, Place, Span};

/// Appends that are remembered, so that a retried one is one.
const APPENDS_REMEMBERED: usize = 1_024;
/// Damages that are reported; further ones are only logged.
const DAMAGES_MAX: usize = 1_000;
/// Places without records whose next position is remembered.
const EMPTY_PLACES_MAX: usize = 4_096;

/// Everything known about the store but the rows themselves.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) next_place: u32,
    pub(super) by_name: HashMap<Place, u32>,
    pub(super) places: BTreeMap<u32, Holding>,
    appends: VecDeque<AppendId>,
    positions: HashMap<AppendId, u64>,
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
    pub(super) span: Span,
    /// All that was ever appended while the place was known.
    pub(super) totals: Totals,
    /// Which segments hold its rows, oldest first.
    pub(super) extents: VecDeque<Extent>,
    pub(super) stamps: Stamps,
    /// The highest epoch of every producer id that stamped records since the place was last empty.
    pub(super) epochs: BTreeMap<i64, i16>,
}

/// Rows of one place in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) segment: u64,
    /// The position after the last record in it.
    pub(super) end: u64,
}

/// A file of the log.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Segment {
    pub(super) bytes: u64,
    /// Places that have rows in it which were not removed.
    pub(super) users: u32,
}

impl Ledger {
    /// An empty store that writes its first segment.
    pub(super) fn first() -> Self {
        Self {
            active: 1,
            ..Self::default()
        }
    }

    pub(super) fn place(&self, name: &Place) -> Option<(u32, &Holding)> {
        let id = *self.by_name.get(name)?;
        Some((id, self.places.get(&id)?))
    }

    /// The position that an append was given before.
    pub(super) fn remembered(&self, id: AppendId) -> Option<u64> {
        self.positions.get(&id).copied()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// True while records are parked whose partitions are not known.
    pub(super) fn holds_unplaced(&self) -> bool {
        let mut places = self.places.values();
        places.any(|holding| holding.name.partition.is_none() && !holding.span.is_empty())
    }

    pub(super) fn active_bytes(&self) -> u64 {
        self.segments.get(&self.active).map_or(0, |segment| segment.bytes)
    }

    /// Makes one step. Blocks of rows are where they lie in `segment`'s file.
    pub(super) fn apply(&mut self, step: Step, segment: u64) {
        match step {
            Step::Snapshot { next_place } => {
                self.next_place = next_place;
                self.by_name.clear();
                self.places.clear();
                self.appends.clear();
                self.positions.clear();
            }
            Step::Define { place, name } => {
                self.next_place = self.next_place.max(place + 1);
                self.by_name.insert(name.clone(), place);
                self.places.insert(place, Holding::new(name));
            }
            Step::Remember { id, position } => self.remember(id, position),
            Step::Rows {
                place,
                id,
                block,
                totals,
            } => self.add_rows(segment, place, id, block, totals),
            Step::Restore { place, span, totals } => {
                if let Some(holding) = self.places.get_mut(&place) {
                    holding.span = span;
                    holding.totals = totals;
                }
            }
            Step::Stamp { place, range } => {
                if let Some(holding) = self.places.get_mut(&place) {
                    holding.stamps.insert(range);
                }
            }
            Step::Void { place, span } => {
                if let Some(holding) = self.places.get_mut(&place) {
                    holding.stamps.void(span);
                }
            }
            Step::Epoch { place, used } => {
                if let Some(holding) = self.places.get_mut(&place) {
                    holding.use_epoch(used);
                }
            }
            Step::Remove { place, below } => {
                if let Some(holding) = self.places.get_mut(&place) {
                    holding.remove(below);
                }
            }
        }
    }

    fn remember(&mut self, id: AppendId, position: u64) {
        if self.positions.insert(id, position).is_none() {
            self.appends.push_back(id);
        }
        if self.appends.len() > APPENDS_REMEMBERED
            && let Some(oldest) = self.appends.pop_front()
        {
            self.positions.remove(&oldest);
        }
    }

    fn add_rows(&mut self, segment: u64, place: u32, id: Option<AppendId>, block: Block, totals: Totals) {
        if let Some(id) = id {
            self.remember(id, block.position);
        }
        let Some(holding) = self.places.get_mut(&place) else {
            return;
        };
        holding.totals = holding.totals.add(totals);
        holding.span.tail = holding.span.tail.max(block.end());
        self.active_blocks.entry(place).or_default().push(block);
        self.extend(place, segment, block.end());
    }

    /// Notes that `segment` holds records of `place` up to `end`. Segments come in order.
    pub(super) fn extend(&mut self, place: u32, segment: u64, end: u64) {
        let Some(holding) = self.places.get_mut(&place) else {
            return;
        };
        match holding.extents.back_mut() {
            Some(extent) if extent.segment == segment => extent.end = extent.end.max(end),
            _ => {
                holding.extents.push_back(Extent { segment, end });
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment.users += 1;
                }
            }
        }
    }

    /// Lets go of the segments of removed records, after all steps of a frame.
    pub(super) fn sweep(&mut self) {
        for (id, holding) in &mut self.places {
            let head = holding.span.head;
            while holding.extents.front().is_some_and(|extent| extent.end <= head) {
                if let Some(extent) = holding.extents.pop_front()
                    && let Some(segment) = self.segments.get_mut(&extent.segment)
                {
                    segment.users = segment.users.saturating_sub(1);
                }
                if holding.span.is_empty() {
                    self.active_blocks.remove(id);
                }
            }
        }
    }

    /// Segments whose records are all removed.
    pub(super) fn unused(&self) -> Vec<u64> {
        let unused =
            |(id, segment): (&u64, &Segment)| (segment.users == 0 && *id < self.active).then_some(*id);
        self.segments.iter().filter_map(unused).collect()
    }

    /// Forgets the oldest places without records when there are very many.
    pub(super) fn forget_empty(&mut self) {
        let empty = |(id, holding): (&u32, &Holding)| holding.span.is_empty().then_some(*id);
        let empty: Vec<u32> = self.places.iter().filter_map(empty).collect();
        for id in empty.iter().take(empty.len().saturating_sub(EMPTY_PLACES_MAX)) {
            if let Some(holding) = self.places.remove(id) {
                self.by_name.remove(&holding.name);
            }
        }
    }

    /// Everything but the rows, as the steps that bring it back.
    pub(super) fn snapshot(&self) -> Draft {
        let mut draft = Draft::new(Vec::new());
        let next_place = self.next_place;
        draft.put(&Step::Snapshot { next_place });
        for (place, holding) in &self.places {
            let (place, name) = (*place, holding.name.clone());
            let (span, totals) = (holding.span, holding.totals);
            draft.put(&Step::Define { place, name });
            draft.put(&Step::Restore { place, span, totals });
            for used in holding.used_epochs() {
                draft.put(&Step::Epoch { place, used });
            }
            for (span, stamping) in holding.stamps.all() {
                let position = span.head;
                draft.put(&match stamping {
                    None => Step::Void { place, span },
                    Some(stamping) => Step::Stamp {
                        place,
                        range: StampedRange { position, stamping },
                    },
                });
            }
        }
        for id in &self.appends {
            if let Some(position) = self.remembered(*id) {
                draft.put(&Step::Remember { id: *id, position });
            }
        }
        draft
    }

    pub(super) fn report(&mut self, damage: Damage, access: Access) {
        let known = self
            .damages
            .iter()
            .any(|other| other.file == damage.file && other.offset == damage.offset);
        if known {
            return;
        }
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage.clone());
        }
        if access == Access::Look {
            return;
        }
        tracing::error!(
            file = %damage.file.display(),
            offset = damage.offset,
            place = ?damage.place,
            positions = ?damage.positions,
            kept_at = %damage.kept_at.display(),
            "the standby store has bytes that cannot be read back; they are kept aside"
        );
    }
}

impl Holding {
    fn new(name: Place) -> Self {
        Self {
            name,
            span: Span::default(),
            totals: Totals::default(),
            extents: VecDeque::new(),
            stamps: Stamps::default(),
            epochs: BTreeMap::new(),
        }
    }

    /// True when the place knows this epoch of the producer id, or one above it.
    pub(super) fn knows_epoch(&self, used: ProducerEpoch) -> bool {
        self.epochs
            .get(&used.producer_id)
            .is_some_and(|highest| *highest >= used.epoch)
    }

    fn use_epoch(&mut self, used: ProducerEpoch) {
        if !self.knows_epoch(used) {
            self.epochs.insert(used.producer_id, used.epoch);
        }
    }

    pub(super) fn used_epochs(&self) -> impl Iterator<Item = ProducerEpoch> {
        self.epochs.iter().map(|(producer_id, epoch)| ProducerEpoch {
            producer_id: *producer_id,
            epoch: *epoch,
        })
    }

    fn remove(&mut self, below: u64) {
        self.span.head = self.span.head.max(below.min(self.span.tail));
        self.stamps.remove(self.span.head);
        // Nobody but its owner stamps under a producer id again once nothing of it is left to send.
        if self.span.is_empty() {
            self.epochs.clear();
        }
    }
}
