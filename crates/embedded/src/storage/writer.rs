//! The thread that writes everything. It takes what has come in, does it as one round, and answers when the round is
//! durable; what comes in meanwhile is the next round. So one sync serves everybody who waits.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use kafka_protocol::ResponseError;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    append::{Append, Appended, append, roll},
    batch::Refusal,
    catalog::Catalog,
    cleaner::{Cleaner, Replacement, take_place},
    directory::Directory,
    disk::Disk,
    journal::Journal,
    offsets::{Fact, Offsets},
    partition::{Bounds, Partition, held},
    sync::Syncer,
    topic_change::Change,
    topic_config::Given,
    topics::{Topic, Topics},
};
use crate::{Config, Error, clock::now_ms};

/// Bytes of batches that one round takes in.
const ROUND_BYTES: usize = 64 * 1024 * 1024;
/// How often producers that are past their time are forgotten.
const EXPIRY_INTERVAL: Duration = Duration::from_mins(10);

/// Something to make durable, and where to answer. A dropped receiver is a client that went away: the work is done
/// all the same.
#[derive(Debug)]
pub(crate) enum Job {
    Append {
        appends: Vec<Append>,
        answer: oneshot::Sender<Vec<Appended>>,
    },
    Commit {
        facts: Vec<Fact>,
        answer: oneshot::Sender<io::Result<()>>,
    },
    CreateTopic {
        name: String,
        partitions: i32,
        given: Given,
        answer: oneshot::Sender<Result<Arc<Topic>, Refusal>>,
    },
    /// Changes a topic, or says whether it could be.
    ChangeTopic {
        topic: Uuid,
        change: Change,
        dry: bool,
        answer: oneshot::Sender<Result<Arc<Topic>, Refusal>>,
    },
    DeleteTopic {
        topic: Arc<Topic>,
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    DeleteRecords {
        partition: Arc<Partition>,
        before: i64,
        answer: oneshot::Sender<Result<i64, Refusal>>,
    },
    /// Begins the next segment of a partition, if there is anything in this one.
    Seal {
        partition: Arc<Partition>,
        answer: oneshot::Sender<io::Result<()>>,
    },
    /// Puts a compacted segment in its place.
    Replace {
        partition: Arc<Partition>,
        made: Replacement,
        answer: oneshot::Sender<io::Result<()>>,
    },
    /// Forgets every producer of a partition.
    ForgetProducers {
        partition: Arc<Partition>,
        answer: oneshot::Sender<io::Result<()>>,
    },
    ProducerId {
        answer: oneshot::Sender<io::Result<i64>>,
    },
    Stop,
}

/// What was found on disk, shared with everybody who reads it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) cluster: String,
    pub(crate) topics: Arc<Topics>,
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) thread: thread::JoinHandle<()>,
}

/// Opens everything in the data directory and starts the thread. Blocks while logs are recovered.
pub(crate) fn start(config: &Config, disk: Arc<Disk>) -> Result<Opened, Error> {
    let directory = Directory::take(&config.data_dir)?;
    let catalog = Catalog::open(directory.path(), Arc::clone(&disk))?;
    let offsets = Arc::new(Offsets::default());
    let path = directory.path().join("offsets.journal");
    let commits = Journal::open(&path, Arc::clone(&disk), |fact| offsets.take_in(fact))?;
    let topics = Arc::new(Topics::default());
    for topic in catalog.open_topics()? {
        topics.put(topic);
    }
    let (jobs, received) = mpsc::channel();
    let cluster = catalog.cluster().to_owned();
    let expiration_ms = i64::try_from(config.producer_id_expiration.as_millis()).unwrap_or(i64::MAX);
    let writer = Writer {
        syncer: Syncer::start(disk).map_err(Error::io("start a thread for", directory.path()))?,
        catalog,
        commits,
        offsets: Arc::clone(&offsets),
        topics: Arc::clone(&topics),
        segment_bytes: config.segment_bytes,
        expiration_ms,
        cleaner: Cleaner::start(Arc::clone(&topics), jobs.clone(), config.cleanup_interval)
            .map_err(Error::io("start a thread for", directory.path()))?,
        directory,
    };
    let place: PathBuf = config.data_dir.clone();
    let builder = thread::Builder::new().name("evenkeel-log".into());
    let thread = builder
        .spawn(move || writer.run(received))
        .map_err(Error::io("start a thread for", place))?;
    Ok(Opened {
        cluster,
        topics,
        offsets,
        jobs,
        thread,
    })
}

