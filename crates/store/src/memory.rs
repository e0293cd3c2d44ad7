//! A shared standby store in memory: what the conformance suite says, in the fewest lines. For tests, where several
//! publishers of one process share it; nothing of it outlives the process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use evenkeel_flow::diversion::{Diversion, Lease, Phase, Process, Versioned};
use evenkeel_flow::session::{ProducerEpoch, StampedRange};

use crate::disk::stamps::{Stamps, span_of};
use crate::shared::{AppendIn, Lane, Listed, SharedStandby};
use crate::standby::{BoxFuture, oldest_first};
use crate::{AppendId, Damage, Error, Holds, Piece, Place, PlaceStats, Row, Span, Standby, Stats, StoredRow};

/// Appends that are remembered.
const APPENDS_REMEMBERED: usize = 65_536;

/// A standby store in memory that any number of publishers share.
#[derive(Debug)]
pub struct MemoryStandby {
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    places: BTreeMap<Place, Holding>,
    leases: BTreeMap<Process, Lease<Place>>,
    holds: Holds,
    positions: HashMap<AppendId, u64>,
    appends: VecDeque<AppendId>,
}

#[derive(Debug, Default)]
struct Holding {
    rows: VecDeque<StoredRow>,
    span: Span,
    stamps: Stamps,
    epochs: BTreeMap<i64, i16>,
    diversion: Versioned<Diversion>,
}

impl MemoryStandby {
    /// An empty store that takes at most `limit_bytes` of records.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn holding(&mut self, place: &Place) -> &mut Holding {
        self.places.entry(place.clone()).or_default()
    }

    fn append(
        &mut self,
        limit_bytes: u64,
        place: &Place,
        id: AppendId,
        rows: Vec<Row>,
    ) -> Result<u64, Error> {
        if let Some(position) = self.positions.get(&id) {
            return Ok(*position);
        }
        if rows.is_empty() || rows.iter().any(|row| row.count == 0) {
            return Err(nothing_at(place, 0));
        }
        let (used_bytes, needed_bytes) = (self.used_bytes(), bytes_of(&rows));
        if used_bytes + needed_bytes > limit_bytes {
            return Err(Error::Full {
                topic: place.topic.clone(),
                used_bytes,
                limit_bytes,
                needed_bytes,
            });
        }
        let position = self.holding(place).append(rows);
        self.remember(id, position);
        Ok(position)
    }

    fn used_bytes(&self) -> u64 {
        self.places.values().map(Holding::bytes).sum()
    }

    fn remember(&mut self, id: AppendId, position: u64) {
        self.positions.insert(id, position);
        self.appends.push_back(id);
        if self.appends.len() > APPENDS_REMEMBERED
            && let Some(oldest) = self.appends.pop_front()
        {
            self.positions.remove(&oldest);
        }
    }

    fn open_places(&self) -> Vec<PlaceStats> {
        let open = self
            .places
            .iter()
            .filter_map(|(place, holding)| holding.stats(place));
        oldest_first(open.collect())
    }
}

impl Holding {
    fn append(&mut self, rows: Vec<Row>) -> u64 {
        let position = self.span.tail;
        for mut row in rows {
            let at = self.span.tail;
            self.span.tail += u64::from(row.count);
            if let Some(stamping) = row.stamping.take() {
                self.stamp(StampedRange {
                    position: at,
                    stamping,
                });
            }
            self.rows.push_back(StoredRow { position: at, row });
        }
        position
    }

    fn stamp(&mut self, range: StampedRange) {
        let stamp = range.stamping.stamp;
        let highest = self.epochs.entry(stamp.producer_id).or_insert(stamp.epoch);
        *highest = stamp.epoch.max(*highest);
        self.stamps.insert(range);
    }

    fn store_stamps(&mut self, place: &Place, stamps: Vec<StampedRange>) -> Result<(), Error> {
        let outside = stamps.iter().find(|range| {
            let covered = span_of(range);
            covered.is_empty() || covered.head < self.span.head || covered.tail > self.span.tail
        });
        if let Some(range) = outside {
            return Err(nothing_at(place, range.position));
        }
        for range in stamps {
            self.stamp(range);
        }
        Ok(())
    }

