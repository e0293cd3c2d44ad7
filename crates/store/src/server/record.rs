//! The one record of a place, and what can be done to it. No I/O.

use std::collections::BTreeMap;

use bytes::Bytes;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::diversion::{Diversion, Phase, Versioned};
use evenkeel_flow::session::{ProducerEpoch, StampedRange};

use super::appends::Appends;
use super::block;
use super::keeper::Block;
use super::wire::{count, diversion, number, put_diversion, put_number, put_signed, signed};
use crate::disk::codec::{Fields, put_stamping};
use crate::disk::stamps::{Stamps, span_of};
use crate::{AppendId, AppendIn, Error, Place, PlaceStats, Row, Span};

const FORMAT: u8 = 2;
/// Stamps of a place at most, so that its record stays below the 400 KB that a server may take.
const STAMPS_MAX: usize = 2_048;
/// Producer ids of a place at most.
const EPOCHS_MAX: usize = 4_096;

/// What is known of a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Record {
    pub(super) span: Span,
    pub(super) diversion: Versioned<Diversion>,
    pub(super) stamps: Stamps,
    /// Bytes of all rows that the place ever had.
    appended_bytes: u64,
    /// Bytes of those that are gone.
    removed_bytes: u64,
    /// When the oldest row was parked.
    oldest: Timestamp,
    epochs: BTreeMap<i64, i16>,
    appends: Appends,
}

/// The row that becomes the oldest when what is below a position is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// Nothing stood there when it was looked for.
    Nothing,
    /// It cannot be read.
    Damaged,
    /// It was parked then, behind so many bytes of the place.
    Row { appended_at: Timestamp, before: u64 },
}

/// What is asked of a place, each as one step.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// To append, in any phase or in an epoch alone.
    Append {
        epoch: Option<u64>,
        id: AppendId,
        rows: Vec<Row>,
    },
    /// To keep stamps, in any term or in one alone.
    Stamps {
        term: Option<u64>,
        stamps: Vec<StampedRange>,
    },
    /// To remove what is below a position.
    Remove { below: u64, front: Front },
    /// To write the diversion over a version and, where it is told, at a tail.
    Divert {
        expected: u64,
        tail: Option<u64>,
        diversion: Diversion,
    },
}

/// What became of an [`Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Append(AppendIn),
    /// False: it is not the term.
    Stamps(bool),
    /// False: the row at the front has to be looked for again.
    Remove(bool),
    Divert(Option<u64>),
}

/// A record that is being changed.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) record: Record,
    pub(super) blocks: Vec<Block>,
    pub(super) is_changed: bool,
}

/// What may still be appended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Bytes in all places.
    pub(super) used_bytes: u64,
    /// Most of them.
    pub(super) limit_bytes: u64,
}

impl Draft {
    pub(super) fn new(record: Record) -> Self {
        Self {
            record,
            blocks: Vec::new(),
            is_changed: false,
        }
    }

    /// Decides on one ask after another; each sees what those before it changed.
    pub(super) fn decide(
        &mut self,
        place: &Place,
        ask: &Ask,
        room: &mut Room,
        now: Timestamp,
    ) -> Result<Answer, Error> {
        match ask {
            Ask::Append { epoch, id, rows } => {
                let made = self.append_once(place, *epoch, *id, rows, room, now);
                made.map(Answer::Append)
            }
            Ask::Stamps { term, stamps } => {
                if term.is_some_and(|term| term != self.record.diversion.record.term) {
                    return Ok(Answer::Stamps(false));
                }
                self.store_stamps(place, stamps)?;
                Ok(Answer::Stamps(true))
            }
            Ask::Remove { below, front } => Ok(Answer::Remove(self.remove(*below, *front))),
            Ask::Divert {
                expected,
                tail,
                diversion,
            } => Ok(Answer::Divert(self.divert(*expected, *tail, *diversion))),
        }
    }

