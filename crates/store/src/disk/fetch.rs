//! The one thread that reads: rows in order, a piece at a time, and what there is to report.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_event::clock::Timestamp;
use evenkeel_flow::session::StampedRange;
use tokio::sync::{mpsc, oneshot};

use super::codec::{Decoded, Fields, Totals, take_row};
use super::frame::Block;
use super::ledger::Ledger;
use super::open::{Access, keep, list_again, storage};
use super::{Config, segment};
use crate::standby::oldest_first;
use crate::{Damage, Error, Piece, Place, PlaceStats, Row, Span, Stats, StoredRow, disk_faults};

/// Bytes of blocks that are taken from one segment before the ledger is asked again.
const PIECE_BYTES: u64 = 4 << 20;

/// What somebody wants to know.
#[derive(Debug)]
pub(super) enum Question {
    Read {
        place: Place,
        from: u64,
        bytes_max: usize,
        answer: oneshot::Sender<Result<Piece, Error>>,
    },
    OpenPlaces {
        answer: oneshot::Sender<Result<Vec<PlaceStats>, Error>>,
    },
    Stats {
        answer: oneshot::Sender<Result<Stats, Error>>,
    },
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Fetcher {
    config: Config,
    ledger: Arc<Mutex<Ledger>>,
    access: Access,
    file: Option<(u64, File)>,
    /// The first row of each place, as of its head.
    heads: HashMap<u32, (u64, Head)>,
}

/// A place's first row.
#[derive(Debug, Clone, Copy)]
struct Head {
    position: u64,
    appended_at: Timestamp,
    before: Totals,
}

/// Blocks of one place in one segment, from the position `from` on.
struct BlockPiece {
    place: u32,
    segment: u64,
    from: u64,
    /// `None` for a finished segment, whose list is on disk.
    blocks: Option<Vec<Block>>,
    extent_end: u64,
}

impl Fetcher {
    pub(super) fn new(config: Config, ledger: Arc<Mutex<Ledger>>, access: Access) -> Self {
        Self {
            config,
            ledger,
            access,
            file: None,
            heads: HashMap::new(),
        }
    }

    /// Answers until all who may ask are gone.
    pub(super) fn run(mut self, mut questions: mpsc::Receiver<Question>) {
        while let Some(question) = questions.blocking_recv() {
            let directory = self.config.directory.clone();
            let failed = |source| storage(&directory, "read", source);
            // An asker that went away does not need its answer.
            match question {
                Question::Read {
                    place,
                    from,
                    bytes_max,
                    answer,
                } => {
                    let rows = self.read(&place, from, bytes_max).map_err(failed);
                    answer.send(rows).ok();
                }
                Question::OpenPlaces { answer } => {
                    answer.send(self.open_places().map_err(failed)).ok();
                }
                Question::Stats { answer } => {
                    answer.send(self.stats().map_err(failed)).ok();
                }
            }
        }
    }

    pub(super) fn read(&mut self, place: &Place, from: u64, bytes_max: usize) -> io::Result<Piece> {
        let (mut rows, mut bytes) = (Vec::<StoredRow>::new(), 0_usize);
        let mut together_to = from;
        let ledger = self.ledger.clone();
        self.walk(place, from, |row| {
            let Decoded { position, row, .. } = row;
            bytes = bytes.saturating_add(row.records.len());
            if !rows.is_empty() && bytes > bytes_max && position >= together_to {
                return ControlFlow::Break(());
            }
            let span = span_of_row(position, &row);
            if let Some((_, holding)) = lock(&ledger).place(place) {
                let stamped = holding.stamps.overlapping(span);
                let ends = stamped.iter().filter(|(_, stamping)| stamping.is_some());
                together_to = ends.map(|(span, _)| span.tail).fold(together_to, u64::max);
            }
            rows.push(StoredRow { position, row });
            ControlFlow::Continue(())
        })?;
        let stamps = take_stamps(&lock(&self.ledger), place, &mut rows);
        Ok(Piece { rows, stamps })
    }

    pub(super) fn open_places(&mut self) -> io::Result<Vec<PlaceStats>> {
        let names: Vec<Place> = lock(&self.ledger).by_name.keys().cloned().collect();
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            places.extend(self.place_stats(&name)?);
        }
        Ok(oldest_first(places))
    }