    fn read(&self, from: u64, bytes_max: usize) -> Piece {
        let mut piece = Piece::default();
        let (mut bytes, mut together_to) = (0_usize, from);
        for stored in self.rows.iter().filter(|stored| end(stored) > from) {
            bytes = bytes.saturating_add(stored.row.records.len());
            if !piece.rows.is_empty() && bytes > bytes_max && stored.position >= together_to {
                break;
            }
            for (span, stamping) in self.stamps.overlapping(span(stored)) {
                together_to = together_to.max(if stamping.is_some() { span.tail } else { 0 });
            }
            piece.rows.push(stored.clone());
        }
        let head = piece.rows.first().map_or(from, |stored| stored.position);
        let tail = piece.rows.last().map_or(from, end);
        for (span, stamping) in self.stamps.overlapping(Span { head, tail }) {
            piece
                .stamps
                .extend(
                    stamping
                        .filter(|_| span.head >= self.span.head)
                        .map(|stamping| StampedRange {
                            position: span.head,
                            stamping,
                        }),
                );
        }
        piece
    }

    fn remove(&mut self, below: u64) {
        self.span.head = self.span.head.max(below.min(self.span.tail));
        while self
            .rows
            .front()
            .is_some_and(|stored| end(stored) <= self.span.head)
        {
            self.rows.pop_front();
        }
        self.stamps.remove(self.span.head);
        if self.span.is_empty() {
            self.epochs.clear();
        }
    }

    fn bytes(&self) -> u64 {
        self.rows
            .iter()
            .map(|stored| stored.row.records.len() as u64)
            .sum()
    }

    fn stats(&self, place: &Place) -> Option<PlaceStats> {
        Some(PlaceStats {
            place: place.clone(),
            events: self.span.tail - self.span.head,
            bytes: self.bytes(),
            oldest: self.rows.front()?.row.appended_at,
            span: self.span,
            epochs: self.epochs.iter().map(used).collect(),
        })
    }
}

impl Standby for MemoryStandby {
    fn append(&self, place: &Place, id: AppendId, rows: Vec<Row>) -> BoxFuture<'_, Result<u64, Error>> {
        let made = self.lock().append(self.limit_bytes, place, id, rows);
        Box::pin(async move { made })
    }

    fn store_stamps(&self, place: &Place, stamps: Vec<StampedRange>) -> BoxFuture<'_, Result<(), Error>> {
        let stored = self.lock().holding(place).store_stamps(place, stamps);
        Box::pin(async move { stored })
    }

    fn read(&self, place: &Place, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Piece, Error>> {
        let piece = self.lock().holding(place).read(from, bytes_max);
        Box::pin(async move { Ok(piece) })
    }

    fn remove(&self, place: &Place, below: u64) -> BoxFuture<'_, Result<(), Error>> {
        self.lock().holding(place).remove(below);
        Box::pin(async move { Ok(()) })
    }

    fn place(&self, from: &Place, below: u64, rows: Vec<(Place, Row)>) -> BoxFuture<'_, Result<(), Error>> {
        let mut state = self.lock();
        state.holding(from).remove(below);
        for (place, row) in rows {
            state.holding(&place).append(vec![row]);
        }
        Box::pin(async move { Ok(()) })
    }

    fn span(&self, place: &Place) -> BoxFuture<'_, Result<Span, Error>> {
        let span = self.lock().holding(place).span;
        Box::pin(async move { Ok(span) })
    }

    fn open_places(&self) -> BoxFuture<'_, Result<Vec<PlaceStats>, Error>> {
        let open = self.lock().open_places();
        Box::pin(async move { Ok(open) })
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, Error>> {
        let state = self.lock();
        let stats = Stats::of(&state.open_places(), state.used_bytes(), self.limit_bytes);
        Box::pin(async move { Ok(stats) })
    }

    fn damaged(&self) -> BoxFuture<'_, Result<Vec<Damage>, Error>> {
        Box::pin(async move { Ok(Vec::new()) })
    }
}

