//! Stamped batches of which the store lost records (invariants **once**, **in-order**).
//!
//! Such a batch may have landed, and cannot be sent again as it was. What is left of it is searched for on its topic, under
//! stamps that decide nothing; what was lost waits for an operator who gives it up by name.

use std::ops::Range;

use evenkeel_flow::session::StampedRange;
use evenkeel_store::Piece;

use super::store_step::end_of;

/// The stamps over what is left of the batches in `piece` that stand at or behind `from` and are not whole.
pub(super) fn rests(piece: &Piece, from: u64) -> Vec<StampedRange> {
    let runs = runs(piece);
    let torn = piece.stamps.iter().filter(|stamp| {
        let all = stamp.positions();
        let is_whole = |run: &Range<u64>| run.start <= all.start && all.end <= run.end;
        all.start >= from && !runs.iter().any(is_whole)
    });
    torn.flat_map(|stamp| runs.iter().filter_map(|run| stamp.undecided(run)))
        .collect()
}

/// The positions that could be read, without gaps.
fn runs(piece: &Piece) -> Vec<Range<u64>> {
    let mut runs = Vec::<Range<u64>>::new();
    for row in &piece.rows {
        match runs.last_mut().filter(|run| run.end == row.position) {
            Some(run) => run.end = end_of(row),
            None => runs.push(row.position..end_of(row)),
        }
    }
    runs
}
