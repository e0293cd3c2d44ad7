//! The thread that makes room: it deletes whole segments by age and size, and compacts those that are sealed.
//!
//! It reads on its own and writes only files that nobody knows yet. What it decides is done by the log's thread:
//! sealing, deleting, and putting a compacted segment in the place of those it was made of.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    checkpoint::Checkpoint,
    compact::{self, Kept, Latest, Times},
    index::{Entry, Index},
    partition::{Partition, Sealed},
    segment::{Name, Segment},
    topic_config::Obeyed,
    topics::Topics,
    writer::Job,
};
use crate::clock::now_ms;

/// Bytes of segments that compaction joins to one.
const MERGED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The running thread. Dropping it does not end it; [`Cleaner::end`] does.
#[derive(Debug)]
pub(super) struct Cleaner {
    ending: Arc<AtomicBool>,
    bell: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

/// One compacted segment that waits for its place.
#[derive(Debug)]
pub(crate) struct Replacement {
    /// The segments that it was made of.
    pub(super) paths: Vec<PathBuf>,
    /// Where it lies until it is taken.
    pub(super) beside: PathBuf,
    pub(super) segment: Segment,
}

impl Cleaner {
    pub(super) fn start(
        topics: Arc<Topics>,
        jobs: mpsc::Sender<Job>,
        interval: Duration,
    ) -> io::Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        let (bell, rung) = mpsc::channel();
        let pass = Pass {
            topics,
            jobs,
            ending: Arc::clone(&ending),
            given_up: HashMap::new(),
        };
        let thread = thread::Builder::new()
            .name("evenkeel-cleaner".into())
            .spawn(move || pass.run(&rung, interval))?;
        Ok(Self { ending, bell, thread })
    }

    /// Ends the thread and waits for it. The log's thread must not owe it an answer.
    pub(super) fn end(self) {
        self.ending.store(true, Ordering::Release);
        drop(self.bell);
        if self.thread.join().is_err() {
            tracing::error!("the cleaner had died");
        }
    }
}

struct Pass {
    topics: Arc<Topics>,
    jobs: mpsc::Sender<Job>,
    ending: Arc<AtomicBool>,
    /// Partitions that could not be compacted, with the end of what was tried: not tried again before there is more.
    given_up: HashMap<(Uuid, i32), i64>,
}

impl Pass {
    fn run(mut self, rung: &mpsc::Receiver<()>, interval: Duration) {
        while matches!(rung.recv_timeout(interval), Err(mpsc::RecvTimeoutError::Timeout)) {
            for topic in self.topics.all() {
                for partition in &topic.partitions {
                    if self.ending.load(Ordering::Acquire) {
                        return;
                    }
                    self.clean(partition, &topic.obeyed);
                }
            }
        }
    }

    fn clean(&mut self, partition: &Arc<Partition>, obeyed: &Obeyed) {
        let cleaned = self.seal_old(partition, obeyed).and_then(|()| {
            if obeyed.is_deleted {
                self.delete(partition, obeyed)?;
            }
            if obeyed.is_compacted {
                self.compact(partition, obeyed)?;
            }
            Ok(())
        });
        if let Err(error) = cleaned
            && !self.ending.load(Ordering::Acquire)
            && !partition.is_gone()
        {
            tracing::warn!(topic = partition.topic, partition = partition.number, %error, "a partition could not be cleaned; it keeps more than it must");
            let end = partition.sealed().last().map_or(0, |last| last.end);
            self.given_up.insert((partition.topic_id, partition.number), end);
        }
    }

    /// Asks the log's thread for something and waits for it.
    fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> io::Result<T> {
        let (answer, receiver) = oneshot::channel();
        let stopping = || io::Error::other("the broker is stopping");
        self.jobs.send(job(answer)).map_err(|_| stopping())?;
        receiver.blocking_recv().map_err(|_| stopping())
    }

    /// Seals the segment that is written to when it began long ago, by the clock or by its records' timestamps, or when
    /// all of it is past its time.
    fn seal_old(&self, partition: &Arc<Partition>, obeyed: &Obeyed) -> io::Result<()> {
        let Some(mut active) = partition.active() else {
            return Ok(());
        };
        let now = now_ms();
        let over = obeyed.is_deleted && is_past(active.newest_ms, obeyed.retention_ms, now);
        let first = active.span.seek(|_| true)?;
        let limit = Some(obeyed.segment_ms);
        let old = first.is_some_and(|first| is_past(first.max_timestamp, limit, active.newest_ms))
            || active.began.elapsed().as_millis() > obeyed.segment_ms.unsigned_abs().into();
        if over || old {
            let partition = Arc::clone(partition);
            self.ask(|answer| Job::Seal { partition, answer })??;
        }
        Ok(())
    }

