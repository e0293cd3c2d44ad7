//! The one thread that writes: it gathers what waits, writes it as one frame, syncs, and answers all of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use evenkeel_flow::Stamping;
use evenkeel_flow::session::{ProducerEpoch, StampedRange};

use super::codec::{Totals, row_bytes};
use super::frame::{Draft, HEADER_BYTES, Step};
use super::ledger::{Ledger, Segment};
use super::open::{placed, storage};
use super::reserve::Reserve;
use super::stamps::span_of;
use super::{Config, is_disk_full, segment};
use crate::{AppendId, Error, Place, Row, Span, disk_faults};

/// Most bytes that are gathered into one commit, beyond its last request.
const GROUP_BYTES: u64 = 8 << 20;
/// Most requests that are gathered into one commit.
const GROUP_REQUESTS: usize = 4_096;
/// Most bytes of one request.
const REQUEST_BYTES_MAX: u64 = 64 << 20;
/// More than a step without rows takes.
const STEP_BYTES: usize = 400;
/// More than the frame around steps takes.
const FRAME_BYTES: u64 = 4_096;
/// Pause while more requests are expected.
const GATHER_PAUSE: Duration = Duration::from_micros(20);

/// Tells the asker: the position of what was appended, or 0.
pub(super) type Answer = oneshot::Sender<Result<u64, Error>>;

/// One step that somebody asked for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) place: Place,
    pub(super) change: Change,
    pub(super) answer: Answer,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Change {
    Append { id: AppendId, rows: Vec<Row> },
    Stamp { stamps: Vec<StampedRange> },
    Remove { below: u64 },
    Place { below: u64, rows: Vec<(Place, Row)> },
}

/// The file that is written. A trait so that tests can let it fail.
pub(super) trait Medium: Send + std::fmt::Debug {
    fn write(&mut self, frame: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts off what lies behind `bytes`, durably.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
}

impl Medium for File {
    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        disk_faults::meet()?;
        self.write_all(frame)
    }

    fn sync(&mut self) -> io::Result<()> {
        disk_faults::meet_sync()?;
        self.sync_data()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        disk_faults::meet()?;
        self.set_len(bytes)?;
        self.seek(io::SeekFrom::End(0))?;
        self.sync_data()
    }
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Committer {
    config: Config,
    ledger: Arc<Mutex<Ledger>>,
    file: Box<dyn Medium>,
    buffer: Vec<u8>,
    stopped: Option<String>,
    reserve: Reserve,
}

/// How many are expected to ask again soon after they were answered, and how long it is worth waiting for them: a commit
/// costs the same for one as for all, and those who were answered last would else always miss the next one.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    expected: usize,
    wait_max: Duration,
}

/// Takes what waits, and what is expected within the pace's wait.
fn gather(first: Request, requests: &mut mpsc::Receiver<Request>, pace: Pace) -> Vec<Request> {
    let mut bytes = first.change.bytes();
    let mut group = vec![first];
    let start = Instant::now();
    while bytes < GROUP_BYTES && group.len() < GROUP_REQUESTS {
        if let Ok(next) = requests.try_recv() {
            bytes += next.change.bytes();
            group.push(next);
        } else if group.len() < pace.expected && start.elapsed() < pace.wait_max {
            std::thread::sleep(GATHER_PAUSE);
        } else {
            break;
        }
    }
    group
}

impl Change {
    fn is_append(&self) -> bool {
        matches!(self, Self::Append { .. })
    }

    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Append { rows, .. } => rows.iter().map(row_bytes).sum(),
            Self::Place { rows, .. } => rows.iter().map(|(_, row)| row_bytes(row)).sum(),
            Self::Stamp { stamps } => stamps.len() * STEP_BYTES,
            Self::Remove { .. } => 0,
        };
        (bytes + STEP_BYTES) as u64
    }
}

