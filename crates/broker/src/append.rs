//! Appends to the platform's own topics: a batch at a time, sent until it is answered or time is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_event::backoff::Backoff;
use evenkeel_event::clock::Clock;
use evenkeel_event::{Record, TopicPartition};
use evenkeel_flow::{Answer, Stamp, Trouble};
use tokio::time::Instant;

use crate::batch::{Builder, Compression};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::produce::{Outgoing, ProducerId};

/// Most bytes that are appended at once: Kafka's default limit for a batch.
const BYTES_MAX: usize = 1 << 20;
/// Longest wait for one attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);

/// Stamps of what is appended through one [`Cluster`]: one identity, an epoch per partition.
#[derive(Debug, Default)]
pub(crate) struct Appender {
    identity: tokio::sync::OnceCell<ProducerId>,
    lines: Mutex<HashMap<TopicPartition, Arc<tokio::sync::Mutex<Line>>>>,
}

/// The next stamp of a partition.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    epoch: i16,
    sequence: i32,
}

impl Cluster {
    /// Appends `records` to one partition as one batch, in order, and gives the first one's offset; sends the same
    /// stamp until it is answered or `patience` is over. Appends to one partition wait for each other.
    ///
    /// # Errors
    /// [`Error::NotAppended`] says whether the records may be on the topic nevertheless; then the next append fences
    /// them, so that they cannot land after it. [`Error::Batch`] when they are none or too many for one batch.
    pub async fn append(
        &self,
        partition: &TopicPartition,
        records: &[Record],
        clock: &dyn Clock,
        patience: Duration,
    ) -> Result<i64, Error> {
        let deadline = Instant::now() + patience;
        let mut builder = Builder::new(BYTES_MAX);
        let now = clock.now();
        for record in records {
            builder
                .push(
                    record.key.as_deref(),
                    record.value.as_deref(),
                    &record.headers,
                    now,
                )
                .map_err(|full| crate::batch::Error::TooLarge {
                    limit: full.bytes_max,
                })?;
        }
        let encoded = builder.finish(Compression::None)?;
        let appender = self.appender();
        let identity = *appender
            .identity
            .get_or_try_init(|| self.init_producer_id())
            .await?;
        let line = appender.line(partition);
        let mut line = line.lock().await;
        let stamp = Stamp {
            producer_id: identity.0,
            epoch: line.epoch,
            base_sequence: line.sequence,
            count: encoded.count(),
        };
        // Until it is known that the batch landed, the next one begins a new epoch: this holds also when the caller
        // drops this future half-way.
        let next_epoch = Line {
            epoch: line.epoch.saturating_add(1),
            sequence: 0,
        };
        *line = next_epoch;
        let bytes = encoded.stamp(&stamp)?;
        let answer = self.send_until(partition, bytes, deadline).await?;
        *line = Line {
            epoch: stamp.epoch,
            sequence: stamp.next_sequence(),
        };
        match answer {
            Some(offset) => Ok(offset),
            None => self.find_stamp(partition, &stamp).await,
        }
    }

    /// Sends `bytes` until they are appended; `None` when their offset is not told (46).
    async fn send_until(
        &self,
        partition: &TopicPartition,
        bytes: Bytes,
        deadline: Instant,
    ) -> Result<Option<i64>, Error> {
        let topic_id = self.topic(&partition.topic).await?.id;
        let batch = Outgoing {
            partition: partition.clone(),
            topic_id,
            bytes,
            header: None,
        };
        let mut failures = 0;
        let mut may_have_landed = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self.attempt(&batch, left.min(ATTEMPT_MAX)).await?;
            if let Answer::Appended { offset } = answer {
                return Ok(offset);
            }
            let again = match answer {
                Answer::Unanswered {
                    trouble,
                    may_have_landed: this,
                } => {
                    may_have_landed |= this;
                    passes(trouble)
                }
                _ => false,
            };
            failures += 1;
            let wait = Backoff::RECONNECT.wait(failures, rand::random());
            if !again || Instant::now() + wait >= deadline {
                return Err(Error::NotAppended {
                    partition: partition.clone(),
                    answer,
                    may_have_landed,
                });
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, batch: &Outgoing, timeout: Duration) -> Result<Answer, Error> {
        let leader = match tokio::time::timeout(timeout, self.leader(&batch.partition)).await {
            Ok(Ok(leader)) => leader,
            Ok(Err(error)) if !error.is_outage() => return Err(error),
            Ok(Err(_)) | Err(_) => {
                return Ok(Answer::Unanswered {
                    trouble: Trouble::Leaderless,
                    may_have_landed: false,
                });
            }
        };
        let sent = self.send(leader, std::slice::from_ref(batch), timeout).await;
        Ok(sent.outcomes.first().map_or(
            Answer::Unanswered {
                trouble: Trouble::Other(-1),
                may_have_landed: true,
            },
            |outcome| outcome.answer,
        ))
    }
}

/// True for trouble that may pass within seconds.
const fn passes(trouble: Trouble) -> bool {
    matches!(
        trouble,
        Trouble::Disconnected
            | Trouble::TimedOut
            | Trouble::Leaderless
            | Trouble::NotEnoughReplicas
            | Trouble::Throttled
            | Trouble::StorageFailed
    )
}

impl Appender {
    /// The line of `partition`; there are as many as partitions that the platform itself writes to, which are few.
    fn line(&self, partition: &TopicPartition) -> Arc<tokio::sync::Mutex<Line>> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(partition.clone())
            .or_default()
            .clone()
    }
}