    fn delete(&self, partition: &Arc<Partition>, obeyed: &Obeyed) -> io::Result<()> {
        let sealed = partition.sealed();
        let active = partition.active().map_or(0, |active| u64::from(active.bytes));
        let mut bytes = active + sealed.iter().map(|segment| u64::from(segment.bytes)).sum::<u64>();
        let now = now_ms();
        let goes = |segment: &&Sealed| {
            let after = bytes - u64::from(segment.bytes);
            let goes = is_past(segment.newest_ms, obeyed.retention_ms, now)
                || obeyed.retention_bytes.is_some_and(|limit| after >= limit);
            if goes {
                bytes = after;
            }
            goes
        };
        let Some(before) = sealed.iter().take_while(goes).last() else {
            return Ok(());
        };
        let before = before.end;
        let partition = Arc::clone(partition);
        let deleted = self.ask(|answer| Job::DeleteRecords {
            partition,
            before,
            answer,
        })?;
        // Somebody may have deleted more meanwhile: that is no failure.
        deleted.map_or_else(
            |refusal| tracing::debug!(reason = refusal.reason, "nothing was deleted"),
            |_| (),
        );
        Ok(())
    }

    fn compact(&self, partition: &Arc<Partition>, obeyed: &Obeyed) -> io::Result<()> {
        let now = now_ms();
        let ripe = |segment: &Sealed| segment.newest_ms.saturating_add(obeyed.compaction_lag_ms) <= now;
        let sealed: Vec<Sealed> = partition.sealed().into_iter().take_while(ripe).collect();
        let given_up = self.given_up.get(&(partition.topic_id, partition.number));
        if !is_worth_it(&sealed, obeyed, now)
            || given_up.is_some_and(|end| sealed.last().is_none_or(|last| last.end <= *end))
        {
            return Ok(());
        }
        let clean_end = sealed
            .iter()
            .rfind(|segment| segment.generation > 0)
            .map_or(0, |clean| clean.end);
        let mut latest = Latest::new(clean_end);
        let mut take = 0;
        for segment in &sealed {
            let mut span = segment.span.clone();
            span.open()?;
            if segment.generation == 0 && !latest.take_in(&mut span, segment.end)? {
                break;
            }
            take += 1;
        }
        if take == 0 {
            return Err(io::Error::other(
                "the first segment has too many keys to be compacted",
            ));
        }
        let times = Times {
            now,
            delete_retention: obeyed.delete_retention_ms,
        };
        let mut rest = sealed.get(..take).unwrap_or_default();
        while !rest.is_empty() {
            let (made, used) = self.write(rest, &latest, times)?;
            rest = rest.get(used..).unwrap_or_default();
            let partition = Arc::clone(partition);
            self.ask(|answer| Job::Replace {
                partition,
                made,
                answer,
            })??;
        }
        Ok(())
    }

    /// Writes what stays of the first segments into one, and says of how many.
    fn write(&self, sealed: &[Sealed], latest: &Latest, times: Times) -> io::Result<(Replacement, usize)> {
        let first = sealed.first().ok_or(io::ErrorKind::NotFound)?;
        let directory = first.path.parent().unwrap_or(Path::new("."));
        let mut bytes = 0;
        // Several become one as long as they would fit even if nothing went.
        let fits = |segment: &&Sealed| {
            bytes += u64::from(segment.bytes);
            bytes <= MERGED_BYTES_MAX || segment.base == first.base
        };
        let group: Vec<&Sealed> = sealed.iter().take_while(fits).collect();
        let end = group.last().map_or(first.end, |last| last.end);
        let generation = group.iter().map(|segment| segment.generation).max().unwrap_or(0);
        let path = directory.join(Name::compacted(first.base, end, generation.saturating_add(1)));
        let mut output = Output::create(&path)?;
        for segment in &group {
            let mut span = segment.span.clone();
            span.open()?;
            while let Some((header, batch)) = compact::next(&mut span)? {
                if self.ending.load(Ordering::Acquire) {
                    return Err(io::Error::other("the broker is stopping"));
                }
                match latest.keep(&header, &batch, times)? {
                    Kept::Nothing => {}
                    Kept::Whole => output.put(&batch)?,
                    Kept::Part(part) => output.put(&part)?,
                }
            }
        }
        let last = group.last().map_or(first, |last| last);
        let segment = output.finish(first.base, end, generation.saturating_add(1), last)?;
        let made = Replacement {
            paths: group.iter().map(|segment| segment.path.clone()).collect(),
            beside: beside(&path),
            segment,
        };
        Ok((made, group.len()))
    }
}

