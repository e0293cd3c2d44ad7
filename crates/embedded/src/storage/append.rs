//! One round of appends: every partition's batches are written, the files are synced side by side, and only then
//! is anything answered.

use std::{collections::HashMap, io, io::IoSlice, sync::Arc, sync::MutexGuard};

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::{
    batch::{Header, PATCHED_BYTES, Refusal},
    disk::Disk,
    log::{Log, Staged},
    partition::{Partition, held},
    sync::Syncer,
};

/// One checked batch on its way to its partition.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) partition: Arc<Partition>,
    pub(crate) header: Header,
    pub(crate) batch: Bytes,
    /// Bytes from which on the partition's next segment is begun; `None` for the broker's own.
    pub(crate) segment_bytes: Option<u32>,
}

/// The offset of the batch's first record, or why it is not in the log.
pub(crate) type Appended = Result<i64, Refusal>;

/// The batches of one partition in one round.
struct Turn<'a> {
    partition: &'a Partition,
    log: MutexGuard<'a, Log>,
    appends: Vec<(usize, &'a Append)>,
    answers: Vec<(usize, Appended)>,
    patched: Vec<([u8; PATCHED_BYTES], &'a Bytes)>,
    failed: Option<io::Error>,
}

/// Appends everything and answers in the order of `appends`.
pub(crate) fn append(appends: &[&Append], syncer: &Syncer, segment_bytes: u32) -> Vec<Appended> {
    let mut turns = turns(appends);
    for turn in &mut turns {
        turn.failed = turn.write(segment_bytes, syncer.disk()).err();
    }
    let written: Vec<(usize, _)> = turns
        .iter()
        .enumerate()
        .filter(|(_, turn)| turn.failed.is_none())
        .filter_map(|(place, turn)| Some((place, turn.log.unsynced()?)))
        .collect();
    let files: Vec<_> = written.iter().map(|(_, file)| Arc::clone(file)).collect();
    for ((place, _), synced) in written.iter().zip(syncer.sync(&files)) {
        if let (Some(turn), Err(error)) = (turns.get_mut(*place), synced) {
            turn.failed = Some(error);
        }
    }
    let failure = turns.iter().find_map(|turn| turn.failed.as_ref());
    if failure.is_some() || !files.is_empty() {
        syncer.disk().note(failure);
    }
    let mut answers: Vec<(usize, Appended)> = turns.into_iter().flat_map(Turn::finish).collect();
    answers.sort_unstable_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn turns<'a>(appends: &[&'a Append]) -> Vec<Turn<'a>> {
    let mut turns: Vec<Turn<'a>> = Vec::new();
    let mut places = HashMap::new();
    for (number, append) in appends.iter().enumerate() {
        let turn = *places.entry(Arc::as_ptr(&append.partition)).or_insert_with(|| {
            turns.push(Turn::new(&append.partition));
            turns.len() - 1
        });
        if let Some(turn) = turns.get_mut(turn) {
            turn.appends.push((number, append));
        }
    }
    turns
}

/// Seals the segment that is written to and begins the next.
pub(super) fn roll(partition: &Partition, log: &mut Log) -> io::Result<()> {
    let index = partition
        .with_active(|segment| segment.index.clone())
        .unwrap_or_default();
    partition.roll(log.roll(index)?);
    Ok(())
}

impl<'a> Turn<'a> {
    fn new(partition: &'a Partition) -> Self {
        let log = held(&partition.log);
        Self {
            partition,
            log,
            appends: Vec::new(),
            answers: Vec::new(),
            patched: Vec::new(),
            failed: None,
        }
    }

    fn write(&mut self, segment_bytes: u32, disk: &Disk) -> io::Result<()> {
        if self.log.is_closed() {
            let gone = || Refusal::new(ResponseError::UnknownTopicOrPartition, "the topic was deleted");
            self.answers = self
                .appends
                .iter()
                .map(|(number, _)| (*number, Err(gone())))
                .collect();
            return Ok(());
        }
        self.log.mend()?;
        let own = self.appends.first().and_then(|(_, append)| append.segment_bytes);
        if self.log.is_full(own.unwrap_or(segment_bytes)) {
            disk.check_space()?;
            roll(self.partition, &mut self.log)?;
        }
        for (number, append) in &self.appends {
            let answer = match self.log.stage(&append.header) {
                Staged::Refused(refusal) => Err(refusal),
                Staged::Duplicate(offset) => Ok(offset),
                Staged::Write(offset, patched) => {
                    self.patched.push((patched, &append.batch));
                    Ok(offset)
                }
            };
            self.answers.push((*number, answer));
        }
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(self.patched.len() * 2);
        for (patched, batch) in &self.patched {
            slices.push(IoSlice::new(patched));
            slices.push(IoSlice::new(batch.get(PATCHED_BYTES..).unwrap_or_default()));
        }
        if disk.is_full() {
            // As a real one: some of the bytes still find room.
            slices.truncate(1);
            self.log.write(&mut slices)?;
            return disk.check_space();
        }
        self.log.write(&mut slices)
    }

    /// Publishes what is durable, or takes everything back: then nothing of this turn is acknowledged, duplicates
    /// included, for the batch that they double may be one of this turn.
    fn finish(mut self) -> Vec<(usize, Appended)> {
        let Some(error) = self.failed else {
            if self.log.unsynced().is_some() {
                let (mark, entries) = self.log.settle();
                self.partition
                    .publish(mark.next_offset, mark.bytes, mark.newest_ms, &entries);
            }
            return self.answers;
        };
        tracing::debug!(topic = self.partition.topic, partition = self.partition.number, %error, "an append failed");
        self.log.roll_back();
        let refusal = || {
            Refusal::new(
                ResponseError::KafkaStorageError,
                format!("the log cannot be written: {error}"),
            )
        };
        self.appends
            .iter()
            .map(|(number, _)| (*number, Err(refusal())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, fs::OpenOptions, path::Path};

    use uuid::Uuid;

    use super::super::{log::Mark, partition::View, producers::Producers, segment::Segment};
    use super::*;

    /// A partition on a device that takes every write and refuses every sync.
    fn unsyncable() -> Arc<Partition> {
        let path = Path::new("/dev/null");
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(path).unwrap());
        let mark = Mark {
            bytes: 0,
            next_offset: 0,
            newest_ms: -1,
        };
        let log = Log::at(path, path, Arc::clone(&file), mark, Producers::default());
        let segment = Segment::empty(0, path.into(), file);
        let view = View::new(0, 0, VecDeque::from([segment]));
        Arc::new(Partition::new("t".into(), Uuid::nil(), 0, log, view))
    }

    #[test]
    fn what_is_written_and_not_synced_is_neither_acknowledged_nor_visible() {
        let partition = unsyncable();
        let batch = Bytes::from(vec![0; super::super::batch::HEADER_BYTES]);
        let mut header = Header::parse(&batch).unwrap();
        header.batch_length = 49;
        header.records = 1;
        let append_one = Append {
            partition: Arc::clone(&partition),
            header,
            batch,
            segment_bytes: None,
        };
        let answers = append(
            &[&append_one, &append_one],
            &Syncer::start(Arc::default()).unwrap(),
            1 << 20,
        );
        assert_eq!(answers.len(), 2);
        for answer in answers {
            assert_eq!(answer.unwrap_err().error, ResponseError::KafkaStorageError);
        }
        assert_eq!(partition.bounds().end, 0);
    }
}
