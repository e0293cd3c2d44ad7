//! The embedded standby store: an append-only log on local disk, for one process.

mod accept;
pub(crate) mod codec;
mod commit;
mod fetch;
mod frame;
mod ledger;
mod look;
mod open;
mod reserve;
mod segment;
pub(crate) mod stamps;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use evenkeel_flow::session::StampedRange;
use tokio::sync::{mpsc, oneshot};

pub use self::accept::{NotAccepted, Unreadable};
use self::commit::{Change, Committer, Request};
use self::fetch::{Fetcher, Question};
use self::ledger::Ledger;
pub use self::look::DiskLook;
use self::open::Access;
use crate::standby::BoxFuture;
use crate::{AppendId, Damage, Error, Piece, Place, PlaceStats, Row, Span, Standby, Stats};

/// Requests that wait for the writing thread; further ones wait for room.
const REQUESTS_WAITING_MAX: usize = 4_096;
/// Questions that wait for the reading thread; further ones wait for room.
const QUESTIONS_WAITING_MAX: usize = 256;

/// Where an embedded standby store lies and how large it may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its directory, made when it is not there. Used by one process at a time.
    pub directory: PathBuf,
    /// Most bytes of its log; appends beyond it are refused, stamps and removals are not. At least 1 MiB is useful. Beside
    /// it 4 MiB are kept on the disk, and as much as is parked without a known partition, up to two segments and 16 MiB.
    pub limit_bytes: u64,
    /// A file of the log is finished and a new one begun at this size, at the latest at an eighth of the limit.
    pub segment_bytes: u64,
}

impl Config {
    /// A store in `directory` of at most 10 GiB.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            limit_bytes: 10 << 30,
            segment_bytes: 64 << 20,
        }
    }

    fn roll_at(&self) -> u64 {
        self.segment_bytes.min(self.limit_bytes / 8)
    }
}

/// A standby store on local disk for one process.
///
/// Two threads of its own do the I/O: one writes and syncs for all that wait (group commit), one reads. Dropping the
/// store finishes what was asked and releases the directory.
#[derive(Debug)]
pub struct DiskStandby {
    requests: Option<mpsc::Sender<Request>>,
    questions: Option<mpsc::Sender<Question>>,
    ledger: Arc<Mutex<Ledger>>,
    directory: PathBuf,
    threads: Vec<JoinHandle<()>>,
    _lock: File,
}

impl DiskStandby {
    /// Opens the store, making it when it is not there, and brings back what it held. Blocks for as long as the last
    /// of its files takes to read (at most some 64 MiB).
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::Format`] when another version wrote it,
    /// [`Error::Storage`] when its files cannot be read or written.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let opened = open::open(&config.directory)?;
        let ledger = Arc::new(Mutex::new(opened.ledger));
        let (requests, requested) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (questions, questioned) = mpsc::channel(QUESTIONS_WAITING_MAX);
        let committer = Committer::new(config.clone(), ledger.clone(), Box::new(opened.file));
        let fetcher = Fetcher::new(config.clone(), ledger.clone(), Access::Own);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(|source| open::storage(&config.directory, "start its threads", source))
        };
        let threads = vec![
            spawn("standby-write", Box::new(move || committer.run(requested)))?,
            spawn("standby-read", Box::new(move || fetcher.run(questioned)))?,
        ];
        Ok(Self {
            requests: Some(requests),
            questions: Some(questions),
            ledger,
            directory: config.directory.clone(),
            threads,
            _lock: opened.lock,
        })
    }

    fn change(&self, place: &Place, change: Change) -> BoxFuture<'_, Result<u64, Error>> {
        let place = place.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let request = Request {
                place,
                change,
                answer,
            };
            let requests = self.requests.as_ref().ok_or_else(|| self.gone())?;
            requests.send(request).await.map_err(|_| self.gone())?;
            answered.await.map_err(|_| self.gone())?
        })
    }

    fn done(&self, place: &Place, change: Change) -> BoxFuture<'_, Result<(), Error>> {
        let made = self.change(place, change);
        Box::pin(async move { made.await.map(|_position| ()) })
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Question,
    ) -> BoxFuture<'_, Result<T, Error>> {
        let (answer, answered) = oneshot::channel();
        let question = question(answer);
        Box::pin(async move {
            let questions = self.questions.as_ref().ok_or_else(|| self.gone())?;
            questions.send(question).await.map_err(|_| self.gone())?;
            answered.await.map_err(|_| self.gone())?
        })
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> Error {
        Error::Stopped {
            directory: self.directory.clone(),
            reason: "its thread ended".to_owned(),
        }
    }
}

impl Drop for DiskStandby {
    fn drop(&mut self) {
        self.requests = None;
        self.questions = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(directory = %self.directory.display(), "a thread of the standby store panicked");
            }
        }
    }
}

impl Standby for DiskStandby {
    fn append(&self, place: &Place, id: AppendId, rows: Vec<Row>) -> BoxFuture<'_, Result<u64, Error>> {
        if rows.is_empty() || rows.iter().any(|row| row.count == 0) {
            let (topic, position) = (place.topic.clone(), 0);
            return Box::pin(async move { Err(Error::NoRows { topic, position }) });
        }
        self.change(place, Change::Append { id, rows })
    }

    fn store_stamps(&self, place: &Place, stamps: Vec<StampedRange>) -> BoxFuture<'_, Result<(), Error>> {
        self.done(place, Change::Stamp { stamps })
    }

    fn read(&self, place: &Place, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Piece, Error>> {
        let place = place.clone();
        self.ask(|answer| Question::Read {
            place,
            from,
            bytes_max,
            answer,
        })
    }

    fn remove(&self, place: &Place, below: u64) -> BoxFuture<'_, Result<(), Error>> {
        self.done(place, Change::Remove { below })
    }

    fn place(&self, from: &Place, below: u64, rows: Vec<(Place, Row)>) -> BoxFuture<'_, Result<(), Error>> {
        self.done(from, Change::Place { below, rows })
    }

    fn span(&self, place: &Place) -> BoxFuture<'_, Result<Span, Error>> {
        let span = self
            .lock()
            .place(place)
            .map_or(Span::default(), |(_, holding)| holding.span);
        Box::pin(async move { Ok(span) })
    }

    fn open_places(&self) -> BoxFuture<'_, Result<Vec<PlaceStats>, Error>> {
        self.ask(|answer| Question::OpenPlaces { answer })
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, Error>> {
        self.ask(|answer| Question::Stats { answer })
    }

    fn damaged(&self) -> BoxFuture<'_, Result<Vec<Damage>, Error>> {
        let damages = self.lock().damages.clone();
        Box::pin(async move { Ok(damages) })
    }
}

fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
