//! One place, as this process changes it: what is asked at the same time is decided together and committed as one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_event::clock::{Clock as _, SystemClock};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::contention::{Contention, Trial};
use super::keeper::{Change, Keeper, Kept};
use super::record::{Answer, Ask, Draft, Record, bytes_of};
use super::usage::Usage;
use crate::{Error, Place};

/// Asks that are decided together, at most.
const ASKS_MAX: usize = 512;
/// Bytes of rows that are committed together, at most, or one append.
const BYTES_MAX: u64 = 16 << 20;
/// Freed bytes for which the server is asked to clean.
const CLEANED_BYTES: u64 = 4 << 20;

type Told = oneshot::Sender<Result<Answer, Error>>;

/// What is asked of one place.
#[derive(Debug)]
pub(super) struct Lane<K> {
    place: Place,
    keeper: Arc<K>,
    usage: Arc<Usage>,
    waiting: Mutex<Waiting>,
    /// The record as this process last wrote or read it: good enough to try, never to answer by.
    seen: Mutex<Option<Seen>>,
    /// Used by the one who works.
    contention: tokio::sync::Mutex<Contention>,
    is_cleaning: Arc<AtomicBool>,
    cleaned_bytes: Mutex<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    asks: VecDeque<(Ask, Told)>,
    is_worked: bool,
}

/// A record with its revision; `None` where there is no record yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) revision: Option<u64>,
    pub(super) record: Record,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a record as it stands.
pub(super) async fn fetch(keeper: &impl Keeper, place: &Place) -> Result<Seen, Error> {
    match keeper.record(place).await? {
        None => Ok(Seen::default()),
        Some(kept) => Ok(Seen {
            revision: Some(kept.revision),
            record: decode(keeper, place, &kept)?,
        }),
    }
}

pub(super) fn decode(keeper: &impl Keeper, place: &Place, kept: &Kept) -> Result<Record, Error> {
    Record::read(&kept.bytes).map_err(|reason| Error::Foreign {
        server: keeper.name().to_owned(),
        what: match place.partition {
            Some(partition) => format!("the record of topic {} partition {partition}", place.topic),
            None => format!("the record of topic {}", place.topic),
        },
        reason: reason.to_owned(),
    })
}

/// What a draft changes at the server.
pub(super) fn change(place: &Place, expected: Option<u64>, draft: &Draft) -> Change {
    Change {
        place: place.clone(),
        expected,
        record: draft.record.write(),
        head: draft.record.span.head,
        blocks: draft.blocks.clone(),
        is_listed: draft.record.is_listed(),
    }
}