impl SharedStandby for MemoryStandby {
    fn lane(&self, place: &Place) -> BoxFuture<'_, Result<Lane, Error>> {
        let mut state = self.lock();
        let holding = state.holding(place);
        let lane = Lane {
            diversion: holding.diversion,
            span: holding.span,
        };
        Box::pin(async move { Ok(lane) })
    }

    fn put_diversion(
        &self,
        place: &Place,
        expected: u64,
        tail: Option<u64>,
        diversion: Diversion,
    ) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        let mut state = self.lock();
        let holding = state.holding(place);
        let ends_there = tail.is_none_or(|tail| tail == holding.span.tail);
        let record = &mut holding.diversion;
        let version = (record.version == expected && ends_there).then(|| {
            record.version += 1;
            record.record = diversion;
            record.version
        });
        Box::pin(async move { Ok(version) })
    }

    fn holds(&self) -> BoxFuture<'_, Result<Holds, Error>> {
        let holds = self.lock().holds.clone();
        Box::pin(async move { Ok(holds) })
    }

    fn put_holds(&self, expected: &Holds, holds: &Holds) -> BoxFuture<'_, Result<bool, Error>> {
        let mut state = self.lock();
        let is_it = state.holds == *expected;
        if is_it {
            state.holds = holds.clone();
        }
        Box::pin(async move { Ok(is_it) })
    }

    fn diversions(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        let state = self.lock();
        let diverted = state.places.iter().filter_map(|(place, holding)| {
            let (place, diversion) = (place.clone(), holding.diversion);
            (diversion.record.phase != Phase::Open).then_some(Listed { place, diversion })
        });
        let diverted = diverted.collect();
        Box::pin(async move { Ok(diverted) })
    }

    fn append_in(
        &self,
        place: &Place,
        epoch: u64,
        id: AppendId,
        rows: Vec<Row>,
    ) -> BoxFuture<'_, Result<AppendIn, Error>> {
        let mut state = self.lock();
        let was_made = state.positions.contains_key(&id);
        let record = state.holding(place).diversion.record;
        let may = was_made || (record.epoch == epoch && record.phase.takes_appends());
        let made = match may {
            true => state
                .append(self.limit_bytes, place, id, rows)
                .map(AppendIn::Made),
            false => Ok(AppendIn::Passed),
        };
        Box::pin(async move { made })
    }

    fn store_stamps_in(
        &self,
        place: &Place,
        term: u64,
        stamps: Vec<StampedRange>,
    ) -> BoxFuture<'_, Result<bool, Error>> {
        let mut state = self.lock();
        let holding = state.holding(place);
        let is_it = holding.diversion.record.term == term;
        let stored = match is_it {
            true => holding.store_stamps(place, stamps).map(|()| true),
            false => Ok(false),
        };
        Box::pin(async move { stored })
    }

    fn renew(&self, lease: Lease<Place>, joins: bool) -> BoxFuture<'_, Result<bool, Error>> {
        let mut state = self.lock();
        let standing = state.leases.get(&lease.process).map(|lease| lease.renewal);
        let renews = standing.map_or(joins, |renewal| renewal < lease.renewal);
        if renews {
            state.leases.insert(lease.process, lease);
        }
        Box::pin(async move { Ok(renews) })
    }

    fn revoke(&self, process: Process, renewal: u64) -> BoxFuture<'_, Result<bool, Error>> {
        let mut state = self.lock();
        let is_it = state
            .leases
            .get(&process)
            .is_some_and(|lease| lease.renewal == renewal);
        if is_it {
            state.leases.remove(&process);
        }
        Box::pin(async move { Ok(is_it) })
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease<Place>>, Error>> {
        let leases = self.lock().leases.values().cloned().collect();
        Box::pin(async move { Ok(leases) })
    }
}

fn nothing_at(place: &Place, position: u64) -> Error {
    Error::NoRows {
        topic: place.topic.clone(),
        position,
    }
}

fn bytes_of(rows: &[Row]) -> u64 {
    rows.iter().map(|row| row.records.len() as u64).sum()
}

fn end(stored: &StoredRow) -> u64 {
    stored.position + u64::from(stored.row.count)
}

fn span(stored: &StoredRow) -> Span {
    Span {
        head: stored.position,
        tail: end(stored),
    }
}

fn used((producer_id, epoch): (&i64, &i16)) -> ProducerEpoch {
    ProducerEpoch {
        producer_id: *producer_id,
        epoch: *epoch,
    }
}
