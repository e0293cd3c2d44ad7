//! The one thread that writes: it gathers what waits, writes it as one frame, syncs, and answers all of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use evenkeel_flow::session::StampedRange;

use super::codec::{Totals, row_bytes};
use super::frame::{Draft, HEADER_BYTES, Step};
use super::ledger::{Ledger, Segment};
use super::open::{placed, storage};
use super::stamps::span_of;
use super::{Config, segment};
use crate::{AppendId, Error, Place, Row, Span};

/// Most bytes that are gathered into one commit, beyond its last request.
const GROUP_BYTES: u64 = 8 << 20;
/// Most requests that are gathered into one commit.
const GROUP_REQUESTS: usize = 4_096;
/// Most bytes of one request.
const REQUEST_BYTES_MAX: u64 = 64 << 20;
/// More than a step without rows takes.
const STEP_BYTES: usize = 400;
/// Pause while more requests are expected.
const GATHER_PAUSE: Duration = Duration::from_micros(20);
/// Room kept on the disk, so that stamps and removals are possible when it is full.
const RESERVE_BYTES: usize = 4 << 20;

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

/// The thread's state.
#[derive(Debug)]
pub(super) struct Committer {
    config: Config,
    ledger: Arc<Mutex<Ledger>>,
    file: File,
    buffer: Vec<u8>,
    stopped: Option<String>,
    has_reserve: bool,
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
    pub(super) fn new(config: Config, ledger: Arc<Mutex<Ledger>>, file: File) -> Self {
        let mut committer = Self {
            config,
            ledger,
            file,
            buffer: Vec::new(),
            stopped: None,
            has_reserve: false,
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
        if let Some(reason) = &self.stopped {
            let error = Error::Stopped {
                directory: self.config.directory.clone(),
                reason: reason.clone(),
            };
            return answer_all(group, &error);
        }
        if let Err(error) = self.roll_when_due() {
            return answer_all(group, &self.stop("begin a new file", error));
        }
        let mut plan = Plan::new(self);
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

    /// Nothing of `group` was confirmed. Where the disk is full, what makes room is tried again with the reserve.
    fn answer_failed(&mut self, group: Vec<Request>, error: io::Error) {
        if !is_disk_full(&error) || self.cut_back().is_err() {
            return answer_all(group, &self.stop("write", error));
        }
        let full = Error::DiskFull {
            directory: self.config.directory.clone(),
        };
        let (appends, others): (Vec<_>, Vec<_>) = group
            .into_iter()
            .partition(|request| matches!(request.change, Change::Append { .. }));
        answer_all(appends, &full);
        if self.release_reserve() && !others.is_empty() {
            self.commit(others);
        } else {
            answer_all(others, &full);
        }
    }

    /// Cuts off what a failed write may have left.
    fn cut_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.lock().active_bytes())?;
        self.file.seek(io::SeekFrom::End(0))?;
        self.file.sync_data()
    }

    fn write(&mut self, draft: Draft, steps: Vec<Step>) -> io::Result<()> {
        let (active, at) = {
            let ledger = self.lock();
            (ledger.active, ledger.active_bytes())
        };
        let frame = draft.finish(active);
        let written = self.file.write_all(&frame).and_then(|()| self.file.sync_data());
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
            Err(error) if is_disk_full(&error) => {
                self.release_reserve();
                Ok(())
            }
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
        self.file = file;
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
        if !self.has_reserve && self.stopped.is_none() {
            let path = self.reserve_path();
            self.has_reserve = path.exists() || std::fs::write(&path, vec![0; RESERVE_BYTES]).is_ok();
        }
    }

    fn release_reserve(&mut self) -> bool {
        let released = self.has_reserve && std::fs::remove_file(self.reserve_path()).is_ok();
        self.has_reserve = false;
        released
    }

    fn reserve_path(&self) -> PathBuf {
        self.config.directory.join("reserve")
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

fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
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
    limit_bytes: u64,
    draft: Draft,
    steps: Vec<Step>,
    next_place: u32,
    names: HashMap<Place, u32>,
    /// How far the places come with what is planned.
    ends: HashMap<u32, (u64, Totals)>,
    appends: HashMap<AppendId, u64>,
}

impl<'ledger> Plan<'ledger> {
    fn new(committer: &'ledger mut Committer) -> Self {
        let buffer = std::mem::take(&mut committer.buffer);
        let ledger = committer.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            limit_bytes: committer.config.limit_bytes,
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
        self.check_size(place, &request.change)?;
        match &request.change {
            Change::Append { id, rows } => Ok(self.append(place, *id, rows)),
            Change::Stamp { stamps } => {
                let place = self.check_stamps(place, stamps)?;
                for range in stamps {
                    let range = *range;
                    self.put(Step::Stamp { place, range });
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
        if matches!(change, Change::Append { .. }) && used_bytes + needed_bytes > self.limit_bytes {
            return Err(Error::Full {
                topic: place.topic.clone(),
                used_bytes,
                limit_bytes: self.limit_bytes,
                needed_bytes,
            });
        }
        Ok(())
    }

    fn append(&mut self, place: &Place, id: AppendId, rows: &[Row]) -> u64 {
        if let Some(position) = self.ledger.remembered(id).or(self.appends.get(&id).copied()) {
            return position;
        }
        let position = self.put_rows(place, Some(id), rows.iter());
        self.appends.insert(id, position);
        position
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
        let step = self.draft.put_rows(place, id, position, before, rows);
        if let Step::Rows { block, totals, .. } = &step {
            self.ends.insert(place, (block.end(), before.add(*totals)));
        }
        self.steps.push(step);
        position
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
