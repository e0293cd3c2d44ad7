//! A journal in memory: for tests, and to try a registry without a broker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Answer, Chunk, Entry, Error, Journal, Record};

/// Longest wait of a read at the end of the log.
const POLL: Duration = Duration::from_millis(500);

/// A log in memory. Clones share it, so that it outlives a registry as a topic does.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    log: Mutex<Log>,
    grown: Notify,
}

#[derive(Debug, Default)]
struct Log {
    records: Vec<Record>,
    next: i64,
    fault: Option<Fault>,
    held: Vec<Entry>,
    overtaking: Option<Entry>,
}

/// What goes wrong with the next append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused and not written.
    Refused,
    /// It is written and the answer is lost.
    AnswerLost,
    /// The answer is lost, and the record is written only when the journal is next asked to settle.
    Late,
}

impl MemoryJournal {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next append go wrong.
    pub fn fail_next(&self, fault: Fault) {
        self.log().fault = Some(fault);
    }

    /// Lets another program's record come just before the next append.
    pub fn overtake_next(&self, entry: Entry) {
        self.log().overtaking = Some(entry);
    }

    /// Everything in the log.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.log().records.clone()
    }

    /// Removes every record that a later one of the same key replaces, as Kafka's compaction does; also tombstones if asked.
    pub fn compact(&self, tombstones: bool) {
        let mut log = self.log();
        let records = std::mem::take(&mut log.records);
        let replaced = |index: usize, record: &Record| {
            records
                .iter()
                .skip(index + 1)
                .any(|later| later.key == record.key)
        };
        log.records = records
            .iter()
            .enumerate()
            .filter(|(index, record)| !(replaced(*index, record) || tombstones && record.value.is_none()))
            .map(|(_, record)| record.clone())
            .collect();
    }

    /// Appends from outside, as another program would.
    pub fn push(&self, entry: Entry) -> i64 {
        let offset = self.log().push(entry);
        self.shared.grown.notify_waiters();
        offset
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_append(&self, entry: Entry) -> Result<i64, Error> {
        let topic = self.topic().to_owned();
        let mut log = self.log();
        if let Some(overtaking) = log.overtaking.take() {
            log.push(overtaking);
        }
        match log.fault.take() {
            None => Ok(log.push(entry)),
            Some(Fault::Refused) => Err(Error::NotWritten {
                topic,
                reason: "refused on request".to_owned(),
            }),
            Some(Fault::AnswerLost) => {
                log.push(entry);
                Err(Error::Unknown {
                    topic,
                    reason: "lost on request".to_owned(),
                })
            }
            Some(Fault::Late) => {
                log.held.push(entry);
                Err(Error::Unknown {
                    topic,
                    reason: "held back on request".to_owned(),
                })
            }
        }
    }
}

impl Log {
    fn push(&mut self, entry: Entry) -> i64 {
        let offset = self.next;
        self.next += 1;
        self.records.push(Record {
            offset,
            key: Some(entry.key),
            value: entry.value,
        });
        offset
    }

    fn read(&self, from: i64) -> Chunk {
        let records = self.records.iter().filter(|record| record.offset >= from);
        Chunk {
            records: records.cloned().collect(),
            next: self.next,
        }
    }
}

impl Journal for MemoryJournal {
    fn topic(&self) -> &str {
        "in memory"
    }

    fn append(&self, entry: Entry) -> Answer<'_, i64> {
        Box::pin(async move {
            let answer = self.try_append(entry);
            self.shared.grown.notify_waiters();
            answer
        })
    }

    fn settle(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut log = self.log();
            for entry in std::mem::take(&mut log.held) {
                log.push(entry);
            }
            drop(log);
            self.shared.grown.notify_waiters();
            Ok(())
        })
    }

    fn end(&self) -> Answer<'_, i64> {
        Box::pin(async move { Ok(self.log().next) })
    }

    fn read(&self, from: i64) -> Answer<'_, Chunk> {
        Box::pin(async move {
            let grown = self.shared.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            let chunk = self.log().read(from);
            if from > chunk.next {
                return Err(Error::OutOfRange {
                    topic: self.topic().to_owned(),
                    offset: from,
                });
            }
            if chunk.next > from {
                return Ok(chunk);
            }
            // A timeout here only means that there is nothing new.
            drop(tokio::time::timeout(POLL, grown).await);
            Ok(self.log().read(from))
        })
    }
}
