//! A state machine kept up to date from a journal, and writes that are answered when they have been read back.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use evenkeel_event::backoff::Backoff;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::{Entry, Error, Journal, Record};

/// Between attempts to read a journal that cannot be read.
const REREAD: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(2),
};

/// State made of nothing but the records of a log, in their order.
pub trait Machine: Default + Send + Sync + 'static {
    /// Takes the next record. Must not fail: what cannot be understood is counted and skipped.
    fn apply(&mut self, record: &Record);
}

/// A machine that follows a journal. Reads are answered from memory, writes go through the journal and come back by it.
#[derive(Debug)]
pub struct Replica<M> {
    shared: Arc<Shared<M>>,
    follower: AbortHandle,
}

#[derive(Debug)]
struct Shared<M> {
    journal: Arc<dyn Journal>,
    machine: RwLock<M>,
    progress: watch::Sender<Progress>,
    awaited: Mutex<Vec<Awaited>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    /// Offset after the last applied record.
    next: i64,
    /// The log's end when reading began.
    target: Option<i64>,
    /// Everything up to the target has been applied.
    loaded: bool,
}

/// A write that is to be recognised when it is read back, also if its answer is lost.
#[derive(Debug)]
struct Awaited {
    entry: Entry,
    seen: oneshot::Sender<()>,
}

impl<M: Machine> Replica<M> {
    /// Begins to follow a journal, from its beginning. Must be called within a tokio runtime.
    #[must_use]
    pub fn follow(journal: Arc<dyn Journal>) -> Self {
        let shared = Arc::new(Shared {
            journal,
            machine: RwLock::new(M::default()),
            progress: watch::Sender::new(Progress::default()),
            awaited: Mutex::default(),
        });
        let follower = tokio::spawn(follow(Arc::clone(&shared))).abort_handle();
        Self { shared, follower }
    }

    /// Looks at the state.
    pub fn read<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        look(&self.shared.machine.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// True once everything that was in the log at the start has been applied.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.shared.progress.borrow().loaded
    }

    /// Waits until everything that was in the log at the start has been applied.
    pub async fn loaded(&self) {
        self.wait(|progress| progress.loaded).await;
    }

    /// Makes sure that the state shows everything that was asked to be written before, also what lost its answer.
    ///
    /// # Errors
    /// The journal's, when it cannot tell.
    pub async fn settle(&self) -> Result<(), Error> {
        self.shared.journal.settle().await?;
        let end = self.shared.journal.end().await?;
        self.wait(|progress| progress.next >= end).await;
        Ok(())
    }

    /// Appends an entry and waits until it has been read back. Run it in a task that is not dropped.
    ///
    /// # Errors
    /// [`Error::NotWritten`]; or [`Error::Unknown`] if the answer was lost and the entry did not turn up within `patience`.
    pub async fn write(&self, entry: Entry, patience: Duration) -> Result<(), Error> {
        let (seen, turned_up) = oneshot::channel();
        self.shared.awaited().push(Awaited {
            entry: entry.clone(),
            seen,
        });
        match self.shared.journal.append(entry).await {
            Ok(offset) => {
                self.wait(|progress| progress.next > offset).await;
                Ok(())
            }
            Err(lost @ Error::Unknown { .. }) => match tokio::time::timeout(patience, turned_up).await {
                Ok(Ok(())) => Ok(()),
                _ => Err(lost),
            },
            Err(error) => Err(error),
        }
    }

    async fn wait(&self, until: impl FnMut(&Progress) -> bool) {
        let mut progress = self.shared.progress.subscribe();
        // The sender lives in `self`, so that the channel cannot be closed.
        drop(progress.wait_for(until).await);
    }
}

impl<M> Drop for Replica<M> {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl<M> Shared<M> {
    fn awaited(&self) -> std::sync::MutexGuard<'_, Vec<Awaited>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn follow<M: Machine>(shared: Arc<Shared<M>>) {
    let mut failures = 0_u32;
    loop {
        match shared.advance().await {
            Ok(()) => failures = 0,
            Err(error) => {
                if matches!(error, Error::OutOfRange { .. }) {
                    *shared.machine.write().unwrap_or_else(PoisonError::into_inner) = M::default();
                    shared.progress.send_replace(Progress::default());
                }
                failures = failures.saturating_add(1);
                if failures == 1 {
                    tracing::warn!(%error, "trying again until the topic can be read");
                }
                tokio::time::sleep(REREAD.wait(failures, 255)).await;
            }
        }
    }
}

impl<M: Machine> Shared<M> {
    /// Reads and applies what comes next.
    async fn advance(&self) -> Result<(), Error> {
        let Progress { next, target, .. } = *self.progress.borrow();
        // Up to the end as it was at the start: a log that grows all the time would never be loaded.
        let target = match target {
            Some(target) => target,
            None => self.journal.end().await?,
        };
        self.progress.send_modify(|progress| {
            progress.target = Some(target);
            progress.loaded |= next >= target;
        });
        let chunk = self.journal.read(next).await?;
        self.apply(&chunk.records);
        let loaded = chunk.next >= target;
        self.progress.send_modify(|progress| {
            progress.next = chunk.next;
            progress.loaded |= loaded;
        });
        Ok(())
    }

    fn apply(&self, records: &[Record]) {
        let mut machine = self.machine.write().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            machine.apply(record);
            let is_it = |awaited: &mut Awaited| {
                record.key.as_ref() == Some(&awaited.entry.key) && record.value == awaited.entry.value
            };
            let mut awaited = self.awaited();
            awaited.retain(|awaited| !awaited.seen.is_closed());
            for found in awaited.extract_if(.., is_it) {
                // Nobody waits any more if the answer came first.
                found.seen.send(()).ok();
            }
        }
    }
}
