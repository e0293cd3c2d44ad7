//! Several members in processes of their own, a steady writer, and the judge of what they say they did.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel_broker::Cluster;
use evenkeel_broker::admin::NewTopic;
use evenkeel_broker::fetch::At;
use evenkeel_broker::group::Assignor;
use evenkeel_event::clock::SystemClock;
use evenkeel_event::{Record, TopicName, TopicPartition};

use crate::brokers::{PATIENCE, connect, name};
use crate::group_member::Role;

pub(crate) const PARTITIONS: i32 = 6;
/// Every partition gets this many records each tenth of a second: 2,000 a second in all.
const RECORDS_EACH: usize = 34;
const TICK: Duration = Duration::from_millis(100);
/// No new generation for this long means that the group has settled.
const QUIET: Duration = Duration::from_secs(3);
/// Something is being read if it was read within this time.
const FRESH: Duration = Duration::from_secs(1);
/// Longest wait for a group to settle or to read everything.
const SETTLE_MAX: Duration = Duration::from_secs(120);

/// What a member said, and when it was heard.
#[derive(Debug, Clone)]
struct Said {
    member: usize,
    at: Instant,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Assigned(i32),
    Read { partition: i32, first: i64, last: i64 },
    Unexpected(String),
    Other,
}

/// A member's process.
struct Player {
    child: Child,
    /// One of ours tells generations; a foreign one only what it reads.
    ours: bool,
    counts: bool,
}

/// A group under test.
pub(crate) struct Crowd {
    pub(crate) cluster: Cluster,
    pub(crate) role: Role,
    label: String,
    players: Vec<Player>,
    said: Arc<Mutex<Vec<Said>>>,
    writing: Arc<AtomicBool>,
    /// When each partition took records.
    written: Arc<Mutex<Vec<(i32, Instant)>>>,
    writers: Vec<tokio::task::JoinHandle<()>>,
    /// How long partitions stood still, change by change.
    report: Vec<String>,
    logs: Vec<PathBuf>,
}

impl Crowd {
    /// A new topic that is written to from now on, and a group without members.
    pub(crate) async fn new(bootstrap: &str, copies: i16, assignor: Assignor, label: &str) -> Self {
        let cluster = connect(bootstrap).await;
        let topic = name("crowd");
        let new = NewTopic {
            name: topic.clone(),
            partitions: PARTITIONS,
            replication: copies,
            configs: Vec::new(),
        };
        cluster.create_topic(&new).await.unwrap();
        let role = Role {
            bootstrap: bootstrap.to_owned(),
            group: name("crowd").to_string(),
            topic,
            assignor,
        };
        let mut crowd = Self {
            cluster,
            role,
            label: format!("{label}, {}", assignor.name()),
            players: Vec::new(),
            said: Arc::default(),
            writing: Arc::new(AtomicBool::new(true)),
            written: Arc::default(),
            writers: Vec::new(),
            report: Vec::new(),
            logs: Vec::new(),
        };
        crowd.write();
        crowd
    }

    fn write(&mut self) {
        for index in 0..PARTITIONS {
            let written = self.written.clone();
            let (cluster, topic, writing) = (
                self.cluster.clone(),
                self.role.topic.clone(),
                self.writing.clone(),
            );
            self.writers.push(tokio::spawn(async move {
                let record = Record {
                    topic: topic.clone(),
                    partition: Some(index),
                    key: None,
                    value: Some(vec![b'x'; 100].into()),
                    headers: Vec::new(),
                };
                let records = vec![record; RECORDS_EACH];
                let partition = TopicPartition::new(topic, index);
                let mut ticks = tokio::time::interval(TICK);
                while writing.load(Ordering::Acquire) {
                    ticks.tick().await;
                    // What may have landed and was not answered is on the log or not: the judge reads its end.
                    let _landed = cluster
                        .append(&partition, &records, &SystemClock::default(), PATIENCE)
                        .await;
                    written.lock().unwrap().push((index, Instant::now()));
                }
            }));
        }
    }