struct Writer {
    syncer: Syncer,
    catalog: Catalog,
    commits: Journal<Fact>,
    offsets: Arc<Offsets>,
    topics: Arc<Topics>,
    segment_bytes: u32,
    expiration_ms: i64,
    cleaner: Cleaner,
    directory: Directory,
}

/// What came in and is done together.
#[derive(Default)]
struct Round {
    appends: Vec<(Vec<Append>, oneshot::Sender<Vec<Appended>>)>,
    append_bytes: usize,
    commits: Vec<(Vec<Fact>, oneshot::Sender<io::Result<()>>)>,
    others: Vec<Job>,
    stop: bool,
}

impl Round {
    fn add(&mut self, job: Job) {
        match job {
            Job::Append { appends, answer } => {
                self.append_bytes += appends.iter().map(|append| append.batch.len()).sum::<usize>();
                self.appends.push((appends, answer));
            }
            Job::Commit { facts, answer } => self.commits.push((facts, answer)),
            Job::Stop => self.stop = true,
            other => self.others.push(other),
        }
    }
}

impl Writer {
    fn run(mut self, jobs: mpsc::Receiver<Job>) {
        self.expire();
        let mut expired = Instant::now();
        loop {
            let first = match jobs.recv_timeout(EXPIRY_INTERVAL.saturating_sub(expired.elapsed())) {
                Ok(job) => Some(job),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            if first.is_none() || expired.elapsed() >= EXPIRY_INTERVAL {
                self.expire();
                expired = Instant::now();
            }
            let mut round = Round::default();
            for job in first.into_iter().chain(jobs.try_iter()) {
                round.add(job);
                if round.stop || round.append_bytes >= ROUND_BYTES {
                    break;
                }
            }
            let stop = round.stop;
            self.play(round);
            if stop {
                break;
            }
        }
        // Who still waits for an answer learns that none will come.
        drop(jobs);
        self.close();
    }

    fn play(&mut self, round: Round) {
        if !round.appends.is_empty() {
            self.append(round.appends);
        }
        if !round.commits.is_empty() {
            self.commit(round.commits);
        }
        for job in round.others {
            self.change(job);
        }
    }

    fn append(&self, requests: Vec<(Vec<Append>, oneshot::Sender<Vec<Appended>>)>) {
        let all: Vec<&Append> = requests.iter().flat_map(|(appends, _)| appends).collect();
        let mut answers = append(&all, &self.syncer, self.segment_bytes).into_iter();
        for (appends, answer) in requests {
            drop(answer.send(answers.by_ref().take(appends.len()).collect()));
        }
    }

    fn commit(&mut self, requests: Vec<(Vec<Fact>, oneshot::Sender<io::Result<()>>)>) {
        let facts: Vec<Fact> = requests.iter().flat_map(|(facts, _)| facts).cloned().collect();
        let result = self.say(facts);
        for (_, answer) in requests {
            let copy = match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            drop(answer.send(copy));
        }
    }

    fn say(&mut self, facts: Vec<Fact>) -> io::Result<()> {
        self.commits
            .append(&facts)
            .inspect_err(|error| tracing::debug!(%error, "a commit of offsets failed"))?;
        facts.into_iter().for_each(|fact| self.offsets.take_in(fact));
        if self.commits.is_large()
            && let Err(error) = self.commits.rewrite(&self.offsets.facts())
        {
            tracing::warn!(%error, "the journal of committed offsets could not be written anew; it grows on");
        }
        Ok(())
    }

    fn change(&mut self, job: Job) {
        match job {
            Job::CreateTopic {
                name,
                partitions,
                given,
                answer,
            } => {
                drop(answer.send(self.create_topic(&name, partitions, given)));
            }
            Job::ChangeTopic {
                topic,
                change,
                dry,
                answer,
            } => drop(answer.send(self.change_topic(topic, &change, dry))),
            Job::DeleteTopic { topic, answer } => drop(answer.send(self.delete_topic(&topic))),
            Job::DeleteRecords {
                partition,
                before,
                answer,
            } => {
                drop(answer.send(self.delete_records(&partition, before)));
            }
            Job::Seal { partition, answer } => drop(answer.send(self.seal(&partition))),
            Job::Replace {
                partition,
                made,
                answer,
            } => {
                let replaced = self
                    .syncer
                    .disk()
                    .check_space()
                    .and_then(|()| take_place(&partition, made));
                drop(answer.send(replaced));
            }
            Job::ForgetProducers { partition, answer } => {
                held(&partition.log).forget_producers();
                drop(answer.send(Ok(())));
            }
            Job::ProducerId { answer } => drop(answer.send(self.catalog.producer_id())),
            Job::Append { .. } | Job::Commit { .. } | Job::Stop => {}
        }
    }

    fn create_topic(&mut self, name: &str, partitions: i32, given: Given) -> Result<Arc<Topic>, Refusal> {
        if self.topics.named(name).is_some() {
            return Err(Refusal::new(
                ResponseError::TopicAlreadyExists,
                format!("topic {name} exists"),
            ));
        }
        let topic = self
            .catalog
            .create(name, partitions, given)
            .map_err(|error| storage(&error))?;
        self.topics.put(Arc::clone(&topic));
        Ok(topic)
    }

    fn change_topic(&mut self, id: Uuid, change: &Change, dry: bool) -> Result<Arc<Topic>, Refusal> {
        let Some(topic) = self.topics.with_id(id) else {
            return Err(deleted_already());
        };
        let present = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let (count, given) = change.applied(present, &topic.given)?;
        if dry {
            return Ok(topic);
        }
        let changed = self
            .catalog
            .change(&topic, count, given)
            .map_err(|error| storage(&error))?;
        self.topics.put(Arc::clone(&changed));
        Ok(changed)
    }

    fn delete_topic(&mut self, topic: &Topic) -> Result<(), Refusal> {
        // It may have grown since it was looked up.
        let Some(topic) = self.topics.with_id(topic.id) else {
            return Err(deleted_already());
        };
        self.catalog.delete(topic.id).map_err(|error| storage(&error))?;
        self.topics.remove(&topic);
        for partition in &topic.partitions {
            held(&partition.log).close();
            partition.close();
        }
        self.catalog.remove_files(topic.id);
        if let Err(error) = self.say(vec![Fact::TopicGone {
            topic: topic.name.clone(),
        }]) {
            tracing::warn!(topic = topic.name, %error, "offsets of a deleted topic stay");
        }
        Ok(())
    }

    fn seal(&self, partition: &Partition) -> io::Result<()> {
        let mut log = held(&partition.log);
        if log.is_closed() || log.is_fresh() {
            return Ok(());
        }
        self.syncer.disk().check_space()?;
        log.mend()?;
        roll(partition, &mut log)
    }

    fn delete_records(&mut self, partition: &Partition, before: i64) -> Result<i64, Refusal> {
        let Bounds { start, end } = partition.bounds();
        let before = if before == -1 { end } else { before };
        if before < start || before > end {
            let reason = format!("offset {before} is not within {start} to {end}");
            return Err(Refusal::new(ResponseError::OffsetOutOfRange, reason));
        }
        let said = self
            .catalog
            .set_start(partition.topic_id, partition.number, before);
        said.map_err(|error| storage(&error))?;
        for path in partition.trim(before) {
            for path in [super::checkpoint::path_of(&path), path] {
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::debug!(path = %path.display(), %error, "a file of deleted records stays");
                }
            }
        }
        Ok(before)
    }

    fn expire(&self) {
        let now = now_ms();
        for topic in self.topics.all() {
            for partition in &topic.partitions {
                held(&partition.log).expire_producers(now, self.expiration_ms);
            }
        }
    }

    /// Everything acknowledged is durable already; this only makes the next start quick.
    fn close(self) {
        self.cleaner.end();
        for topic in self.topics.all() {
            for partition in &topic.partitions {
                let index = partition
                    .with_active(|segment| segment.index.clone())
                    .unwrap_or_default();
                if let Err(error) = held(&partition.log).save_checkpoint(index) {
                    tracing::warn!(topic = topic.name, %error, "no checkpoint was written");
                }
            }
        }
        tracing::debug!(directory = %self.directory.path().display(), "the log is closed");
    }
}

fn deleted_already() -> Refusal {
    Refusal::new(
        ResponseError::UnknownTopicOrPartition,
        "the topic is deleted already",
    )
}

fn storage(error: &io::Error) -> Refusal {
    tracing::error!(%error, "a change of the catalog failed");
    Refusal::new(
        ResponseError::KafkaStorageError,
        format!("the data directory cannot be written: {error}"),
    )
}
