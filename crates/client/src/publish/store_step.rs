//! A line's steps in the standby store, one after another. Each is repeated until it succeeds; a read that fails does not
//! hold up the others.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_broker::batch;
use evenkeel_event::TopicPartition;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::Stamping;
use evenkeel_flow::session::{Input, Payload as _, StampedRange, Stored};
use evenkeel_store::{AlarmKind, Error, Piece, Place, Row, SharedStandby, Standby, StoredRow};

use super::batch::{Batch, Gathering};
use super::done::Done;
use super::engine::Engine;
use super::torn;
use crate::failpoint::{Point, pass};

/// Most bytes that are read at once.
pub(super) const READ_BYTES_MAX: usize = 512 << 10;
/// Rows without a stamp are joined up to this size.
const JOINED_BYTES: usize = 256 << 10;
/// Wait before a step is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A step.
#[derive(Debug, Clone)]
pub(super) enum StoreStep {
    Stamp { write: u64, stamps: Vec<StampedRange> },
    Read { from: u64, events_max: u32 },
    Remove { below: u64 },
}

/// A batch as a row.
pub(super) fn row(batch: &Batch, stamping: Option<Stamping>, appended_at: Timestamp) -> Row {
    Row {
        kind: batch.kind(),
        records: batch.sealed(),
        count: u32::try_from(batch.count()).unwrap_or(0),
        appended_at,
        stamping,
    }
}

impl Engine {
    pub(super) fn order_step(&mut self, id: u32, step: StoreStep) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        line.steps.push_back(step);
        if line.steps.len() == 1 {
            self.begin_step(id);
        }
    }

    fn begin_step(&mut self, id: u32) {
        let Some(step) = self.lines.get(&id).and_then(|line| line.steps.front()).cloned() else {
            return;
        };
        let Some(place) = self.place_of(id) else { return };
        let Some(line) = self.lines.get(&id) else { return };
        let access = Access {
            store: self.store.clone(),
            term: self.fleet.as_ref().and_then(|fleet| fleet.term_of(&line.role)),
        };
        self.work.push(Box::pin(async move {
            let input = make(access, place, step.clone()).await;
            Done::Stored {
                line: id,
                step,
                input,
            }
        }));
    }

    pub(super) fn stored(&mut self, id: u32, step: &StoreStep, input: Result<Input<Batch>, Failure>) {
        let Some(line) = self.lines.get_mut(&id) else {
            // It drained a lane that another process drains now.
            if let StoreStep::Read { events_max, .. } = step {
                self.has_read(*events_max, 0);
            }
            return;
        };
        line.steps.pop_front();
        self.begin_step(id);
        let input = match input {
            Ok(input) => input,
            Err(failure) => return self.read_again(id, step, failure),
        };
        if let (StoreStep::Read { events_max, .. }, Input::Read { batches }) = (step, &input) {
            let read: i32 = batches.iter().map(|batch| batch.payload.count()).sum();
            self.has_read(*events_max, u32::try_from(read).unwrap_or(0));
            self.turns.has_come(id, batches);
            self.give_turns();
            self.clear_of(id, &[AlarmKind::DamagedRows]);
        }
        if let Some(line) = self.lines.get_mut(&id)
            && let Input::Removed { below } = input
        {
            let from = line.drained_to.max(line.machine.parked().start);
            self.shared.count_drained(below.saturating_sub(from));
            line.drained_to = below;
            self.turns.has_left(id, below);
            self.give_turns();
        }
        self.inbox.push_back((id, input));
    }

    /// A read that failed waits for another turn, behind the steps for what was read before it.
    fn read_again(&mut self, id: u32, step: &StoreStep, failure: Failure) {
        if matches!(failure, Failure::TakenOver) {
            return;
        }
        if let (Failure::Damaged(message), Some(line)) = (failure, self.lines.get(&id)) {
            let TopicPartition { topic, partition } = line.partition.clone();
            self.raise(AlarmKind::DamagedRows, topic, Some(partition), message);
        }
        if let StoreStep::Read { from, events_max } = *step {
            self.has_read(events_max, 0);
            self.turns.has_come(id, &[]);
            self.order_read(id, from);
        }
    }
}

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The store did not make it.
    #[error(transparent)]
    Store(#[from] Error),
    /// What the store gave back is not what was parked.
    #[error("{0}")]
    Damaged(String),
    /// Another process drains the lane. This one is told so soon, and does nothing more.
    #[error("another process drains the lane")]
    TakenOver,
}

