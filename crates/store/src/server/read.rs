//! Reading rows back, and what cannot be read.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use evenkeel_flow::session::StampedRange;

use super::contention::{Contention, Trial};
use super::keeper::{Block, Keeper};
use super::lane::{Seen, fetch};
use super::record::{Front, Record};
use super::{ServerStandby, block};
use crate::{Damage, Error, Piece, Place, Span, StoredRow};

/// Damages that are remembered.
const DAMAGES_MAX: usize = 1_024;
/// Bytes of the first blocks that are asked for when a row is looked for.
const ONE_BLOCK: usize = 1;

/// What could not be read, each once.
#[derive(Debug, Default)]
pub(super) struct Damages(Mutex<Vec<Damage>>);

impl Damages {
    fn lock(&self) -> MutexGuard<'_, Vec<Damage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<Damage> {
        self.lock().clone()
    }

    fn note(&self, place: &Place, server: &str, positions: Range<u64>) {
        let mut damages = self.lock();
        let is_known = damages
            .iter()
            .any(|known| known.place.as_ref() == Some(place) && known.positions.as_ref() == Some(&positions));
        if is_known || damages.len() >= DAMAGES_MAX {
            return;
        }
        tracing::error!(
            topic = %place.topic, partition = place.partition, first = positions.start, end = positions.end,
            "rows of {server} cannot be read"
        );
        damages.push(Damage {
            place: Some(place.clone()),
            positions: Some(positions),
            file: server.into(),
            offset: 0,
            // The block stays where it is until it is removed.
            kept_at: server.into(),
        });
    }
}

/// A piece that is being read.
struct Reading<'read> {
    record: &'read Record,
    piece: Piece,
    damaged: Vec<Range<u64>>,
    bytes: usize,
    bytes_max: usize,
    /// Up to where what has been read is stamped together.
    together_to: u64,
    /// Up to where blocks were seen.
    next: u64,
    is_full: bool,
}

impl Reading<'_> {
    fn take(&mut self, place: &Place, block: &Block) {
        if block.end <= self.next || block.position >= self.record.span.tail {
            return;
        }
        if block.position > self.next {
            self.damaged.push(self.next..block.position);
        }
        let decoded = block::read(place, block);
        let head = self.next;
        self.damaged
            .extend(decoded.damaged.into_iter().filter(|range| range.end > head));
        for (stored, _) in decoded.rows {
            if end(&stored) <= head {
                continue;
            }
            self.bytes = self.bytes.saturating_add(stored.row.records.len());
            let exceeds = self.bytes > self.bytes_max && stored.position >= self.together_to;
            if exceeds && !self.piece.rows.is_empty() {
                self.is_full = true;
                return;
            }
            let span = Span {
                head: stored.position,
                tail: end(&stored),
            };
            for (span, stamping) in self.record.stamps.overlapping(span) {
                self.together_to = self
                    .together_to
                    .max(if stamping.is_some() { span.tail } else { 0 });
            }
            self.piece.rows.push(stored);
        }
        self.next = block.end;
    }

    /// The stamps that cover some of the rows.
    fn stamps(&self, from: u64) -> Vec<StampedRange> {
        let head = self.piece.rows.first().map_or(from, |stored| stored.position);
        let tail = self.piece.rows.last().map_or(from, end);
        let overlapping = self.record.stamps.overlapping(Span { head, tail });
        let whole = overlapping
            .into_iter()
            .filter(|(span, _)| span.head >= self.record.span.head);
        whole
            .filter_map(|(span, stamping)| {
                Some(StampedRange {
                    position: span.head,
                    stamping: stamping?,
                })
            })
            .collect()
    }
}

impl<K: Keeper> ServerStandby<K> {
    /// Rows and stamps of a place as they were at one moment. Where blocks are missing the record is asked again: somebody
    /// may have removed them.
    pub(super) async fn piece(&self, place: &Place, from: u64, bytes_max: usize) -> Result<Piece, Error> {
        let (mut trial, mut contention) = (Trial::new(), Contention::default());
        let mut seen = fetch(&*self.keeper, place).await?;
        loop {
            let (piece, damaged) = self.read_as_of(place, &seen.record, from, bytes_max).await?;
            if damaged.is_empty() {
                return Ok(piece);
            }
            let again = fetch(&*self.keeper, place).await?;
            if again.record.span.head == seen.record.span.head {
                for positions in damaged {
                    self.damages.note(place, self.keeper.name(), positions);
                }
                return Ok(piece);
            }
            seen = again;
            trial.again(self.keeper.name(), &mut contention).await?;
        }
    }

    async fn read_as_of(
        &self,
        place: &Place,
        record: &Record,
        from: u64,
        bytes_max: usize,
    ) -> Result<(Piece, Vec<Range<u64>>), Error> {
        let start = from.max(record.span.head);
        let mut reading = Reading {
            record,
            piece: Piece::default(),
            damaged: Vec::new(),
            bytes: 0,
            bytes_max,
            together_to: start,
            next: start,
            is_full: false,
        };
        while !reading.is_full && reading.next < record.span.tail {
            let is_enough = !reading.piece.rows.is_empty()
                && reading.bytes >= bytes_max
                && reading.next >= reading.together_to;
            if is_enough {
                break;
            }
            let wanted = bytes_max.saturating_sub(reading.bytes).max(ONE_BLOCK);
            let before = reading.next;
            for block in self.keeper.blocks(place, before, wanted).await? {
                if !reading.is_full {
                    reading.take(place, &block);
                }
            }
            if reading.next == before && !reading.is_full {
                reading.damaged.push(before..record.span.tail);
                break;
            }
        }
        reading.piece.stamps = reading.stamps(start);
        Ok((reading.piece, reading.damaged))
    }

    /// The row that becomes the oldest when what is below a position is removed.
    pub(super) async fn front(&self, place: &Place, seen: &Seen, below: u64) -> Result<Front, Error> {
        let span = seen.record.span;
        if below <= span.head || below >= span.tail {
            return Ok(Front::Nothing);
        }
        let blocks = self.keeper.blocks(place, below, ONE_BLOCK).await?;
        let Some(found) = blocks.first().filter(|block| block.position < span.tail) else {
            return Ok(Front::Damaged);
        };
        let rows = block::read(place, found).rows;
        let row = rows.into_iter().find(|(stored, _)| end(stored) > below);
        Ok(row.map_or(Front::Damaged, |(stored, before)| Front::Row {
            appended_at: stored.row.appended_at,
            before,
        }))
    }
}

fn end(stored: &StoredRow) -> u64 {
    stored.position + u64::from(stored.row.count)
}