    pub(super) fn stats(&mut self) -> io::Result<Stats> {
        let places = self.open_places()?;
        let used_bytes = lock(&self.ledger).used_bytes();
        Ok(Stats::of(&places, used_bytes, self.config.limit_bytes))
    }

    fn place_stats(&mut self, name: &Place) -> io::Result<Option<PlaceStats>> {
        let Some(head) = self.head(name)? else {
            return Ok(None);
        };
        let ledger = lock(&self.ledger);
        Ok(ledger.place(name).map(|(_, holding)| {
            let held = holding.totals.minus(head.before);
            let removed = holding.span.head.saturating_sub(head.position);
            PlaceStats {
                place: name.clone(),
                events: held.events.saturating_sub(removed),
                bytes: held.bytes,
                oldest: head.appended_at,
                span: holding.span,
                epochs: holding.used_epochs().collect(),
            }
        }))
    }

    fn head(&mut self, name: &Place) -> io::Result<Option<Head>> {
        let (id, span) = match lock(&self.ledger).place(name) {
            Some((id, holding)) if !holding.span.is_empty() => (id, holding.span),
            _ => return Ok(None),
        };
        if let Some((as_of, head)) = self.heads.get(&id)
            && *as_of == span.head
        {
            return Ok(Some(*head));
        }
        let mut head = None;
        self.walk(name, span.head, |first| {
            head = Some(Head {
                position: first.position,
                appended_at: first.row.appended_at,
                before: first.before,
            });
            ControlFlow::Break(())
        })?;
        let ledger = lock(&self.ledger);
        let is_open = |id: &u32| {
            ledger
                .places
                .get(id)
                .is_some_and(|holding| !holding.span.is_empty())
        };
        self.heads.retain(|id, _| is_open(id));
        drop(ledger);
        if let Some(head) = head {
            self.heads.insert(id, (span.head, head));
        }
        Ok(head)
    }