impl Committer {
    pub(super) fn new(config: Config, ledger: Arc<Mutex<Ledger>>, file: Box<dyn Medium>) -> Self {
        // The oldest segment that is being moved, and the one that was written when that began.
        let unplaced_max = 2 * (config.roll_at() + GROUP_BYTES);
        let reserve = Reserve::open(&config.directory, unplaced_max);
        let mut committer = Self {
            config,
            ledger,
            file,
            buffer: Vec::new(),
            stopped: None,
            reserve,
        };
        committer.clean();
        committer
    }

    /// Serves requests until all who may ask are gone.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut pace = Pace::default();
        while let Some(first) = requests.blocking_recv() {
            let group = gather(first, &mut requests, pace);
            let count = group.len();
            let start = Instant::now();
            self.commit(group);
            pace = Pace {
                expected: count + requests.len(),
                wait_max: start.elapsed() / 8,
            };
        }
    }

    fn commit(&mut self, group: Vec<Request>) {
        if let Err(error) = self.go_on() {
            return answer_all(group, &error);
        }
        if let Err(error) = self.roll_when_due() {
            return answer_all(group, &self.stop("begin a new file", error));
        }
        let takes_appends = self.keep_reserve(&group);
        self.carry_out(group, takes_appends);
    }

    fn carry_out(&mut self, group: Vec<Request>, takes_appends: bool) {
        let mut plan = Plan::new(self, takes_appends);
        let outcomes: Vec<Result<u64, Error>> = group.iter().map(|request| plan.add(request)).collect();
        let (draft, steps) = plan.finish();
        if !steps.is_empty()
            && let Err(error) = self.write(draft, steps)
        {
            return self.answer_failed(group, error);
        }
        for (request, outcome) in group.into_iter().zip(outcomes) {
            // An asker that went away does not need its answer.
            request.answer.send(outcome).ok();
        }
        self.clean();
    }

    /// Goes on after a failure once the disk takes the file back to where the last confirmed step ended: what lies behind that
    /// was confirmed to nobody, and nothing before it was left to a sync that failed.
    fn go_on(&mut self) -> Result<(), Error> {
        let Some(reason) = self.stopped.take() else {
            return Ok(());
        };
        if self.go_back().is_ok() {
            tracing::warn!(directory = %self.config.directory.display(), "the disk of the standby store works again");
            return Ok(());
        }
        self.stopped = Some(reason.clone());
        Err(Error::Stopped {
            directory: self.config.directory.clone(),
            reason,
        })
    }

    /// Nothing of `group` was confirmed. Where the disk is full, what makes room is tried again with the reserve.
    fn answer_failed(&mut self, group: Vec<Request>, error: io::Error) {
        if !is_disk_full(&error) || self.cut_back().is_err() {
            return answer_all(group, &self.stop("write", error));
        }
        let full = Error::DiskFull {
            directory: self.config.directory.clone(),
        };
        let (appends, others): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|request| request.change.is_append());
        answer_all(appends, &full);
        let needed = others.iter().map(|request| request.change.bytes()).sum::<u64>();
        if !others.is_empty() && self.reserve.release(needed + FRAME_BYTES) {
            self.carry_out(others, false);
        } else {
            answer_all(others, &full);
        }
    }

    /// Undoes what a failed write, or a file that was begun and not confirmed, may have left.
    fn go_back(&mut self) -> io::Result<()> {
        let begun = self.lock().active + 1;
        segment::delete(&self.config.directory, begun)?;
        segment::sync_directory(&self.config.directory)?;
        self.cut_back()
    }

    /// Cuts off what a failed write may have left.
    fn cut_back(&mut self) -> io::Result<()> {
        let bytes = self.lock().active_bytes();
        self.file.cut(bytes)
    }

    fn write(&mut self, draft: Draft, steps: Vec<Step>) -> io::Result<()> {
        let (active, at) = {
            let ledger = self.lock();
            (ledger.active, ledger.active_bytes())
        };
        let frame = draft.finish(active);
        let written = disk_faults::room(&self.config.directory, frame.len() as u64)
            .and_then(|()| self.file.write(&frame))
            .and_then(|()| self.file.sync());
        let bytes = frame.len() as u64;
        self.buffer = frame;
        written?;
        let body = usize::try_from(at)
            .unwrap_or(usize::MAX)
            .saturating_add(HEADER_BYTES);
        let mut ledger = self.lock();
        for step in steps {
            ledger.apply(placed(step, body), active);
        }
        ledger.sweep();
        if let Some(segment) = ledger.segments.get_mut(&active) {
            segment.bytes += bytes;
        }
        Ok(())
    }

    fn roll_when_due(&mut self) -> io::Result<()> {
        if self.lock().active_bytes() < self.config.roll_at() {
            return Ok(());
        }
        match self.roll() {
            // The present file can grow on until there is room for a new one.
            Err(error) if is_disk_full(&error) => Ok(()),
            result => result,
        }
    }

    fn roll(&mut self) -> io::Result<()> {
        let ledger = self.ledger.clone();
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let (finished, next) = (ledger.active, ledger.active + 1);
        segment::write_list(&self.config.directory, finished, &ledger.active_blocks)?;
        ledger.forget_empty();
        let snapshot = ledger.snapshot().finish(next);
        let (file, bytes) = segment::create(&self.config.directory, next, &snapshot)?;
        self.file = Box::new(file);
        ledger.segments.insert(next, Segment { bytes, users: 0 });
        ledger.active = next;
        ledger.active_blocks.clear();
        Ok(())
    }

    /// Deletes segments that nobody needs and keeps the reserve. Failing at either costs only room.
    fn clean(&mut self) {
        let unused = self.lock().unused();
        for id in unused {
            match segment::delete(&self.config.directory, id) {
                Ok(()) => {
                    self.lock().segments.remove(&id);
                }
                Err(error) => {
                    tracing::warn!(segment = id, %error, "a drained file of the standby store cannot be deleted");
                }
            }
        }
        if self.stopped.is_none() {
            self.keep_reserve(&[]);
        }
    }

    /// Keeps the reserve as large as what is parked under topics wants it, `coming` included; false when the disk is too full.
    fn keep_reserve(&mut self, coming: &[Request]) -> bool {
        let unplaced = coming
            .iter()
            .filter(|request| request.place.partition.is_none() && request.change.is_append());
        let bytes = unplaced.map(|request| request.change.bytes()).sum();
        let is_any_unplaced = bytes > 0 || (self.reserve.counts_unplaced() && self.lock().holds_unplaced());
        self.reserve.expect(bytes, is_any_unplaced);
        self.reserve.keep()
    }

    fn stop(&mut self, action: &'static str, error: io::Error) -> Error {
        tracing::error!(%error, directory = %self.config.directory.display(), "the standby store failed to {action} and stops");
        self.stopped = Some(format!("failed to {action}: {error}"));
        storage(&self.config.directory, action, error)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer_all(group: Vec<Request>, error: &Error) {
    for request in group {
        // An asker that went away does not need its answer.
        request.answer.send(Err(error.clone())).ok();
    }
}

/// What one commit will write, and what it will change when it is written.
struct Plan<'ledger> {
    ledger: std::sync::MutexGuard<'ledger, Ledger>,
    directory: PathBuf,
    limit_bytes: u64,
    /// False when the disk has no room for more than the reserve is for.
    takes_appends: bool,
    draft: Draft,
    steps: Vec<Step>,
    next_place: u32,
    names: HashMap<Place, u32>,
    /// How far the places come with what is planned.
    ends: HashMap<u32, (u64, Totals)>,
    appends: HashMap<AppendId, u64>,
}