impl<K: Keeper> Lane<K> {
    pub(super) fn new(place: Place, keeper: Arc<K>, usage: Arc<Usage>) -> Self {
        Self {
            place,
            keeper,
            usage,
            waiting: Mutex::default(),
            seen: Mutex::default(),
            contention: tokio::sync::Mutex::default(),
            is_cleaning: Arc::default(),
            cleaned_bytes: Mutex::default(),
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(self: &Arc<Self>, ask: Ask) -> Result<Answer, Error> {
        let (told, answer) = oneshot::channel();
        let begins = {
            let mut waiting = lock(&self.waiting);
            waiting.asks.push_back((ask, told));
            !std::mem::replace(&mut waiting.is_worked, true)
        };
        if begins {
            // A task of its own, because the caller may be dropped while others wait for what it began.
            tokio::spawn(Arc::clone(self).work());
        }
        answer.await.unwrap_or_else(|_| {
            Err(Error::Unreachable {
                server: self.keeper.name().to_owned(),
                action: "write",
                reason: "this process is ending".to_owned(),
                may_have_been_made: true,
            })
        })
    }

    /// The record as it was last seen here, or as it stands.
    pub(super) async fn seen(&self) -> Result<Seen, Error> {
        let seen = lock(&self.seen).clone();
        match seen {
            Some(seen) => Ok(seen),
            None => fetch(&*self.keeper, &self.place).await,
        }
    }

    /// The record as it stands.
    pub(super) async fn fetch(&self) -> Result<Seen, Error> {
        fetch(&*self.keeper, &self.place).await
    }

    async fn work(self: Arc<Self>) {
        let mut contention = self.contention.lock().await;
        loop {
            let (asks, tell) = self.take();
            if asks.is_empty() {
                return;
            }
            match self.carry(&asks, &mut contention).await {
                Ok(answers) => {
                    for (told, answer) in tell.into_iter().zip(answers) {
                        // Whoever went away needs no answer.
                        drop(told.send(answer));
                    }
                }
                Err(error) => {
                    for told in tell {
                        drop(told.send(Err(error.clone())));
                    }
                }
            }
            if contention.give_way().await {
                // Others were let in: what is remembered is likely to be old.
                *lock(&self.seen) = None;
            }
        }
    }

    fn take(&self) -> (Vec<Ask>, Vec<Told>) {
        let mut waiting = lock(&self.waiting);
        let (mut taken, mut bytes) = ((Vec::new(), Vec::new()), 0);
        while let Some((ask, _)) = waiting.asks.front() {
            if let Ask::Append { rows, .. } = ask {
                bytes += bytes_of(rows);
            }
            if !taken.0.is_empty() && (bytes > BYTES_MAX || taken.0.len() >= ASKS_MAX) {
                break;
            }
            if let Some((ask, told)) = waiting.asks.pop_front() {
                taken.0.push(ask);
                taken.1.push(told);
            }
        }
        waiting.is_worked = !taken.0.is_empty();
        taken
    }

    /// Decides and commits until the record is the one that was decided on.
    async fn carry(
        &self,
        asks: &[Ask],
        contention: &mut Contention,
    ) -> Result<Vec<Result<Answer, Error>>, Error> {
        let mut seen = lock(&self.seen).take();
        let mut trial = Trial::new();
        loop {
            let is_fresh = seen.is_none();
            let Seen { revision, record } = match seen.take() {
                Some(seen) => seen,
                None => self.fetch().await?,
            };
            let mut draft = Draft::new(record);
            let mut room = self.usage.room();
            let before = room.used_bytes;
            let now = SystemClock::default().now();
            let decide = |ask| draft.decide(&self.place, ask, &mut room, now);
            let answers: Vec<_> = asks.iter().map(decide).collect();
            if !draft.is_changed {
                if is_fresh {
                    self.keep(revision, draft.record);
                    return Ok(answers);
                }
                continue;
            }
            let changes = vec![change(&self.place, revision, &draft)];
            let began = Instant::now();
            let is_made = self.keeper.commit(changes).await?;
            contention.took(began.elapsed());
            if is_made {
                contention.made(rand::random());
                self.usage.add(room.used_bytes - before);
                self.keep(Some(revision.map_or(1, |revision| revision + 1)), draft.record);
                return Ok(answers);
            }
            trial.again(self.keeper.name(), contention).await?;
        }
    }

    fn keep(&self, revision: Option<u64>, record: Record) {
        let (head, removed_bytes, is_empty) =
            (record.span.head, record.removed_bytes(), record.span.is_empty());
        *lock(&self.seen) = Some(Seen { revision, record });
        let mut cleaned = lock(&self.cleaned_bytes);
        let freed = removed_bytes.saturating_sub(*cleaned);
        let is_worth_it = freed >= CLEANED_BYTES || (is_empty && freed > 0);
        if is_worth_it && !self.is_cleaning.swap(true, Ordering::AcqRel) {
            *cleaned = removed_bytes;
            self.clean(head);
        }
    }

    /// In a task of its own: nobody waits for it, and what it does not come to is done by a later one.
    fn clean(&self, below: u64) {
        let (keeper, place) = (Arc::clone(&self.keeper), self.place.clone());
        let is_cleaning = Arc::clone(&self.is_cleaning);
        tokio::spawn(async move {
            if let Err(error) = keeper.clean(&place, below).await {
                tracing::debug!(%error, topic = %place.topic, "what is drained takes room for now");
            }
            is_cleaning.store(false, Ordering::Release);
        });
    }
}
