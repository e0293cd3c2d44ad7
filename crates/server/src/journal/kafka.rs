//! A journal that is a Kafka topic: one partition, compacted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_broker::admin::NewTopic;
use evenkeel_broker::fetch::{At, Piece, Range, Until};
use evenkeel_broker::{Cluster, Error as BrokerError};
use evenkeel_event::clock::Clock;
use evenkeel_event::{Record as KafkaRecord, TopicName, TopicPartition};
use tokio::sync::Mutex;

use super::{Answer, Chunk, Entry, Error, Journal, Record};

/// Longest wait of a read for more. Only a log that ends in records which are not shown (control batches) needs it to end.
const POLL: Duration = Duration::from_secs(30);
/// Records that one read gives.
const CHUNK_RECORDS_MAX: usize = 5_000;

/// A topic as a journal.
pub struct KafkaJournal {
    cluster: Cluster,
    partition: TopicPartition,
    clock: Arc<dyn Clock>,
    patience: Duration,
    fence: Bytes,
    /// True while a write may be on its way that nobody waits for any more. Writes wait for each other here.
    unsettled: Mutex<bool>,
    reading: Mutex<Option<Reading>>,
}

/// A read that goes on where the last one ended.
struct Reading {
    range: Range,
    next: i64,
}

/// How a topic is used as a journal.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name. It is created, compacted and with one partition, if it is not there.
    pub name: TopicName,
    /// Copies when it is created; -1 takes the broker's default.
    pub replication: i16,
    /// Key of a record that means nothing. It is written with a null value where only a write can tell that an earlier one will not
    /// land any more.
    pub fence: Bytes,
    /// How long one append is tried before its answer counts as lost.
    pub patience: Duration,
}

impl KafkaJournal {
    /// Opens a topic, and creates it if it is not there.
    ///
    /// # Errors
    /// When the cluster cannot be asked, or the topic has more than one partition.
    pub async fn open(cluster: Cluster, topic: Topic, clock: Arc<dyn Clock>) -> Result<Self, BrokerError> {
        let Topic {
            name,
            replication,
            fence,
            patience,
        } = topic;
        let found = match cluster.topic(&name).await {
            Err(missing) if missing.is_topic_missing() => {
                let configs = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
                let new = NewTopic {
                    name: name.clone(),
                    partitions: 1,
                    replication,
                    configs,
                };
                match cluster.create_topic(&new).await {
                    Err(error) if !error.is_already_there() => return Err(error),
                    _ => cluster.topic(&name).await?,
                }
            }
            found => found?,
        };
        if found.partitions.len() != 1 {
            let partitions = found.partitions.len();
            return Err(BrokerError::Config(format!(
                "the topic {name} has {partitions} partitions; a log of the platform has one, so that it has one order"
            )));
        }
        let partition = TopicPartition::new(name, 0);
        // A process that died may have left a write behind that the brokers hold but do not show yet. The first write
        // settles it: what is in the log before it is seen before it.
        let (unsettled, reading) = (Mutex::new(true), Mutex::new(None));
        Ok(Self {
            cluster,
            partition,
            clock,
            patience,
            fence,
            unsettled,
            reading,
        })
    }

    fn name(&self) -> String {
        self.partition.topic.to_string()
    }

    async fn put(&self, key: Bytes, value: Option<Bytes>) -> Result<i64, Error> {
        let topic = self.partition.topic.clone();
        let record = KafkaRecord {
            topic,
            partition: Some(0),
            key: Some(key),
            value,
            headers: Vec::new(),
        };
        let appended = self
            .cluster
            .append(&self.partition, &[record], self.clock.as_ref(), self.patience)
            .await;
        appended.map_err(|error| {
            let (topic, reason) = (self.name(), error.to_string());
            if error.may_have_landed() {
                Error::Unknown { topic, reason }
            } else {
                Error::NotWritten { topic, reason }
            }
        })
    }