    fn append_once(
        &mut self,
        place: &Place,
        epoch: Option<u64>,
        id: AppendId,
        rows: &[Row],
        room: &mut Room,
        now: Timestamp,
    ) -> Result<AppendIn, Error> {
        if let Some(position) = self.record.appends.position(id) {
            return Ok(AppendIn::Made(position));
        }
        let diversion = self.record.diversion.record;
        if epoch.is_some_and(|epoch| epoch != diversion.epoch || !diversion.phase.takes_appends()) {
            return Ok(AppendIn::Passed);
        }
        let needed_bytes = bytes_of(rows);
        if room.used_bytes.saturating_add(needed_bytes) > room.limit_bytes {
            return Err(Error::Full {
                topic: place.topic.clone(),
                used_bytes: room.used_bytes,
                limit_bytes: room.limit_bytes,
                needed_bytes,
            });
        }
        let position = self.append(place, rows)?;
        self.record.appends.remember(id, position, now);
        room.used_bytes = room.used_bytes.saturating_add(needed_bytes);
        Ok(AppendIn::Made(position))
    }

    /// Appends rows, whoever appended them before.
    pub(super) fn append(&mut self, place: &Place, rows: &[Row]) -> Result<u64, Error> {
        if rows.is_empty() || rows.iter().any(|row| row.count == 0) {
            return Err(nothing_at(place, 0));
        }
        let position = self.record.span.tail;
        let mut at = position;
        let mut stamps = Vec::new();
        for row in rows {
            stamps.extend(row.stamping.map(|stamping| StampedRange {
                position: at,
                stamping,
            }));
            at = at.saturating_add(u64::from(row.count));
        }
        self.stamp(place, &stamps)?;
        let record = &mut self.record;
        if record.span.is_empty() {
            record.oldest = rows.first().map_or(record.oldest, |row| row.appended_at);
        }
        let blocks = block::write(place, position, record.appended_bytes, rows);
        self.blocks.extend(blocks);
        record.span.tail = at;
        record.appended_bytes = record.appended_bytes.saturating_add(bytes_of(rows));
        self.is_changed = true;
        Ok(position)
    }

    fn store_stamps(&mut self, place: &Place, stamps: &[StampedRange]) -> Result<(), Error> {
        let span = self.record.span;
        let outside = stamps.iter().find(|range| {
            let covered = span_of(range);
            covered.is_empty() || covered.head < span.head || covered.tail > span.tail
        });
        match outside {
            Some(range) => Err(nothing_at(place, range.position)),
            None => self.stamp(place, stamps),
        }
    }

    /// All or none, also at a limit.
    fn stamp(&mut self, place: &Place, stamps: &[StampedRange]) -> Result<(), Error> {
        if stamps.is_empty() {
            return Ok(());
        }
        let (mut kept, mut epochs) = (self.record.stamps.clone(), self.record.epochs.clone());
        for range in stamps {
            let stamp = range.stamping.stamp;
            let highest = epochs.entry(stamp.producer_id).or_insert(stamp.epoch);
            *highest = stamp.epoch.max(*highest);
            kept.insert(*range);
        }
        for (found, limit, what) in [
            (kept.len(), STAMPS_MAX, "stamped batches"),
            (epochs.len(), EPOCHS_MAX, "producers"),
        ] {
            if found > limit {
                let topic = place.topic.clone();
                return Err(Error::Crowded { topic, what, limit });
            }
        }
        (self.record.stamps, self.record.epochs) = (kept, epochs);
        self.is_changed = true;
        Ok(())
    }

    /// False: something stands at `below` of which `front` knows nothing.
    pub(super) fn remove(&mut self, below: u64, front: Front) -> bool {
        let record = &mut self.record;
        let below = below.min(record.span.tail);
        if below <= record.span.head {
            return true;
        }
        if below < record.span.tail {
            match front {
                Front::Nothing => return false,
                // What it takes and since when is not known: both stay as they were.
                Front::Damaged => {}
                Front::Row { appended_at, before } => {
                    record.oldest = appended_at;
                    record.removed_bytes = before;
                }
            }
        } else {
            record.removed_bytes = record.appended_bytes;
            record.epochs.clear();
        }
        record.span.head = below;
        record.stamps.remove(below);
        self.is_changed = true;
        true
    }

    fn divert(&mut self, expected: u64, tail: Option<u64>, diversion: Diversion) -> Option<u64> {
        let versioned = &mut self.record.diversion;
        let ends_there = tail.is_none_or(|tail| tail == self.record.span.tail);
        (versioned.version == expected && ends_there).then(|| {
            versioned.version += 1;
            versioned.record = diversion;
            self.is_changed = true;
            versioned.version
        })
    }
}

