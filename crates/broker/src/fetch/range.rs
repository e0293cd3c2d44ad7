//! Reads a range of one partition, and searches it.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_event::TopicPartition;
use evenkeel_event::backoff::Backoff;
use evenkeel_flow::{Answer, Stamp};
use tokio::time::Instant;

use super::{At, Fetched, Fetcher, Limits, Position, State};
use crate::batch::{Batch, Batches, DECOMPRESSED_BYTES_MAX, RecordView, Records, Transactions, Unreadable};
use crate::cluster::{Cluster, Leader};
use crate::error::Error;

/// Where a range ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Before this offset.
    Offset(i64),
    /// At the end of the log as it is when the reading begins.
    End,
    /// Never: waits for more.
    Forever,
}

/// A piece of a range: the records of one batch, or a batch that cannot be read.
#[derive(Debug)]
pub enum Piece {
    /// Records. Those outside the range are left out by [`Piece::records`].
    Read {
        /// The batch.
        batch: Batch,
        /// Its records.
        records: Records,
        /// The first offset that belongs to the range.
        from: i64,
        /// The first offset that no longer does.
        until: i64,
    },
    /// A batch that cannot be read. Reading goes on behind it.
    Unreadable(Unreadable),
}

/// Reads one partition from an offset on, across leader changes, until the range ends.
#[derive(Debug)]
pub struct Range {
    fetcher: Fetcher,
    partition: TopicPartition,
    next: i64,
    last_epoch: i32,
    until: Option<i64>,
    limits: Limits,
    /// How long an outage may last before it is told.
    patience: Duration,
    pieces: VecDeque<Piece>,
}

impl Piece {
    /// The records in the range, in order; none for a batch that cannot be read.
    pub fn records(&self) -> impl Iterator<Item = RecordView<'_>> {
        let (records, range) = match self {
            Self::Read {
                records, from, until, ..
            } => (Some(records), *from..*until),
            Self::Unreadable(_) => (None, 0..0),
        };
        records
            .into_iter()
            .flat_map(Records::iter)
            .filter(move |record| range.contains(&record.offset))
    }
}

impl Cluster {
    /// Reads `partition` from `from` on, as committed records.
    ///
    /// # Errors
    /// When the end of the log cannot be learned.
    pub async fn read(&self, partition: TopicPartition, from: At, until: Until) -> Result<Range, Error> {
        let begin = match self.offset(&partition, from).await?.offset {
            Some(offset) => offset,
            // No record is that young: the range begins behind the last.
            None => self.offset(&partition, At::Latest).await?.offset.unwrap_or(0),
        };
        self.read_from(partition, begin, until).await
    }

    /// Reads `partition` from the offset `from` on, as committed records.
    ///
    /// # Errors
    /// When the end of the log cannot be learned.
    pub async fn read_from(
        &self,
        partition: TopicPartition,
        from: i64,
        until: Until,
    ) -> Result<Range, Error> {
        let until = match until {
            Until::Offset(offset) => Some(offset),
            Until::End => self.offset(&partition, At::LatestCommitted).await?.offset,
            Until::Forever => None,
        };
        Ok(Range {
            fetcher: Fetcher::new(self.clone()),
            partition,
            next: from,
            last_epoch: -1,
            until,
            limits: Limits {
                partition_bytes_max: 8 << 20,
                ..Limits::default()
            },
            patience: self.request_timeout(),
            pieces: VecDeque::new(),
        })
    }