    async fn append_entry(&self, Entry { key, value }: Entry) -> Result<i64, Error> {
        let mut unsettled = self.unsettled.lock().await;
        // Set before the write and taken back after it: a write that is dropped half-way is unsettled too.
        let before = std::mem::replace(&mut *unsettled, true);
        let answer = self.put(key, value).await;
        // What was unsettled before is fenced when a later append lands.
        *unsettled = match answer {
            Ok(_) => false,
            Err(Error::Unknown { .. }) => true,
            Err(_) => before,
        };
        answer
    }

    async fn read_on(&self, from: i64) -> Result<Chunk, BrokerError> {
        let mut slot = self.reading.lock().await;
        let reading = match slot.take().filter(|reading| reading.next == from) {
            Some(reading) => slot.insert(reading),
            None => slot.insert(self.begin(from).await?),
        };
        let mut records = Vec::new();
        if let Ok(piece) = tokio::time::timeout(POLL, reading.range.next()).await {
            reading.take(piece?.as_ref(), &mut records);
        } else {
            reading.next = reading.range.position();
        }
        // What has been fetched with it is there at once.
        while reading.next < reading.range.position() && records.len() < CHUNK_RECORDS_MAX {
            let Ok(piece) = tokio::time::timeout(Duration::ZERO, reading.range.next()).await else {
                reading.next = reading.range.position();
                break;
            };
            reading.take(piece?.as_ref(), &mut records);
        }
        Ok(Chunk {
            records,
            next: reading.next,
        })
    }

    async fn begin(&self, from: i64) -> Result<Reading, BrokerError> {
        let earliest = self
            .cluster
            .offset(&self.partition, At::Earliest)
            .await?
            .offset
            .unwrap_or(0);
        let next = if from == 0 { earliest } else { from };
        let range = self
            .cluster
            .read_from(self.partition.clone(), next, Until::Forever)
            .await?;
        Ok(Reading { range, next })
    }
}

impl Reading {
    fn take(&mut self, piece: Option<&Piece>, records: &mut Vec<Record>) {
        match piece {
            Some(piece @ Piece::Read { batch, .. }) => {
                records.extend(piece.records().map(|record| Record {
                    offset: record.offset,
                    key: record.key.map(Bytes::copy_from_slice),
                    value: record.value.map(Bytes::copy_from_slice),
                }));
                self.next = batch.last_offset.saturating_add(1);
            }
            Some(Piece::Unreadable(unreadable)) => {
                let (from, to) = (unreadable.base_offset, unreadable.last_offset);
                tracing::error!(from, to, reason = %unreadable.reason, "a batch of the platform's log cannot be read and is left out");
                self.next = to.saturating_add(1);
            }
            None => self.next = self.range.position(),
        }
    }
}

impl fmt::Debug for KafkaJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaJournal")
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}

impl Journal for KafkaJournal {
    fn topic(&self) -> &str {
        self.partition.topic.as_str()
    }

    fn append(&self, entry: Entry) -> Answer<'_, i64> {
        Box::pin(self.append_entry(entry))
    }

    fn settle(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut unsettled = self.unsettled.lock().await;
            if *unsettled {
                // What comes after it in the log fences it: it is there by now, or will never be.
                self.put(self.fence.clone(), None).await?;
                *unsettled = false;
            }
            Ok(())
        })
    }

    fn end(&self) -> Answer<'_, i64> {
        Box::pin(async move {
            let found = self.cluster.offset(&self.partition, At::Latest).await;
            let found = found.map_err(|error| self.not_read(0, &error))?;
            Ok(found.offset.unwrap_or(0))
        })
    }

    fn read(&self, from: i64) -> Answer<'_, Chunk> {
        Box::pin(async move {
            self.read_on(from).await.map_err(|error| match error {
                BrokerError::OutOfRange { offset, .. } | BrokerError::Truncated { offset, .. } => {
                    Error::OutOfRange {
                        topic: self.name(),
                        offset,
                    }
                }
                error => self.not_read(from, &error),
            })
        })
    }
}

impl KafkaJournal {
    fn not_read(&self, offset: i64, error: &BrokerError) -> Error {
        Error::NotRead {
            topic: self.name(),
            offset,
            reason: error.to_string(),
        }
    }
}