    /// Starts a member of ours.
    pub(crate) fn start(&mut self) -> usize {
        self.spawn(self.role.command(), true)
    }

    /// Starts a member by `command`, which tells what it reads on its standard output.
    pub(crate) fn start_foreign(&mut self, mut command: Command) -> usize {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        self.spawn(command, false)
    }

    fn spawn(&mut self, mut command: Command, ours: bool) -> usize {
        let mut child = command.spawn().unwrap();
        let (member, said) = (self.players.len(), self.said.clone());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let what = parse(&line);
                said.lock().unwrap().push(Said {
                    member,
                    at: Instant::now(),
                    what,
                });
            }
        });
        self.players.push(Player {
            child,
            ours,
            counts: true,
        });
        member
    }

    /// Kills a member at once.
    pub(crate) fn kill(&mut self, member: usize) {
        let player = &mut self.players[member];
        player.counts = false;
        player.child.kill().unwrap();
        player.child.wait().unwrap();
    }

    /// Lets a member close and waits until it has.
    pub(crate) fn close(&mut self, member: usize) {
        let player = &mut self.players[member];
        player.counts = false;
        drop(player.child.stdin.take());
        assert!(
            player.child.wait().unwrap().success(),
            "{}: member {member} closed badly",
            self.label
        );
    }

    pub(crate) fn pause(&mut self, member: usize) {
        self.players[member].counts = false;
        self.signal(member, "-STOP");
    }

    pub(crate) fn resume(&mut self, member: usize) {
        self.signal(member, "-CONT");
        self.players[member].counts = true;
    }

    /// Ends a foreign member by a signal that it takes for a wish to close.
    pub(crate) fn interrupt(&mut self, member: usize) {
        self.players[member].counts = false;
        self.signal(member, "-TERM");
        self.players[member].child.wait().unwrap();
    }

    fn signal(&self, member: usize, signal: &str) {
        let id = self.players[member].child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap().clone()
    }

    /// The last generation that any member of ours took part in.
    pub(crate) fn generation(&self) -> i32 {
        let said = self.said();
        let generations = said.iter().filter_map(|said| match said.what {
            What::Assigned(generation) => Some(generation),
            _ => None,
        });
        generations.max().unwrap_or(0)
    }

    /// True when the members of ours that count are in one generation, and every partition was read lately.
    fn is_settled(&self) -> bool {
        let said = self.said();
        let (mut generations, mut reads) = (BTreeMap::new(), BTreeMap::new());
        for said in &said {
            match said.what {
                What::Assigned(generation) => drop(generations.insert(said.member, (generation, said.at))),
                What::Read { partition, .. } => drop(reads.insert(partition, said.at)),
                _ => {}
            }
        }
        let counted: Vec<Option<&(i32, Instant)>> = (0..self.players.len())
            .filter(|member| self.players[*member].ours && self.players[*member].counts)
            .map(|member| generations.get(&member))
            .collect();
        let last = generations.values().map(|(generation, _)| *generation).max();
        let quiet = generations.values().all(|(_, at)| at.elapsed() >= QUIET);
        let together = counted
            .iter()
            .all(|seen| seen.is_some() && seen.map(|(generation, _)| *generation) == last);
        let fresh = reads
            .values()
            .filter(|at| at.elapsed() < Duration::from_secs(1))
            .count();
        quiet && together && fresh == usize::try_from(PARTITIONS).unwrap() && self.foreigners_read(&said)
    }

    /// A foreign member is in the group when it reads.
    fn foreigners_read(&self, said: &[Said]) -> bool {
        let fresh = |member| {
            let read = |said: &&Said| said.member == member && matches!(said.what, What::Read { .. });
            said.iter()
                .rev()
                .find(read)
                .is_some_and(|said| said.at.elapsed() < FRESH)
        };
        let counted = self
            .players
            .iter()
            .enumerate()
            .filter(|(_, player)| player.counts && !player.ours);
        counted.map(|(member, _)| member).all(fresh)
    }

    /// Waits until the group has settled, makes `change`, waits again, and holds that it took one generation at least
    /// and `generations` at the most.
    pub(crate) async fn after(
        &mut self,
        what: &str,
        generations: std::ops::RangeInclusive<i32>,
        change: impl AsyncFnOnce(&mut Self),
    ) {
        self.settle(what).await;
        let (before, began) = (self.generation(), Instant::now());
        change(self).await;
        tokio::time::sleep(QUIET).await;
        self.settle(what).await;
        let taken = self.generation() - before;
        let gaps = self.gaps(began);
        let line = format!("{}: {what}: {taken} generations, {gaps}", self.label);
        self.report.push(line.clone());
        assert!(
            generations.contains(&taken),
            "{line}, not {generations:?}\n{}",
            self.rebalances()
        );
    }

    pub(crate) async fn settle(&self, what: &str) {
        let began = Instant::now();
        while !self.is_settled() {
            self.check_nothing_unexpected();
            assert!(
                began.elapsed() < SETTLE_MAX,
                "{}: {what}: not settled:\n{}",
                self.label,
                self.tail()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn tail(&self) -> String {
        let said = self.said();
        let told = said.iter().filter(|said| !matches!(said.what, What::Read { .. }));
        let mut lines: Vec<String> = told.rev().take(30).map(|said| format!("{said:?}")).collect();
        lines.reverse();
        lines.join("\n")
    }

    /// How long each partition stood still since `began`, for its readers and for its writer: while a partition takes
    /// nothing, there is nothing to read.
    fn gaps(&self, began: Instant) -> String {
        let said = self.said();
        let reads = said.iter().filter_map(|said| match said.what {
            What::Read { partition, .. } => Some((partition, said.at)),
            _ => None,
        });
        let writes = self.written.lock().unwrap().clone();
        let (read, write) = (
            longest_gaps(reads, began),
            longest_gaps(writes.into_iter(), began),
        );
        let still = read.iter().filter(|gap| **gap > FRESH.as_millis()).count();
        format!(
            "{still} of {PARTITIONS} partitions stood still, longest {} ms, median {} ms; the writer's longest {} ms, \
             median {} ms",
            read[5], read[3], write[5], write[3]
        )
    }

    /// What the coordinators say about this group's rebalances, with their reasons.
    fn rebalances(&self) -> String {
        let told = self
            .logs
            .iter()
            .filter_map(|log| std::fs::read_to_string(log).ok());
        let mut lines: Vec<String> = told
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| line.contains(&self.role.group) && line.contains("ebalance"))
            .collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// Where the coordinators write what they do, for the message of a failure.
    pub(crate) fn with_logs_of(mut self, kafka: &evenkeel_testkit::Kafka) -> Self {
        self.logs = kafka
            .nodes()
            .iter()
            .map(|node| node.folder.join("kafka.log"))
            .collect();
        self
    }

    fn check_nothing_unexpected(&self) {
        for said in self.said() {
            if let What::Unexpected(text) = said.what {
                panic!("{}: member {} said: {text}", self.label, said.member);
            }
        }
    }

    /// Stops writing, lets the members read to the end and close, and judges: nothing skipped, everything committed.
    pub(crate) async fn finish(mut self) -> Vec<String> {
        self.settle("the end").await;
        self.writing.store(false, Ordering::Release);
        for writer in self.writers.drain(..) {
            writer.await.unwrap();
        }
        let mut ends = Vec::new();
        for index in 0..PARTITIONS {
            let partition = TopicPartition::new(self.role.topic.clone(), index);
            ends.push(
                self.cluster
                    .offset(&partition, At::Latest)
                    .await
                    .unwrap()
                    .offset
                    .unwrap(),
            );
        }
        let began = Instant::now();
        while self.missing(&ends).iter().any(|missing| !missing.is_empty()) && began.elapsed() < SETTLE_MAX {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let missing = self.missing(&ends);
        assert!(
            missing.iter().all(String::is_empty),
            "{}: skipped {missing:?}\n{}",
            self.label,
            self.tail()
        );
        let ours = self.players.iter().all(|player| player.ours);
        for member in 0..self.players.len() {
            if self.players[member].counts && self.players[member].ours {
                self.close(member);
            }
        }
        self.check_nothing_unexpected();
        if ours {
            self.check_committed(&ends).await;
        }
        std::mem::take(&mut self.report)
    }

    /// The offsets of each partition that nobody has read.
    fn missing(&self, ends: &[i64]) -> Vec<String> {
        let mut read: Vec<Vec<(i64, i64)>> = vec![Vec::new(); ends.len()];
        for said in self.said() {
            if let What::Read {
                partition,
                first,
                last,
            } = said.what
            {
                read[usize::try_from(partition).unwrap()].push((first, last));
            }
        }
        let holes = read.into_iter().zip(ends).map(|(mut ranges, end)| {
            ranges.sort_unstable();
            let (mut next, mut holes) = (0, String::new());
            for (first, last) in ranges.into_iter().chain([(*end, *end)]) {
                if first > next {
                    holes.push_str(&format!("{next}-{} ", first - 1));
                }
                next = next.max(last + 1);
            }
            holes
        });
        holes.collect()
    }

    async fn check_committed(&self, ends: &[i64]) {
        let mut committed: Vec<(i32, i64)> = self
            .cluster
            .committed(&self.role.group)
            .await
            .unwrap()
            .iter()
            .map(|committed| (committed.partition.partition, committed.offset))
            .collect();
        committed.sort_unstable();
        let expected: Vec<(i32, i64)> = (0..).zip(ends.iter().copied()).collect();
        assert_eq!(committed, expected, "{}: not everything is committed", self.label);
    }

    pub(crate) fn topic(&self) -> &TopicName {
        &self.role.topic
    }
}

/// The longest gap of each partition since `began`, in milliseconds, sorted.
fn longest_gaps(happened: impl Iterator<Item = (i32, Instant)>, began: Instant) -> Vec<u128> {
    let mut times: BTreeMap<i32, Vec<Instant>> = (0..PARTITIONS).map(|index| (index, vec![began])).collect();
    for (partition, at) in happened.filter(|(_, at)| *at >= began) {
        times.entry(partition).or_default().push(at);
    }
    let longest = |times: &Vec<Instant>| times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).max();
    let mut gaps: Vec<u128> = times.values().map(|times| longest(times).unwrap_or(0)).collect();
    gaps.sort_unstable();
    gaps
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.writing.store(false, Ordering::Release);
        for player in &mut self.players {
            // Those that have ended cannot be killed; nothing is left of them.
            let _gone = player.child.kill();
            let _ended = player.child.wait();
        }
    }
}

/// Reads a line of ours (`@ verb …`), of the Python member (the same), or of the console consumer.
fn parse(line: &str) -> What {
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or(-1);
    if let Some(told) = line.strip_prefix("@ ") {
        let mut words = told.split(' ');
        return match words.next() {
            Some("assigned") => What::Assigned(number(words.next()) as i32),
            Some("read") => {
                let (partition, first, last) = (
                    number(words.next()) as i32,
                    number(words.next()),
                    number(words.next()),
                );
                What::Read {
                    partition,
                    first,
                    last,
                }
            }
            Some("unexpected") => What::Unexpected(told.to_owned()),
            _ => What::Other,
        };
    }
    let mut fields = line.split('\t');
    let mut labelled = |label: &str| {
        fields
            .next()
            .and_then(|field| field.strip_prefix(label)?.parse::<i64>().ok())
    };
    match (labelled("Partition:"), labelled("Offset:")) {
        (Some(partition), Some(offset)) => What::Read {
            partition: partition as i32,
            first: offset,
            last: offset,
        },
        _ if line.contains("panicked at") => What::Unexpected(line.to_owned()),
        _ => What::Other,
    }
}