    /// Offsets of the records for which `wanted` holds, from `from` to the high watermark as it is now; at most
    /// `found_max` of them. Records of open transactions are seen too.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when `from` is not on the log any more, [`Error::Batch`] when a batch cannot be read, so
    /// that what was searched for may be in it; else why the partition could not be read.
    pub async fn search(
        &self,
        partition: &TopicPartition,
        from: i64,
        found_max: usize,
        mut wanted: impl FnMut(&RecordView<'_>) -> bool,
    ) -> Result<Vec<i64>, Error> {
        let end = self.offset(partition, At::Latest).await?.offset.unwrap_or(0);
        let mut range = self
            .read_from(partition.clone(), from, Until::Offset(end))
            .await?;
        range.limits.committed = false;
        let mut found = Vec::new();
        while let Some(piece) = range.next().await? {
            if let Piece::Unreadable(unreadable) = piece {
                return Err(unreadable.reason.into());
            }
            for record in piece.records().filter(|record| wanted(record)) {
                if found.len() == found_max {
                    return Ok(found);
                }
                found.push(record.offset);
            }
        }
        Ok(found)
    }

    /// The offset of the batch that carries `stamp`.
    pub(crate) async fn find_stamp(&self, partition: &TopicPartition, stamp: &Stamp) -> Result<i64, Error> {
        let mut range = self.read(partition.clone(), At::Earliest, Until::End).await?;
        while let Some(piece) = range.next().await? {
            if let Piece::Read { batch, .. } = &piece
                && batch.stamp() == Some(*stamp)
            {
                return Ok(batch.base_offset);
            }
        }
        // It was answered as appended, and is gone again: deleted, or the log was cut.
        Err(Error::NotAppended {
            partition: partition.clone(),
            answer: Answer::Appended { offset: None },
            may_have_landed: true,
        })
    }
}

impl Range {
    /// The next piece; `None` at the end of the range. Outages are waited out, up to the request time-out in a row.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Truncated`], or why the partition could not be read.
    pub async fn next(&mut self) -> Result<Option<Piece>, Error> {
        let mut failures = 0;
        let mut deadline = Instant::now() + self.patience;
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Ok(Some(piece));
            }
            if self.until.is_some_and(|until| self.next >= until) {
                return Ok(None);
            }
            match self.fill().await {
                Ok(()) => {
                    failures = 0;
                    deadline = Instant::now() + self.patience;
                }
                Err(error) if error.is_outage() && Instant::now() < deadline => {
                    failures += 1;
                    tokio::time::sleep(Backoff::RECONNECT.wait(failures, rand::random())).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The offset behind what was fetched so far.
    #[must_use]
    pub const fn position(&self) -> i64 {
        self.next
    }

    async fn fill(&mut self) -> Result<(), Error> {
        let cluster = self.fetcher.cluster();
        let topic = cluster.topic(&self.partition.topic).await?;
        let leader = cluster.leader(&self.partition).await?;
        let leader_epoch = match cluster.metadata().leader(&self.partition) {
            Leader::At { node, epoch } if node == leader => epoch,
            _ => -1,
        };
        let position = Position {
            partition: self.partition.clone(),
            topic_id: topic.id,
            offset: self.next,
            leader_epoch,
            last_epoch: self.last_epoch,
        };
        let fetched = self.fetcher.fetch(leader, &[position], &self.limits).await?;
        let Some(fetched) = fetched.into_iter().next() else {
            return Err(Error::Leaderless {
                partition: self.partition.clone(),
            });
        };
        self.take(fetched)
    }

    fn take(&mut self, fetched: Fetched) -> Result<(), Error> {
        match fetched.state {
            State::Read => {}
            State::OutOfRange => {
                return Err(Error::OutOfRange {
                    partition: self.partition.clone(),
                    offset: self.next,
                    earliest: fetched.log_start,
                });
            }
            State::Truncated { offset } => {
                return Err(Error::Truncated {
                    partition: self.partition.clone(),
                    offset,
                });
            }
            State::Elsewhere => {
                return Err(Error::Leaderless {
                    partition: self.partition.clone(),
                });
            }
            State::Refused { code } => return Error::check(code, "Fetch", &self.partition, None),
        }
        let mut transactions = Transactions::new(&fetched.aborted);
        let before = self.next;
        for batch in Batches::new(fetched.records) {
            self.take_batch(batch, &mut transactions);
        }
        // Compaction may have removed what lies between the last batch and the end of the range.
        if self.next == before
            && self
                .until
                .is_some_and(|until| fetched.last_stable_offset >= until)
        {
            self.next = fetched.last_stable_offset.min(self.until.unwrap_or(i64::MAX));
        }
        Ok(())
    }

    fn take_batch(&mut self, batch: Result<Batch, Unreadable>, transactions: &mut Transactions) {
        let until = self.until.unwrap_or(i64::MAX);
        let (base, last) = match &batch {
            Ok(batch) => (batch.base_offset, batch.last_offset),
            Err(unreadable) => (unreadable.base_offset, unreadable.last_offset),
        };
        if last < self.next || base >= until {
            return;
        }
        let from = self.next;
        self.next = last.saturating_add(1);
        let batch = match batch {
            Ok(batch) => batch,
            Err(unreadable) => return self.pieces.push_back(Piece::Unreadable(unreadable)),
        };
        self.last_epoch = batch.leader_epoch;
        let visible = transactions.is_visible(&batch);
        if batch.is_control() || (self.limits.committed && !visible) {
            return;
        }
        self.pieces.push_back(match batch.open(DECOMPRESSED_BYTES_MAX) {
            Ok(records) => Piece::Read {
                batch,
                records,
                from,
                until,
            },
            Err(reason) => Piece::Unreadable(batch.into_unreadable(reason)),
        });
    }
}