    /// Shows `visit` the readable rows of `place` that reach beyond `from`, in order, as they were appended.
    fn walk(
        &mut self,
        place: &Place,
        from: u64,
        mut visit: impl FnMut(Decoded) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let mut from = from;
        while let Some(piece) = self.next_piece(place, from) {
            let Some(blocks) = self.blocks(&piece)? else {
                // The segment was drained and deleted meanwhile. The owner's ledger knows it; a look goes on behind it.
                if self.access == Access::Look {
                    from = piece.extent_end;
                }
                continue;
            };
            from = blocks.last().map_or(piece.extent_end, Block::end);
            for block in blocks {
                if self.walk_block(place, &piece, block, &mut visit)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn next_piece(&self, place: &Place, from: u64) -> Option<BlockPiece> {
        let ledger = lock(&self.ledger);
        let (id, holding) = ledger.place(place)?;
        let from = from.max(holding.span.head);
        let extent = holding.extents.iter().find(|extent| extent.end > from)?;
        let blocks = (extent.segment == ledger.active)
            .then(|| chosen(ledger.active_blocks.get(&id).map_or(&[], Vec::as_slice), from));
        Some(BlockPiece {
            place: id,
            segment: extent.segment,
            from,
            blocks,
            extent_end: extent.end,
        })
    }

    fn blocks(&self, piece: &BlockPiece) -> io::Result<Option<Vec<Block>>> {
        if let Some(blocks) = &piece.blocks {
            return Ok(Some(blocks.clone()));
        }
        let listed = || segment::listed_blocks(&self.config.directory, piece.segment, piece.place);
        if let Some(blocks) = listed() {
            return Ok(Some(chosen(&blocks, piece.from)));
        }
        match list_again(&self.config.directory, piece.segment, self.access) {
            Err(error) if self.is_drained(piece.segment, &error) => Ok(None),
            Err(error) => Err(error),
            Ok(all) => {
                let blocks = all.get(&piece.place).map_or(&[][..], Vec::as_slice);
                Ok(Some(chosen(blocks, piece.from)))
            }
        }
    }

    /// True when a file that cannot be opened was deleted because all that it held is sent.
    fn is_drained(&self, segment: u64, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::NotFound
            && (self.access == Access::Look || !lock(&self.ledger).segments.contains_key(&segment))
    }

    fn walk_block(
        &mut self,
        place: &Place,
        piece: &BlockPiece,
        block: Block,
        visit: &mut impl FnMut(Decoded) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let bytes = match self.load(piece.segment, block) {
            Err(error) if self.access == Access::Look && self.is_drained(piece.segment, &error) => {
                return Ok(ControlFlow::Continue(()));
            }
            other => other?,
        };
        let mut fields = Fields::new(&bytes);
        let mut next = block.position;
        // Damaged bytes since the last readable row: what they held is known when the next one says where it stands.
        let mut damaged: Option<usize> = None;
        while !fields.rest().is_empty() {
            let start = bytes.len() - fields.rest().len();
            let Some(taken) = take_row(&mut fields, piece.place) else {
                damaged.get_or_insert(start);
                break;
            };
            let Some(row) = taken else {
                damaged.get_or_insert(start);
                continue;
            };
            if let Some(from) = damaged.take() {
                let lost = bytes.get(from..start).unwrap_or_default();
                self.report(place, piece, next..row.position, (block, from), lost)?;
            }
            next = span_of_row(row.position, &row.row).tail;
            if next > piece.from && visit(row).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if let Some(from) = damaged {
            let lost = bytes.get(from..).unwrap_or_default();
            self.report(place, piece, next..block.end(), (block, from), lost)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn load(&mut self, segment: u64, block: Block) -> io::Result<Vec<u8>> {
        disk_faults::meet()?;
        if self.file.as_ref().is_none_or(|(open, _)| *open != segment) {
            self.file = Some((
                segment,
                File::open(segment::path(&self.config.directory, segment))?,
            ));
        }
        let mut bytes = vec![0; usize::try_from(block.bytes).unwrap_or(usize::MAX)];
        if let Some((_, file)) = &mut self.file {
            file.seek(SeekFrom::Start(u64::from(block.offset)))?;
            file.read_exact(&mut bytes)?;
        }
        Ok(bytes)
    }

    fn report(
        &self,
        place: &Place,
        piece: &BlockPiece,
        positions: Range<u64>,
        (block, from): (Block, usize),
        lost: &[u8],
    ) -> io::Result<()> {
        if positions.end <= piece.from {
            return Ok(());
        }
        let offset = u64::from(block.offset) + from as u64;
        let (directory, access) = (&self.config.directory, self.access);
        let damage = Damage {
            place: Some(place.clone()),
            positions: Some(positions),
            file: segment::path(directory, piece.segment),
            offset,
            kept_at: keep(directory, piece.segment, offset, lost, access)?,
        };
        lock(&self.ledger).report(damage, access);
        Ok(())
    }
}

/// The blocks that hold records from `from` on, up to [`PIECE_BYTES`].
fn chosen(blocks: &[Block], from: u64) -> Vec<Block> {
    let start = blocks.partition_point(|block| block.end() <= from);
    let mut bytes = 0_u64;
    blocks
        .get(start..)
        .unwrap_or_default()
        .iter()
        .take_while(|block| {
            let fits = bytes < PIECE_BYTES;
            bytes += u64::from(block.bytes);
            fits
        })
        .copied()
        .collect()
}

fn span_of_row(position: u64, row: &Row) -> Span {
    Span {
        head: position,
        tail: position + u64::from(row.count),
    }
}

/// The stamps that count for `rows`: those stored over them, and those that came with rows which none was stored over
/// and of which nothing was removed.
fn take_stamps(ledger: &Ledger, place: &Place, rows: &mut [StoredRow]) -> Vec<StampedRange> {
    let mut stamps = Vec::<StampedRange>::new();
    let Some((_, holding)) = ledger.place(place) else {
        return stamps;
    };
    for StoredRow { position, row } in rows {
        let position = *position;
        let own = row.stamping.take();
        let stored = holding.stamps.overlapping(span_of_row(position, row));
        if stored.is_empty() && position >= holding.span.head {
            stamps.extend(own.map(|stamping| StampedRange { position, stamping }));
        }
        for (span, stamping) in stored {
            let is_new = stamps.last().is_none_or(|last| last.position < span.head);
            stamps.extend(stamping.filter(|_| is_new).map(|stamping| StampedRange {
                position: span.head,
                stamping,
            }));
        }
    }
    stamps
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