/// The store, and how its stamps are written.
struct Access {
    store: Arc<dyn Standby>,
    /// Only as long as nobody else drains the lane.
    term: Option<(Arc<dyn SharedStandby>, u64)>,
}

impl Access {
    async fn store_stamps(&self, place: &Place, stamps: Vec<StampedRange>) -> Result<(), Failure> {
        let is_ours = match &self.term {
            None => self.store.store_stamps(place, stamps).await.map(|()| true)?,
            Some((store, term)) => store.store_stamps_in(place, *term, stamps).await?,
        };
        is_ours.then_some(()).ok_or(Failure::TakenOver)
    }
}

/// Makes the step, however often it has to be tried; a read is tried once.
async fn make(access: Access, place: Place, step: StoreStep) -> Result<Input<Batch>, Failure> {
    let mut is_told = false;
    loop {
        let error = match attempt(&access, &place, &step).await {
            Ok(input) => return Ok(input),
            Err(Failure::TakenOver) => return Err(Failure::TakenOver),
            Err(error) => error,
        };
        // Damage is told by its alarm.
        if matches!(error, Failure::Store(_)) && !std::mem::replace(&mut is_told, true) {
            tracing::error!(topic = %place.topic, partition = ?place.partition, %error, "parked events cannot be sent on");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
        if let StoreStep::Read { .. } = step {
            return Err(error);
        }
    }
}

async fn attempt(access: &Access, place: &Place, step: &StoreStep) -> Result<Input<Batch>, Failure> {
    let store = &*access.store;
    match step {
        StoreStep::Stamp { write, stamps } => {
            pass(Point::DrainStamp);
            access.store_stamps(place, stamps.clone()).await?;
            Ok(Input::StampsStored { write: *write })
        }
        StoreStep::Remove { below } => {
            pass(Point::Remove);
            store.remove(place, *below).await?;
            Ok(Input::Removed { below: *below })
        }
        StoreStep::Read { from, events_max } => {
            let piece = read_whole(access, place, *from).await?;
            if piece.rows.is_empty() && store.span(place).await?.tail > *from {
                return Err(unreadable(*from));
            }
            let batches = read(piece, *from, u64::from(*events_max))?;
            Ok(Input::Read { batches })
        }
    }
}

/// What stands from the position `from` on. Where records of a stamped batch are lost, what is left of it is stored as
/// undecided first.
async fn read_whole(access: &Access, place: &Place, from: u64) -> Result<Piece, Failure> {
    let store = &*access.store;
    let piece = store.read(place, from, READ_BYTES_MAX).await?;
    let rests = torn::rests(&piece, from);
    if rests.is_empty() {
        return Ok(piece);
    }
    access.store_stamps(place, rests).await?;
    Ok(store.read(place, from, READ_BYTES_MAX).await?)
}

/// The batches from the position `from` on, of at most `events_max` records: a stamped one as it was stamped, also when it
/// has more, others joined.
fn read(piece: Piece, from: u64, events_max: u64) -> Result<Vec<Stored<Batch>>, Failure> {
    let end = piece.rows.last().map_or(from, end_of);
    let wanted = end.min(from.saturating_add(events_max));
    let mut stamps = piece
        .stamps
        .iter()
        .filter(|stamp| stamp.position >= from)
        .peekable();
    let (mut batches, mut at) = (Vec::new(), from);
    while at < wanted {
        let stamped = stamps.next_if(|stamp| stamp.position == at);
        let until = match stamped {
            Some(stamp) => at + u64::try_from(stamp.stamping.stamp.count).unwrap_or(1),
            None => {
                let limit = stamps.peek().map_or(wanted, |stamp| stamp.position.min(wanted));
                unstamped_until(&piece.rows, at, limit)
            }
        };
        let Some(payload) = cut(&piece.rows, at, until).map_err(|_| unreadable(at))? else {
            break;
        };
        batches.push(Stored {
            position: at,
            payload,
            stamping: stamped.map(|stamp| stamp.stamping),
        });
        at = until;
    }
    // No batch at all would say that the lane ends here.
    if batches.is_empty() && !piece.rows.is_empty() {
        return Err(unreadable(from));
    }
    Ok(batches)
}

pub(super) fn unreadable(from: u64) -> Failure {
    Failure::Damaged(format!(
        "the records from position {from} on cannot be read back, and hold up what is behind them: evenkeel standby list \
         shows the damage, evenkeel standby skip gives it up"
    ))
}

/// Where a batch of unstamped records from `at` on ends, at the latest at `limit` and before a row that is missing: behind
/// whole rows of about [`JOINED_BYTES`].
fn unstamped_until(rows: &[StoredRow], at: u64, limit: u64) -> u64 {
    let (mut until, mut bytes) = (at, 0);
    for row in rows.iter().filter(|row| end_of(row) > at) {
        bytes += row.row.records.len();
        if row.position > until || (until > at && bytes > JOINED_BYTES) {
            break;
        }
        until = end_of(row).min(limit);
        if until == limit {
            break;
        }
    }
    until
}

/// The records at `from..until` as one batch; `None` when some of them are missing.
fn cut(rows: &[StoredRow], from: u64, until: u64) -> Result<Option<Batch>, batch::Error> {
    let parts: Vec<(&StoredRow, i32, i32)> = rows
        .iter()
        .filter(|row| end_of(row) > from && row.position < until)
        .map(|row| {
            let first = i32::try_from(from.saturating_sub(row.position)).unwrap_or(0);
            let last = i32::try_from(until.min(end_of(row)) - row.position).unwrap_or(0);
            (row, first, last)
        })
        .collect();
    let held: i64 = parts.iter().map(|(_, first, last)| i64::from(last - first)).sum();
    if u64::try_from(held).unwrap_or(0) != until - from {
        return Ok(None);
    }
    let revived = |row: &StoredRow| Batch::revive(row).ok_or(batch::Error::NotABatch);
    if let [(row, first, last)] = parts.as_slice() {
        return revived(row)?.slice(*first, *last).map(Some);
    }
    let Some((head, ..)) = parts.first() else {
        return Ok(None);
    };
    let mut gathering = Gathering::new(head.row.kind);
    for (row, first, last) in parts {
        gathering.take(&revived(row)?, first, last)?;
    }
    gathering.close().map(Some)
}

pub(super) fn end_of(row: &StoredRow) -> u64 {
    row.position + u64::from(row.row.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_broker::batch::{Builder, Compression};
    use evenkeel_event::{Header, TopicId, headers};
    use evenkeel_flow::Stamp;
    use evenkeel_store::{AppendId, Config, DiskStandby, Kind};

    fn stored(position: u64, ids: &[&str]) -> StoredRow {
        let mut builder = Builder::new(1 << 20);
        for id in ids {
            let headers = [Header::new(headers::CE_ID, (*id).to_owned())];
            builder
                .push(None, Some(id.as_bytes()), &headers, Timestamp::from_millis(0))
                .unwrap();
        }
        let batch = Batch::close(Kind::Event, builder, Compression::None).unwrap();
        let row = row(&batch, None, Timestamp::from_millis(0));
        StoredRow { position, row }
    }

    fn stamp(position: u64, count: i32) -> StampedRange {
        StampedRange {
            position,
            stamping: Stamping {
                stamp: Stamp {
                    producer_id: 1,
                    epoch: 0,
                    base_sequence: 0,
                    count,
                },
                at: Timestamp::from_millis(0),
                topic_id: TopicId::UNKNOWN,
                search_from: None,
                possible_double: false,
            },
        }
    }

    fn seen(rows: Vec<StoredRow>, stamps: Vec<StampedRange>, from: u64) -> Vec<(u64, String, bool)> {
        read(Piece { rows, stamps }, from, u64::MAX)
            .unwrap()
            .into_iter()
            .map(|batch| {
                let ids = batch.payload.ids().unwrap().concat();
                (batch.position, ids, batch.stamping.is_some())
            })
            .collect()
    }

    fn batch(position: u64, ids: &str, stamped: bool) -> (u64, String, bool) {
        (position, ids.to_owned(), stamped)
    }

    #[test]
    fn stamped_batches_are_read_as_they_were_stamped_and_others_are_joined() {
        let rows = || {
            vec![
                stored(4, &["a", "b", "c"]),
                stored(7, &["d"]),
                stored(8, &["e", "f"]),
            ]
        };
        assert_eq!(seen(rows(), Vec::new(), 4), [batch(4, "abcdef", false)]);
        assert_eq!(seen(rows(), Vec::new(), 6), [batch(6, "cdef", false)]);
        assert_eq!(
            seen(rows(), vec![stamp(4, 3), stamp(7, 2)], 4),
            [batch(4, "abc", true), batch(7, "de", true), batch(9, "f", false)]
        );
        assert_eq!(
            seen(rows(), vec![stamp(5, 1), stamp(8, 2)], 4),
            [
                batch(4, "a", false),
                batch(5, "b", true),
                batch(6, "cd", false),
                batch(8, "ef", true)
            ]
        );
    }

    #[test]
    fn no_more_is_read_than_is_wanted_but_a_stamped_batch_is_whole() {
        let some = |from, events_max, stamps| {
            let rows = vec![stored(4, &["a", "b", "c"]), stored(7, &["d", "e"])];
            let batches = read(Piece { rows, stamps }, from, events_max).unwrap();
            batches
                .into_iter()
                .map(|batch| batch.payload.ids().unwrap().concat())
                .collect::<Vec<_>>()
        };
        assert_eq!(some(4, 2, Vec::new()), ["ab"]);
        assert_eq!(some(5, 3, Vec::new()), ["bcd"]);
        assert_eq!(some(4, 1, vec![stamp(4, 2)]), ["ab"]);
        assert_eq!(some(4, 3, vec![stamp(4, 2)]), ["ab", "c"]);
        assert_eq!(some(4, 9, vec![stamp(7, 2)]), ["abc", "de"]);
    }

    #[test]
    fn reading_ends_before_a_gap_and_says_so_at_one() {
        let rows = || vec![stored(4, &["a"]), stored(5, &["b"]), stored(7, &["d"])];
        let before = [batch(4, "ab", false)];
        assert_eq!(seen(rows(), Vec::new(), 4), before);
        assert_eq!(seen(rows(), vec![stamp(7, 1)], 4), before);
        assert_eq!(
            seen(rows(), vec![stamp(5, 1), stamp(7, 1)], 4),
            [batch(4, "a", false), batch(5, "b", true)]
        );
        for (from, stamps) in [(3, Vec::new()), (6, Vec::new()), (6, vec![stamp(6, 1)])] {
            let rows = rows();
            assert!(read(Piece { rows, stamps }, from, u64::MAX).is_err());
        }
    }

    /// The store in `directory` with four records at the positions 0 to 3, of which the second cannot be read back.
    async fn damaged(directory: &std::path::Path, at: &Place, stamps: Vec<StampedRange>) -> DiskStandby {
        let config = Config::new(directory);
        let store = DiskStandby::open(&config).unwrap();
        for (number, id) in (0..).zip(["one", "two", "three", "four"]) {
            let id_of_append = AppendId { process: 1, number };
            let row = stored(0, &[id]).row;
            store.append(at, id_of_append, vec![row]).await.unwrap();
        }
        store.store_stamps(at, stamps).await.unwrap();
        drop(store);
        let log = directory.join(format!("{:016}.log", 1));
        let mut bytes = std::fs::read(&log).unwrap();
        let found = bytes.windows(3).position(|window| window == b"two").unwrap();
        bytes[found] ^= 1;
        std::fs::write(&log, bytes).unwrap();
        DiskStandby::open(&config).unwrap()
    }

    /// The batch of the first three may have landed: what is left of it is searched for, on both sides of what is lost.
    #[tokio::test]
    async fn a_stamped_batch_that_lost_a_record_is_left_undecided() {
        let directory = tempfile::tempdir().unwrap();
        let at = Place {
            topic: evenkeel_event::TopicName::new("orders").unwrap(),
            partition: Some(0),
        };
        let store = damaged(directory.path(), &at, vec![stamp(0, 3)]).await;
        let access = Access {
            store: Arc::new(store),
            term: None,
        };
        let read = async |from| {
            let step = StoreStep::Read { from, events_max: 9 };
            attempt(&access, &at, &step).await
        };
        let undecided = |sequence| {
            let mut stamping = stamp(0, 1).stamping;
            stamping.stamp.base_sequence = sequence;
            Some(stamping)
        };
        let seen = |input: Result<Input<Batch>, Failure>| match input {
            Ok(Input::Read { batches }) => batches
                .into_iter()
                .map(|batch| {
                    (
                        batch.position,
                        batch.payload.ids().unwrap().concat(),
                        batch.stamping,
                    )
                })
                .collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(seen(read(0).await), [(0, "one".to_owned(), undecided(0))]);
        assert!(read(1).await.is_err(), "a lost record stops its lane");
        let behind = [
            (2, "three".to_owned(), undecided(2)),
            (3, "four".to_owned(), None),
        ];
        assert_eq!(seen(read(2).await), behind);
        assert_eq!(seen(read(4).await), [], "the end is no damage");
    }
}