impl Record {
    /// Whether a look over all places must find it.
    pub(super) fn is_listed(&self) -> bool {
        !self.span.is_empty() || self.diversion.record.phase != Phase::Open
    }

    /// Bytes of the rows that it holds.
    pub(super) const fn bytes(&self) -> u64 {
        self.appended_bytes.saturating_sub(self.removed_bytes)
    }

    /// Bytes of the rows that are gone.
    pub(super) const fn removed_bytes(&self) -> u64 {
        self.removed_bytes
    }

    /// What it holds; `None` when that is nothing.
    pub(super) fn stats(&self, place: &Place) -> Option<PlaceStats> {
        let epochs = self.epochs.iter().map(|(producer_id, epoch)| ProducerEpoch {
            producer_id: *producer_id,
            epoch: *epoch,
        });
        (!self.span.is_empty()).then(|| PlaceStats {
            place: place.clone(),
            events: self.span.tail - self.span.head,
            bytes: self.bytes(),
            oldest: self.oldest,
            span: self.span,
            epochs: epochs.collect(),
        })
    }

    pub(super) fn write(&self) -> Bytes {
        let mut out = vec![FORMAT];
        put_number(&mut out, self.span.head);
        put_number(&mut out, self.span.tail.saturating_sub(self.span.head));
        put_number(&mut out, self.appended_bytes);
        put_number(&mut out, self.bytes());
        put_signed(&mut out, self.oldest.millis());
        put_number(&mut out, self.diversion.version);
        put_diversion(&mut out, &self.diversion.record);
        put_number(&mut out, self.epochs.len() as u64);
        for (producer_id, epoch) in &self.epochs {
            put_signed(&mut out, *producer_id);
            out.extend_from_slice(&epoch.to_le_bytes());
        }
        put_number(&mut out, self.stamps.len() as u64);
        for (span, stamping) in self.stamps.all() {
            put_number(&mut out, span.head);
            out.push(u8::from(stamping.is_some()));
            match stamping {
                Some(stamping) => put_stamping(&mut out, &stamping),
                None => put_number(&mut out, span.tail.saturating_sub(span.head)),
            }
        }
        self.appends.write(&mut out);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.into()
    }

    /// `Err` says why it is no record of this version.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let (body, told) = bytes.split_last_chunk::<4>().ok_or("it is too short")?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*told) {
            return Err("its checksum is wrong");
        }
        let mut fields = Fields::new(body);
        if fields.u8() != Some(FORMAT) {
            return Err("it has another format");
        }
        read_fields(&mut fields)
            .filter(|_| fields.rest().is_empty())
            .ok_or("its fields do not fit")
    }
}

fn read_fields(fields: &mut Fields<'_>) -> Option<Record> {
    let head = number(fields)?;
    let tail = head.checked_add(number(fields)?)?;
    let appended_bytes = number(fields)?;
    let mut record = Record {
        span: Span { head, tail },
        appended_bytes,
        removed_bytes: appended_bytes.checked_sub(number(fields)?)?,
        oldest: Timestamp::from_millis(signed(fields)?),
        ..Record::default()
    };
    record.diversion.version = number(fields)?;
    record.diversion.record = diversion(fields)?;
    for _ in 0..count(fields, 3)? {
        let producer_id = signed(fields)?;
        record.epochs.insert(producer_id, fields.i16()?);
    }
    for _ in 0..count(fields, 3)? {
        let position = number(fields)?;
        if fields.u8()? == 0 {
            let tail = position.checked_add(number(fields)?)?;
            record.stamps.void(Span { head: position, tail });
        } else {
            let stamping = fields.stamping()?;
            record.stamps.insert(StampedRange { position, stamping });
        }
    }
    record.appends = Appends::read(fields)?;
    Some(record)
}

pub(super) fn bytes_of(rows: &[Row]) -> u64 {
    rows.iter().map(|row| row.records.len() as u64).sum()
}