/// Where a compacted segment is written before it is whole.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("compacting")
}

fn is_past(newest_ms: i64, limit: Option<i64>, now: i64) -> bool {
    newest_ms >= 0 && limit.is_some_and(|limit| now.saturating_sub(newest_ms) > limit)
}

/// Whether enough was written since the last time, or a tombstone may go.
fn is_worth_it(sealed: &[Sealed], obeyed: &Obeyed, now: i64) -> bool {
    if sealed
        .iter()
        .any(|segment| segment.due_ms.is_some_and(|due| due < now))
    {
        return true;
    }
    let bytes = |of: &dyn Fn(&&Sealed) -> bool| -> f64 {
        sealed
            .iter()
            .filter(of)
            .map(|segment| f64::from(segment.bytes))
            .sum()
    };
    let dirty = bytes(&|segment| segment.generation == 0);
    dirty > 0.0 && dirty / bytes(&|_| true) >= obeyed.dirty_ratio
}

/// A compacted segment that is being written.
struct Output {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u32,
    newest_ms: i64,
    index: Index,
    due_ms: Option<i64>,
}

impl Output {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.into(),
            file: BufWriter::new(File::create(beside(path))?),
            bytes: 0,
            newest_ms: -1,
            index: Index::default(),
            due_ms: None,
        })
    }

    fn put(&mut self, batch: &[u8]) -> io::Result<()> {
        let header = super::batch::Header::parse(batch).ok_or(io::ErrorKind::InvalidData)?;
        self.index.note(Entry {
            offset: header.base_offset,
            position: self.bytes,
            newest_before_ms: self.newest_ms,
        });
        self.newest_ms = self.newest_ms.max(header.max_timestamp);
        let due = [self.due_ms, header.delete_horizon_ms()];
        self.due_ms = due.into_iter().flatten().min();
        let size = u32::try_from(batch.len()).map_err(io::Error::other)?;
        let too_large = || io::Error::other("what compaction keeps is too large for one segment");
        self.bytes = self.bytes.checked_add(size).ok_or_else(too_large)?;
        self.file.write_all(batch)
    }

    /// Makes it durable under a name that recovery does not take, with its checkpoint: that keeps what the partition
    /// knows of producers whose batches are gone.
    fn finish(mut self, base: i64, end: i64, generation: u32, last: &Sealed) -> io::Result<Segment> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        let known = Checkpoint::load(&last.path).ok_or_else(|| {
            io::Error::other(format!(
                "{} has no checkpoint; the next start makes one",
                last.path.display()
            ))
        })?;
        self.index.thin();
        let checkpoint = Checkpoint {
            bytes: self.bytes,
            next_offset: end,
            newest_ms: self.newest_ms,
            index: self.index.clone(),
            producers: known.producers,
            due_ms: self.due_ms,
        };
        checkpoint.save(&self.path)?;
        Ok(Segment {
            base,
            path: self.path,
            file: None,
            bytes: self.bytes,
            newest_ms: self.newest_ms,
            index: self.index,
            generation,
            due_ms: self.due_ms,
            began: Instant::now(),
        })
    }
}

/// Puts a compacted segment in the place of those it was made of. Its rename is the moment at which it counts.
pub(super) fn take_place(partition: &Partition, made: Replacement) -> io::Result<()> {
    let Replacement {
        paths,
        beside,
        segment,
    } = made;
    if !partition.has(&paths) {
        // Records were deleted meanwhile: what was made of them is thrown away.
        discard(&[beside, super::checkpoint::path_of(&segment.path)]);
        return Ok(());
    }
    fs::rename(&beside, &segment.path)?;
    super::checkpoint::sync_directory(segment.path.parent().unwrap_or(Path::new(".")))?;
    partition.replace(&paths, segment);
    for path in paths {
        discard(&[super::checkpoint::path_of(&path), path]);
    }
    Ok(())
}

/// Removes files that nothing needs; one that stays is removed by the next start.
fn discard(paths: &[PathBuf]) {
    for path in paths {
        if let Err(error) = fs::remove_file(path) {
            tracing::debug!(path = %path.display(), %error, "a file that is not needed stays");
        }
    }
}
