//! Which appends a place has taken, so that one that is tried again is one.

use std::collections::{BTreeMap, HashMap, VecDeque};

use evenkeel_event::clock::Timestamp;

use super::wire::{count, number, put_number, put_signed, signed};
use crate::AppendId;
use crate::disk::codec::Fields;

/// Appends that are remembered whosever they are.
const RECENT: usize = 1_024;
/// Processes whose newest append is remembered however old it is.
const PROCESSES: usize = 1_024;
/// Processes whose newest append is remembered for [`KEPT_MILLIS`]: a bound for the record's size.
const PROCESSES_MAX: usize = 4_096;
/// A day. It is judged by clocks of different machines: one that is wrong only makes a difference beyond [`PROCESSES`].
const KEPT_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// The newest appends, and the newest of each process. Positions grow with each append, so that they tell which is newer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Appends {
    newest: BTreeMap<u128, Newest>,
    recent: VecDeque<(AppendId, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Newest {
    number: u64,
    position: u64,
    at: Timestamp,
}

impl Appends {
    /// Where the append stands that was made under this identity.
    pub(super) fn position(&self, id: AppendId) -> Option<u64> {
        let newest = self.newest.get(&id.process)?;
        if newest.number == id.number {
            return Some(newest.position);
        }
        let mut recent = self.recent.iter().rev();
        recent
            .find(|(made, _)| *made == id)
            .map(|(_, position)| *position)
    }

    pub(super) fn remember(&mut self, id: AppendId, position: u64, now: Timestamp) {
        let newest = Newest {
            number: id.number,
            position,
            at: now,
        };
        self.newest.insert(id.process, newest);
        self.recent.push_back((id, position));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        while self.newest.len() > PROCESSES {
            let oldest = self.newest.iter().min_by_key(|(_, newest)| newest.position);
            let Some((process, oldest)) = oldest.map(|(process, oldest)| (*process, *oldest)) else {
                return;
            };
            let is_old = now.millis().saturating_sub(oldest.at.millis()) > KEPT_MILLIS;
            if !is_old && self.newest.len() <= PROCESSES_MAX {
                return;
            }
            self.newest.remove(&process);
        }
    }

    /// The newest of each process, oldest first, each as differences to the one before; then the recent ones, which name their
    /// process by its place in that list.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut newest: Vec<(&u128, &Newest)> = self.newest.iter().collect();
        newest.sort_by_key(|(_, newest)| newest.position);
        put_number(out, newest.len() as u64);
        let (mut position, mut at) = (0, 0);
        for (process, newest) in &newest {
            out.extend_from_slice(&process.to_le_bytes());
            put_number(out, newest.number);
            put_number(out, newest.position.saturating_sub(position));
            put_signed(out, newest.at.millis().wrapping_sub(at));
            (position, at) = (newest.position, newest.at.millis());
        }
        let index: HashMap<u128, u64> = newest
            .iter()
            .zip(0..)
            .map(|((process, _), at)| (**process, at))
            .collect();
        let recent: Vec<_> = self
            .recent
            .iter()
            .filter_map(|(id, position)| Some((*index.get(&id.process)?, id, *position)))
            .collect();
        put_number(out, recent.len() as u64);
        let mut before = 0;
        for (process, id, position) in recent {
            put_number(out, process);
            let newest = self.newest.get(&id.process).map_or(0, |newest| newest.number);
            put_signed(out, id.number.wrapping_sub(newest).cast_signed());
            put_number(out, position.saturating_sub(before));
            before = position;
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let mut read = Self::default();
        let mut processes = Vec::new();
        let (mut position, mut at) = (0_u64, 0_i64);
        for _ in 0..count(fields, 19)? {
            let process = fields.u128()?;
            let number_of = number(fields)?;
            position = position.checked_add(number(fields)?)?;
            at = at.wrapping_add(signed(fields)?);
            let newest = Newest {
                number: number_of,
                position,
                at: Timestamp::from_millis(at),
            };
            read.newest.insert(process, newest);
            processes.push((process, number_of));
        }
        let mut before = 0_u64;
        for _ in 0..count(fields, 3)? {
            let index = usize::try_from(number(fields)?).ok()?;
            let (process, newest) = *processes.get(index)?;
            let number_of = newest.wrapping_add(signed(fields)?.cast_unsigned());
            before = before.checked_add(number(fields)?)?;
            let id = AppendId {
                process,
                number: number_of,
            };
            read.recent.push_back((id, before));
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(process: u128, number: u64) -> AppendId {
        AppendId { process, number }
    }

    fn again(appends: &Appends) -> (Appends, usize) {
        let mut out = Vec::new();
        appends.write(&mut out);
        let mut fields = Fields::new(&out);
        let read = Appends::read(&mut fields).unwrap();
        assert!(fields.rest().is_empty());
        (read, out.len())
    }

    #[test]
    fn appends_come_back_and_take_little_room() {
        let mut appends = Appends::default();
        for number in 0..3_000 {
            let process = u128::from(number % 3) << 100;
            let now = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(number).unwrap());
            appends.remember(id(process, number / 3), number * 2, now);
        }
        let (read, bytes) = again(&appends);
        assert_eq!(read, appends);
        assert!(bytes < 6_000, "{bytes} bytes");
        assert_eq!(read.position(id(0, 999)), Some(2_997 * 2));
        assert_eq!(
            read.position(id(0, 999 - 300)),
            Some((2_997 - 900) * 2),
            "one of the last 1,024"
        );
        assert_eq!(read.position(id(0, 1)), None);
        assert_eq!(read.position(id(7, 1)), None);
    }

    #[test]
    fn the_newest_of_each_process_outlives_the_others() {
        let mut appends = Appends::default();
        let start = Timestamp::from_millis(0);
        for process in 0..2_000 {
            appends.remember(id(process, 5), u64::try_from(process).unwrap(), start);
        }
        for number in 0..5_000 {
            appends.remember(
                id(1 << 90, number),
                10_000 + number,
                Timestamp::from_millis(KEPT_MILLIS),
            );
        }
        assert_eq!(
            appends.position(id(0, 5)),
            Some(0),
            "within a day all are remembered"
        );
        appends.remember(
            id(1 << 90, 9_000),
            90_000,
            Timestamp::from_millis(KEPT_MILLIS + 1),
        );
        assert_eq!(appends.position(id(0, 5)), None);
        assert_eq!(
            appends.position(id(1_999, 5)),
            Some(1_999),
            "not the newest 1,024"
        );
        assert_eq!(again(&appends).0, appends);
    }

    #[test]
    fn the_worst_record_stays_within_its_bound() {
        let mut appends = Appends::default();
        for process in 0..10_000_u64 {
            let numbered = id(u128::from(process) << 64, u64::MAX - process);
            appends.remember(numbered, process << 40, Timestamp::from_millis(0));
        }
        let (read, bytes) = again(&appends);
        assert_eq!(read, appends);
        assert!(bytes < 180_000, "{bytes} bytes");
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let mut appends = Appends::default();
        appends.remember(id(1, 2), 3, Timestamp::from_millis(4));
        let mut out = Vec::new();
        appends.write(&mut out);
        for length in 0..out.len() {
            assert_eq!(Appends::read(&mut Fields::new(&out[..length])), None);
        }
    }
}