fn nothing_at(place: &Place, position: u64) -> Error {
    Error::NoRows {
        topic: place.topic.clone(),
        position,
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_event::{TopicId, TopicName};
    use evenkeel_flow::{Stamp, Stamping};

    use super::*;
    use crate::Kind;

    fn place() -> Place {
        Place {
            topic: TopicName::new("orders").unwrap(),
            partition: Some(0),
        }
    }

    fn row(sequence: Option<i32>) -> Row {
        let stamping = sequence.map(|base_sequence| Stamping {
            stamp: Stamp {
                producer_id: 7_000,
                epoch: 1,
                base_sequence,
                count: 1,
            },
            at: Timestamp::from_millis(1_700_000_000_000),
            topic_id: TopicId([3; 16]),
            search_from: Some(1),
            possible_double: true,
        });
        Row {
            kind: Kind::Event,
            records: Bytes::from_static(b"abc"),
            count: 1,
            appended_at: Timestamp::from_millis(4),
            stamping,
        }
    }

    fn full(stamps: usize) -> Draft {
        let mut draft = Draft::new(Record::default());
        for sequence in 0..i32::try_from(stamps).unwrap() {
            draft.append(&place(), &[row(Some(sequence))]).unwrap();
        }
        draft
    }

    #[test]
    fn a_record_comes_back() {
        let mut draft = full(20);
        let under = AppendId {
            process: 9,
            number: 4,
        };
        let mut room = Room {
            used_bytes: 0,
            limit_bytes: u64::MAX,
        };
        let ask = Ask::Append {
            epoch: None,
            id: under,
            rows: vec![row(None), row(None)],
        };
        let now = Timestamp::from_millis(5);
        let made = draft.decide(&place(), &ask, &mut room, now).unwrap();
        assert_eq!(made, Answer::Append(AppendIn::Made(20)));
        let mut wide = row(Some(50)).stamping.unwrap();
        wide.stamp.count = 2;
        let range = StampedRange {
            position: 5,
            stamping: wide,
        };
        draft.store_stamps(&place(), &[range]).unwrap();
        range_void(&mut draft);
        assert!(draft.remove(
            2,
            Front::Row {
                appended_at: now,
                before: 6
            }
        ));
        draft.divert(
            0,
            None,
            Diversion {
                term: 3,
                ..Diversion::default()
            },
        );
        let bytes = draft.record.write();
        assert_eq!(Record::read(&bytes), Ok(draft.record));
        for byte in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[byte] ^= 1;
            assert!(Record::read(&damaged).is_err());
            assert!(Record::read(&bytes[..byte]).is_err());
        }
    }

    /// A stamp over the middle of a wide one leaves the rest of that void.
    fn range_void(draft: &mut Draft) {
        let narrow = StampedRange {
            position: 6,
            stamping: row(Some(90)).stamping.unwrap(),
        };
        draft.store_stamps(&place(), &[narrow]).unwrap();
        let middle = Span { head: 5, tail: 6 };
        assert_eq!(draft.record.stamps.overlapping(middle), [(middle, None)]);
    }

    #[test]
    fn a_record_has_a_limit_and_nothing_of_what_exceeds_it_is_kept() {
        let mut draft = full(STAMPS_MAX);
        let before = draft.record.clone();
        let refused = draft.append(&place(), &[row(None), row(Some(0))]);
        assert!(matches!(
            refused,
            Err(Error::Crowded {
                limit: STAMPS_MAX,
                ..
            })
        ));
        assert_eq!(draft.record, before);
        assert!(before.write().len() < 130_000, "{} bytes", before.write().len());
    }

    #[test]
    fn a_removal_knows_the_row_that_comes_next() {
        let mut draft = full(3);
        assert!(!draft.remove(1, Front::Nothing));
        assert_eq!(draft.record.span.head, 0);
        let front = Front::Row {
            appended_at: Timestamp::from_millis(9),
            before: 3,
        };
        assert!(draft.remove(1, front));
        let stats = draft.record.stats(&place()).unwrap();
        assert_eq!((stats.bytes, stats.oldest.millis(), stats.events), (6, 9, 2));
        assert!(draft.remove(2, Front::Damaged));
        assert_eq!(draft.record.stats(&place()).unwrap().bytes, 6);
        assert!(draft.remove(u64::MAX, Front::Nothing));
        assert_eq!((draft.record.bytes(), draft.record.stats(&place())), (0, None));
    }
}
