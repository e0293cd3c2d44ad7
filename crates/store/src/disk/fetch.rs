//! The one thread that reads: rows in order, a piece at a time, and what there is to report.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_event::clock::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::codec::{Decoded, Fields, Totals, take_row};
use super::frame::Block;
use super::ledger::{Ledger, Replacement};
use super::open::{list_again, storage, write_aside};
use super::{Config, segment};
use crate::{Damage, Error, Place, PlaceStats, Stats, StoredRow};

/// Bytes of blocks that are taken from one segment before the ledger is asked again.
const PIECE_BYTES: u64 = 4 << 20;

/// What somebody wants to know.
#[derive(Debug)]
pub(super) enum Question {
    Read {
        place: Place,
        after: u64,
        bytes_max: usize,
        answer: oneshot::Sender<Result<Vec<StoredRow>, Error>>,
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
    file: Option<(u64, File)>,
    /// The first row of each place, as of what was removed.
    heads: HashMap<u32, (u64, Head)>,
}

/// A place's first row.
#[derive(Debug, Clone, Copy)]
struct Head {
    number: u64,
    appended_at: Timestamp,
    before: Totals,
}

/// Blocks of one place in one segment, from the row `from` on.
struct Piece {
    place: u32,
    segment: u64,
    from: u64,
    /// `None` for a finished segment, whose list is on disk.
    blocks: Option<Vec<Block>>,
    extent_last: u64,
}

impl Fetcher {
    pub(super) fn new(config: Config, ledger: Arc<Mutex<Ledger>>) -> Self {
        Self {
            config,
            ledger,
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
                    after,
                    bytes_max,
                    answer,
                } => {
                    let rows = self.read(&place, after, bytes_max).map_err(failed);
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

    fn read(&mut self, place: &Place, after: u64, bytes_max: usize) -> io::Result<Vec<StoredRow>> {
        let mut rows = Vec::new();
        let mut bytes = 0_usize;
        let ledger = self.ledger.clone();
        self.walk(place, after, |number, decoded| {
            let Some(row) = as_seen(&lock(&ledger), place, number, decoded) else {
                return ControlFlow::Continue(());
            };
            let ids: usize = row.row.ids.iter().map(|id| id.as_str().len()).sum();
            bytes = bytes.saturating_add(row.row.records.len() + ids);
            if !rows.is_empty() && bytes > bytes_max {
                return ControlFlow::Break(());
            }
            rows.push(row);
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    fn open_places(&mut self) -> io::Result<Vec<PlaceStats>> {
        let names: Vec<Place> = lock(&self.ledger).by_name.keys().cloned().collect();
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            places.extend(self.place_stats(&name)?);
        }
        places.sort_by_key(|one| (one.oldest, one.first));
        Ok(places)
    }

    fn stats(&mut self) -> io::Result<Stats> {
        let places = self.open_places()?;
        Ok(Stats {
            events: places.iter().map(|place| place.events).sum(),
            bytes: places.iter().map(|place| place.bytes).sum(),
            oldest: places.first().map(|place| place.oldest),
            places: places.len() as u64,
            used_bytes: lock(&self.ledger).used_bytes(),
            limit_bytes: self.config.limit_bytes,
        })
    }

    fn place_stats(&mut self, name: &Place) -> io::Result<Option<PlaceStats>> {
        let Some(head) = self.head(name)? else {
            return Ok(None);
        };
        let (totals, last, replaced) = {
            let ledger = lock(&self.ledger);
            let Some((_, holding)) = ledger.place(name) else {
                return Ok(None);
            };
            let replaced: Vec<(u64, Replacement)> = holding
                .replaced
                .iter()
                .map(|(first, replacement)| (*first, replacement.clone()))
                .collect();
            (holding.totals, holding.last, replaced)
        };
        let mut held = totals.minus(head.before);
        for (first, replacement) in replaced {
            let gone = self.totals_of(name, first, replacement.last)?;
            held = held.minus(gone).plus(&replacement.row);
        }
        Ok(Some(PlaceStats {
            place: name.clone(),
            events: held.events,
            bytes: held.bytes,
            oldest: head.appended_at,
            first: head.number,
            last,
        }))
    }

    /// What the rows `first` to `last` held when they were appended, as far as they are not removed.
    fn totals_of(&mut self, place: &Place, first: u64, last: u64) -> io::Result<Totals> {
        let mut totals = Totals::default();
        self.walk(place, first.saturating_sub(1), |number, decoded| {
            if number > last {
                return ControlFlow::Break(());
            }
            if let Some(decoded) = decoded {
                totals = totals.plus(&decoded.row);
            }
            ControlFlow::Continue(())
        })?;
        Ok(totals)
    }

    fn head(&mut self, name: &Place) -> io::Result<Option<Head>> {
        let (id, removed_up_to) = match lock(&self.ledger).place(name) {
            Some((id, holding)) => (id, holding.removed_up_to),
            None => return Ok(None),
        };
        if let Some((as_of, head)) = self.heads.get(&id)
            && *as_of == removed_up_to
        {
            return Ok(Some(*head));
        }
        let mut head = None;
        self.walk(name, removed_up_to, |number, decoded| match decoded {
            None => ControlFlow::Continue(()),
            Some(decoded) => {
                head = Some(Head {
                    number,
                    appended_at: decoded.row.appended_at,
                    before: decoded.before,
                });
                ControlFlow::Break(())
            }
        })?;
        let ledger = lock(&self.ledger);
        self.heads.retain(|id, _| ledger.places.contains_key(id));
        drop(ledger);
        if let Some(head) = head {
            self.heads.insert(id, (removed_up_to, head));
        }
        Ok(head)
    }

    /// Shows `visit` the rows of `place` behind `after`, in order, as they were appended; `None` for a damaged one.
    fn walk(
        &mut self,
        place: &Place,
        after: u64,
        mut visit: impl FnMut(u64, Option<Decoded>) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let mut after = after;
        loop {
            let piece = self.next_piece(place, after);
            let Some(piece) = piece else {
                return Ok(());
            };
            let Some(blocks) = self.blocks(&piece)? else {
                // The segment was drained and deleted meanwhile.
                continue;
            };
            after = blocks.last().map_or(piece.extent_last, Block::last);
            for block in blocks {
                if self.walk_block(place, &piece, block, &mut visit)?.is_break() {
                    return Ok(());
                }
            }
        }
    }

    fn next_piece(&self, place: &Place, after: u64) -> Option<Piece> {
        let ledger = lock(&self.ledger);
        let (id, holding) = ledger.place(place)?;
        let from = after.max(holding.removed_up_to) + 1;
        let extent = holding.extents.iter().find(|extent| extent.last >= from)?;
        let blocks = (extent.segment == ledger.active)
            .then(|| chosen(ledger.active_blocks.get(&id).map_or(&[], Vec::as_slice), from));
        Some(Piece {
            place: id,
            segment: extent.segment,
            from,
            blocks,
            extent_last: extent.last,
        })
    }

    fn blocks(&self, piece: &Piece) -> io::Result<Option<Vec<Block>>> {
        if let Some(blocks) = &piece.blocks {
            return Ok(Some(blocks.clone()));
        }
        let listed = || segment::listed_blocks(&self.config.directory, piece.segment, piece.place);
        if let Some(blocks) = listed() {
            return Ok(Some(chosen(&blocks, piece.from)));
        }
        match list_again(&self.config.directory, piece.segment) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && !lock(&self.ledger).segments.contains_key(&piece.segment) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(_) => Ok(Some(chosen(&listed().unwrap_or_default(), piece.from))),
        }
    }

    fn walk_block(
        &mut self,
        place: &Place,
        piece: &Piece,
        block: Block,
        visit: &mut impl FnMut(u64, Option<Decoded>) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let bytes = self.load(piece.segment, block)?;
        let mut fields = Fields::new(&bytes);
        for number in block.first..=block.last() {
            let start = fields.rest();
            let taken = take_row(&mut fields, piece.place, number);
            let decoded = match taken {
                Some(Some(decoded)) => Some(decoded),
                Some(None) => {
                    let damaged = start.get(..start.len() - fields.rest().len());
                    self.report(
                        place,
                        piece,
                        number..=number,
                        block,
                        &bytes,
                        damaged.unwrap_or(start),
                    )?;
                    None
                }
                None => {
                    self.report(place, piece, number..=block.last(), block, &bytes, start)?;
                    return Ok(ControlFlow::Continue(()));
                }
            };
            if number >= piece.from && visit(number, decoded).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn load(&mut self, segment: u64, block: Block) -> io::Result<Vec<u8>> {
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
        piece: &Piece,
        rows: std::ops::RangeInclusive<u64>,
        block: Block,
        bytes: &[u8],
        damaged: &[u8],
    ) -> io::Result<()> {
        if *rows.end() < piece.from {
            return Ok(());
        }
        let within = damaged.as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
        let offset = u64::from(block.offset) + within as u64;
        let kept_at = write_aside(&self.config.directory, piece.segment, offset, damaged)?;
        lock(&self.ledger).report(Damage {
            place: Some(place.clone()),
            rows: Some(rows),
            file: segment::path(&self.config.directory, piece.segment),
            offset,
            kept_at,
        });
        Ok(())
    }
}

/// The blocks that hold rows from `from` on, up to [`PIECE_BYTES`].
fn chosen(blocks: &[Block], from: u64) -> Vec<Block> {
    let start = blocks.partition_point(|block| block.last() < from);
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

/// The row with what was said about it after it was appended; `None` when another stands for it.
fn as_seen(ledger: &Ledger, place: &Place, number: u64, decoded: Option<Decoded>) -> Option<StoredRow> {
    let (_, holding) = ledger.place(place)?;
    let replacement = holding
        .replaced
        .range(..=number)
        .next_back()
        .filter(|(_, replacement)| replacement.last >= number);
    let mut row = match replacement {
        Some((_, replacement)) if replacement.last == number => (*replacement.row).clone(),
        Some(_) => return None,
        None => decoded?.row,
    };
    let mut stamped_to = row.stamp.map(|_| number);
    if let Some(stamped) = holding.stamp_of(number) {
        row.stamp = Some(stamped.stamp);
        row.possible_double |= stamped.possible_double;
        stamped_to = Some(stamped.last);
    }
    Some(StoredRow {
        number,
        row,
        stamped_to,
    })
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