impl<'ledger> Plan<'ledger> {
    fn new(committer: &'ledger mut Committer, takes_appends: bool) -> Self {
        let buffer = std::mem::take(&mut committer.buffer);
        let ledger = committer.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            directory: committer.config.directory.clone(),
            limit_bytes: committer.config.limit_bytes,
            takes_appends,
            draft: Draft::new(buffer),
            steps: Vec::new(),
            next_place: ledger.next_place,
            names: HashMap::new(),
            ends: HashMap::new(),
            appends: HashMap::new(),
            ledger,
        }
    }

    fn add(&mut self, request: &Request) -> Result<u64, Error> {
        let place = &request.place;
        if let Some(position) = self.made_before(&request.change) {
            return Ok(position);
        }
        self.check_size(place, &request.change)?;
        match &request.change {
            Change::Append { .. } if !self.takes_appends => Err(Error::DiskFull {
                directory: self.directory.clone(),
            }),
            Change::Append { id, rows } => {
                let position = self.put_rows(place, Some(*id), rows.iter());
                self.appends.insert(*id, position);
                Ok(position)
            }
            Change::Stamp { stamps } => {
                let place = self.check_stamps(place, stamps)?;
                for range in stamps {
                    let range = *range;
                    self.put(Step::Stamp { place, range });
                    self.use_epoch(place, &range.stamping);
                }
                Ok(0)
            }
            Change::Remove { below } => {
                self.remove(place, *below);
                Ok(0)
            }
            Change::Place { below, rows } => {
                for run in rows.chunk_by(|one, next| one.0 == next.0) {
                    if let Some((to, _)) = run.first() {
                        self.put_rows(to, None, run.iter().map(|(_, row)| row));
                    }
                }
                // Behind the rows: what cannot be read of a damaged frame ends it.
                self.remove(place, *below);
                Ok(0)
            }
        }
    }

    fn check_size(&self, place: &Place, change: &Change) -> Result<(), Error> {
        let needed_bytes = change.bytes();
        if needed_bytes > REQUEST_BYTES_MAX {
            return Err(Error::TooLarge {
                topic: place.topic.clone(),
                bytes: needed_bytes,
                limit_bytes: REQUEST_BYTES_MAX,
            });
        }
        let used_bytes = self.ledger.used_bytes() + self.draft.body_bytes() as u64;
        if change.is_append() && used_bytes + needed_bytes > self.limit_bytes {
            return Err(Error::Full {
                topic: place.topic.clone(),
                used_bytes,
                limit_bytes: self.limit_bytes,
                needed_bytes,
            });
        }
        Ok(())
    }

    /// The position of an append that is asked for again.
    fn made_before(&self, change: &Change) -> Option<u64> {
        let Change::Append { id, .. } = change else {
            return None;
        };
        self.ledger.remembered(*id).or(self.appends.get(id).copied())
    }

    fn put_rows<'row>(
        &mut self,
        place: &Place,
        id: Option<AppendId>,
        rows: impl Iterator<Item = &'row Row> + Clone,
    ) -> u64 {
        let place = self.define(place);
        let known = self.ledger.places.get(&place);
        let known = known.map_or((0, Totals::default()), |holding| {
            (holding.span.tail, holding.totals)
        });
        let (position, before) = *self.ends.entry(place).or_insert(known);
        let step = self.draft.put_rows(place, id, position, before, rows.clone());
        if let Step::Rows { block, totals, .. } = &step {
            self.ends.insert(place, (block.end(), before.add(*totals)));
        }
        self.steps.push(step);
        for stamping in rows.filter_map(|row| row.stamping.as_ref()) {
            self.use_epoch(place, stamping);
        }
        position
    }

    fn use_epoch(&mut self, place: u32, stamping: &Stamping) {
        let used = ProducerEpoch {
            producer_id: stamping.stamp.producer_id,
            epoch: stamping.stamp.epoch,
        };
        let known = self.ledger.places.get(&place);
        if !known.is_some_and(|holding| holding.knows_epoch(used)) {
            self.put(Step::Epoch { place, used });
        }
    }

    fn define(&mut self, name: &Place) -> u32 {
        let known = self.ledger.by_name.get(name).or_else(|| self.names.get(name));
        if let Some(place) = known {
            return *place;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.names.insert(name.clone(), place);
        let name = name.clone();
        self.put(Step::Define { place, name });
        place
    }

    fn remove(&mut self, place: &Place, below: u64) {
        if let Some((place, holding)) = self.ledger.place(place)
            && holding.span.head < below.min(holding.span.tail)
        {
            let below = below.min(holding.span.tail);
            self.put(Step::Remove { place, below });
        }
    }

    /// Every stamp must lie over records that are there.
    fn check_stamps(&self, place: &Place, stamps: &[StampedRange]) -> Result<u32, Error> {
        let held = self.ledger.place(place);
        let span = held.map_or(Span::default(), |(_, holding)| holding.span);
        let outside = stamps
            .iter()
            .map(span_of)
            .find(|stamped| stamped.is_empty() || stamped.head < span.head || stamped.tail > span.tail);
        match (held, outside) {
            (Some((place, _)), None) => Ok(place),
            (_, outside) => Err(Error::NoRows {
                topic: place.topic.clone(),
                position: outside.map_or(span.tail, |stamped| stamped.head),
            }),
        }
    }

    fn finish(self) -> (Draft, Vec<Step>) {
        (self.draft, self.steps)
    }

    fn put(&mut self, step: Step) {
        self.draft.put(&step);
        self.steps.push(step);
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::{Opened, open};
    use super::*;
    use crate::Kind;
    use bytes::Bytes;
    use evenkeel_event::clock::Timestamp;
    use evenkeel_event::{TopicId, TopicName};
    use evenkeel_flow::{Stamp, Stamping};
    use tempfile::TempDir;

    /// A file whose next writes or syncs fail.
    #[derive(Debug)]
    struct Failing {
        file: File,
        faults: Arc<Mutex<Faults>>,
    }

    #[derive(Debug, Default)]
    struct Faults {
        /// Bytes that still fit; the part of a frame that fits is written.
        room: Option<usize>,
        sync: bool,
        cut: bool,
    }

    impl Medium for Failing {
        fn write(&mut self, frame: &[u8]) -> io::Result<()> {
            let room = self.faults.lock().unwrap().room.unwrap_or(usize::MAX);
            if frame.len() > room {
                self.file.write_all(&frame[..room])?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Medium::write(&mut self.file, frame)
        }

        fn sync(&mut self) -> io::Result<()> {
            if self.faults.lock().unwrap().sync {
                return Err(io::Error::other("the disk is broken"));
            }
            self.file.sync()
        }

        fn cut(&mut self, bytes: u64) -> io::Result<()> {
            if self.faults.lock().unwrap().cut {
                return Err(io::Error::other("the disk is broken"));
            }
            self.file.cut(bytes)
        }
    }

    struct Bench {
        directory: TempDir,
        committer: Committer,
        faults: Arc<Mutex<Faults>>,
        _lock: File,
    }

    impl Bench {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let Opened { lock, ledger, file } = open(directory.path()).unwrap();
            let faults = Arc::new(Mutex::new(Faults::default()));
            let file = Box::new(Failing {
                file,
                faults: faults.clone(),
            });
            let config = Config::new(directory.path());
            let committer = Committer::new(config, Arc::new(Mutex::new(ledger)), file);
            Self {
                directory,
                committer,
                faults,
                _lock: lock,
            }
        }

        /// Commits the changes together and returns their answers.
        fn commit(&mut self, changes: Vec<Change>) -> Vec<Result<u64, Error>> {
            let mut waiting = Vec::new();
            let mut group = Vec::new();
            for change in changes {
                let (answer, answered) = oneshot::channel();
                let place = place();
                group.push(Request {
                    place,
                    change,
                    answer,
                });
                waiting.push(answered);
            }
            self.committer.commit(group);
            waiting
                .into_iter()
                .map(|mut answered| answered.try_recv().unwrap())
                .collect()
        }

        /// What a process that starts now finds.
        fn tail_after_restart(self) -> u64 {
            let Self {
                directory,
                committer,
                _lock: lock,
                ..
            } = self;
            drop((committer, lock));
            let ledger = open(directory.path()).unwrap().ledger;
            ledger.place(&place()).map_or(0, |(_, holding)| holding.span.tail)
        }
    }

    fn place() -> Place {
        Place {
            topic: TopicName::new("orders").unwrap(),
            partition: Some(0),
        }
    }

    fn append(number: u64) -> Change {
        let id = AppendId { process: 1, number };
        let row = Row {
            kind: Kind::Event,
            records: Bytes::from_static(&[b'x'; 500]),
            count: 1,
            appended_at: Timestamp::from_millis(0),
            stamping: None,
        };
        Change::Append { id, rows: vec![row] }
    }

    fn stamp(position: u64) -> Change {
        let stamping = Stamping {
            stamp: Stamp {
                producer_id: 1,
                epoch: 0,
                base_sequence: 0,
                count: 1,
            },
            at: Timestamp::from_millis(0),
            topic_id: TopicId::UNKNOWN,
            search_from: None,
            possible_double: false,
        };
        let stamps = vec![StampedRange { position, stamping }];
        Change::Stamp { stamps }
    }

    #[test]
    fn a_full_disk_refuses_appends_wholly_and_still_takes_stamps() {
        let mut bench = Bench::new();
        assert_eq!(bench.commit(vec![append(0)])[0].as_ref().unwrap(), &0);
        bench.faults.lock().unwrap().room = Some(300);
        let answers = bench.commit(vec![append(1), stamp(0)]);
        assert!(matches!(&answers[0], Err(Error::DiskFull { .. })), "{answers:?}");
        assert!(answers[1].is_ok(), "{answers:?}");
        bench.faults.lock().unwrap().room = None;
        assert_eq!(bench.commit(vec![append(1)])[0].as_ref().unwrap(), &1);
        assert_eq!(bench.tail_after_restart(), 2);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_said_to_be_durable() {
        let mut bench = Bench::new();
        assert!(bench.commit(vec![append(0)])[0].is_ok());
        bench.faults.lock().unwrap().sync = true;
        let answers = bench.commit(vec![append(1)]);
        let Err(error @ Error::Storage { .. }) = &answers[0] else {
            panic!("{answers:?}");
        };
        assert!(error.may_have_been_made());
        bench.faults.lock().unwrap().cut = true;
        let answers = bench.commit(vec![append(2)]);
        assert!(matches!(&answers[0], Err(Error::Stopped { .. })), "{answers:?}");
        assert!(bench.tail_after_restart() >= 1);
    }

    #[test]
    fn a_store_whose_disk_works_again_goes_on_behind_what_it_confirmed() {
        let mut bench = Bench::new();
        assert_eq!(bench.commit(vec![append(0)])[0].as_ref().unwrap(), &0);
        bench.faults.lock().unwrap().sync = true;
        bench.faults.lock().unwrap().cut = true;
        assert!(matches!(
            &bench.commit(vec![append(1)])[0],
            Err(Error::Storage { .. })
        ));
        assert!(matches!(
            &bench.commit(vec![append(1)])[0],
            Err(Error::Stopped { .. })
        ));
        // A file that was begun and not confirmed must not be taken for the newest.
        let begun = segment::path(bench.directory.path(), bench.committer.lock().active + 1);
        std::fs::write(&begun, b"begun").unwrap();
        *bench.faults.lock().unwrap() = Faults::default();
        assert_eq!(bench.commit(vec![append(1)])[0].as_ref().unwrap(), &1);
        assert!(!begun.exists());
        assert_eq!(bench.commit(vec![stamp(1), append(2)])[1].as_ref().unwrap(), &2);
        assert_eq!(bench.tail_after_restart(), 3);
    }
}
