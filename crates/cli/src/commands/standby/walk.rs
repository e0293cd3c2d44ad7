//! Reads the records that lie in a place, in order, a bounded number of bytes at a time.

use std::ops::ControlFlow;

use anyhow::{Context as _, Result};
use evenkeel_broker::batch::{Batch, DECOMPRESSED_BYTES_MAX, RecordView};
use evenkeel_event::clock::Timestamp;
use evenkeel_store::{Kind, Place, StoredRow};

use crate::parked_look::ParkedLook;

/// Most bytes that are read at once.
const READ_BYTES_MAX: usize = 1 << 20;

/// What the store knows of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parked {
    pub(super) position: u64,
    pub(super) at: Timestamp,
    pub(super) kind: Kind,
    /// It was sent before, or is being sent, and may have landed.
    pub(super) stamped: bool,
}

/// Shows `visit` the records of `place` from the position `from` on, until it has seen enough.
pub(super) fn walk(
    look: &mut ParkedLook,
    place: &Place,
    from: u64,
    mut visit: impl FnMut(Parked, &RecordView<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut from = from;
    loop {
        let piece = look.read(place, from, READ_BYTES_MAX)?;
        let Some(last) = piece.rows.last() else {
            return Ok(());
        };
        let end = end_of(last);
        for stored in &piece.rows {
            let stamped = |position: u64| {
                piece.stamps.iter().any(|range| {
                    let count = u64::try_from(range.stamping.stamp.count).unwrap_or(0);
                    (range.position..range.position + count).contains(&position)
                })
            };
            if walk_row(stored, from, stamped, &mut visit)?.is_break() {
                return Ok(());
            }
        }
        from = end;
    }
}

fn walk_row(
    stored: &StoredRow,
    from: u64,
    stamped: impl Fn(u64) -> bool,
    visit: &mut impl FnMut(Parked, &RecordView<'_>) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    let records = Batch::read(stored.row.records.clone())
        .and_then(|batch| batch.open(DECOMPRESSED_BYTES_MAX))
        .with_context(|| format!("the row at position {} is no batch of records", stored.position))?;
    for (position, record) in (stored.position..).zip(records.iter()) {
        let parked = Parked {
            position,
            at: stored.row.appended_at,
            kind: stored.row.kind,
            stamped: stamped(position),
        };
        if position >= from && visit(parked, &record)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn end_of(row: &StoredRow) -> u64 {
    row.position + u64::from(row.row.count)
}
