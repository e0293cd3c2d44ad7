//! Giving up records that cannot be read back any more, when an operator has said so by name.
//!
//! Nothing is sent on behind a record that cannot be read (invariant **in-order**), and nothing is given up by itself
//! (invariant **owned**): the damaged bytes stay in `damaged/`, and may be mended elsewhere and published anew.

use std::ops::Range;

use evenkeel_flow::session::StampedRange;

use super::DiskStandby;
use crate::{Damage, Error, Place, Span, Standby as _};

/// Records at the front of a place that cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Their positions.
    pub positions: Range<u64>,
    /// What is known of the damage, and where copies of the bytes are kept.
    pub damages: Vec<Damage>,
}

/// Why a loss was not accepted. Nothing has changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NotAccepted {
    /// The record at the front can be read.
    #[error(
        "nothing is to be given up: the record at position {head} can be read, and what is before it was sent on"
    )]
    Readable {
        /// The front.
        head: u64,
    },
    /// Others than the named ones cannot be read.
    #[error(
        "the positions {}..{} cannot be read, and not {}..{}: name exactly those", unreadable.start, unreadable.end,
        named.start, named.end
    )]
    Others {
        /// Those that cannot be read.
        unreadable: Range<u64>,
        /// Those that were named.
        named: Range<u64>,
    },
    /// What the storage says.
    #[error(transparent)]
    Store(#[from] Error),
}

impl DiskStandby {
    /// The records at the front of `place` that cannot be read back, if there are any. Those further behind show when
    /// they have come to the front.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn unreadable(&self, place: &Place) -> Result<Option<Unreadable>, Error> {
        Ok(self.front(place).await?.map(|(unreadable, _)| unreadable))
    }

    /// Gives up the records of `place` at `positions`, which must be exactly those that [`Self::unreadable`] tells.
    ///
    /// Where they were stamped together with others, the others may have landed, and no stamp decides that any more: they
    /// are left to be searched for on their topic (invariant **once**).
    ///
    /// # Errors
    /// [`NotAccepted`] says what cannot be read instead.
    pub async fn accept_loss(&self, place: &Place, positions: Range<u64>) -> Result<(), NotAccepted> {
        let Some((found, stamps)) = self.front(place).await? else {
            let head = self.span(place).await?.head;
            return Err(NotAccepted::Readable { head });
        };
        if found.positions != positions {
            let (unreadable, named) = (found.positions, positions);
            return Err(NotAccepted::Others { unreadable, named });
        }
        let rests: Vec<StampedRange> = stamps
            .iter()
            .filter(|stamp| stamp.position < positions.end)
            .filter_map(|stamp| stamp.undecided(&(positions.end..u64::MAX)))
            .collect();
        if !rests.is_empty() {
            self.store_stamps(place, rests).await?;
        }
        Ok(self.remove(place, positions.end).await?)
    }

    /// What cannot be read at the front, and the stamps over what comes next.
    async fn front(&self, place: &Place) -> Result<Option<(Unreadable, Vec<StampedRange>)>, Error> {
        let Span { head, tail } = self.span(place).await?;
        if head >= tail {
            return Ok(None);
        }
        let piece = self.read(place, head, 1).await?;
        let end = piece.rows.first().map_or(tail, |row| row.position);
        if end <= head {
            return Ok(None);
        }
        let positions = head..end;
        let concerns = |damage: &Damage| {
            damage.place.as_ref().is_none_or(|known| known == place)
                && damage
                    .positions
                    .as_ref()
                    .is_none_or(|known| known.start < positions.end && known.end > positions.start)
        };
        let mut damages = self.damaged().await?;
        damages.retain(concerns);
        Ok(Some((Unreadable { positions, damages }, piece.stamps)))
    }
}
