//! `evenkeel status`: is anything wrong?

use std::time::Duration;

use anyhow::{Result, bail};
use evenkeel_broker::Cluster;
use evenkeel_broker::admin::LogDir;
use evenkeel_broker::fetch::At;
use evenkeel_event::clock::{Clock as _, SystemClock};
use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_store::Alarms;
use evenkeel_worker::applications::{Application, Looked};
use evenkeel_worker::redrive::read;
use serde::Serialize;
use serde_json::Value;

use super::dlq::{LETTERS_MAX, Ledgers, dead_letter_topics};
use super::standby::list::Told;
use crate::config::Settings;
use crate::connect;
use crate::exit::Outcome;
use crate::output::{Format, print_document, write_stdout};
use crate::registry::Registry;
use crate::shared_standby;
use crate::standby;

/// Longest wait for the registry.
const REGISTRY_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for what Kafka has to say of itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);
/// A disk is told of when less than this is free, in percent and in bytes.
const FREE_PERCENT_MIN: u64 = 5;
const FREE_BYTES_MIN: u64 = 10 << 30;

#[derive(Debug, Serialize)]
struct Status {
    /// Nothing below is wrong.
    ok: bool,
    cluster: ClusterStatus,
    registry: RegistryStatus,
    standby: Vec<StandbyStatus>,
    dead_letters: Vec<Letters>,
    /// What is wrong, a sentence each.
    wrong: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct ClusterStatus {
    brokers: Vec<String>,
    reachable: bool,
    id: String,
    nodes: usize,
    topics: usize,
    leaderless_partitions: usize,
    under_replicated_partitions: usize,
    /// Of the nodes that tell it and let us ask.
    log_dirs: Vec<LogDirStatus>,
}

#[derive(Debug, Serialize)]
struct LogDirStatus {
    node: i32,
    path: String,
    /// The node cannot write there: its disk fails or is full.
    failing: bool,
    total_bytes: Option<u64>,
    usable_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct RegistryStatus {
    url: String,
    ready: bool,
}

#[derive(Debug, Serialize)]
struct StandbyStatus {
    application: String,
    /// `shared` between processes, or on this machine's `disk`.
    store: &'static str,
    /// It lies on the disk from before the application's processes shared a store.
    #[serde(skip)]
    is_older: bool,
    /// A running process has the store open, and drains it.
    in_use: bool,
    /// Absent when the store cannot be read.
    events: Option<u64>,
    bytes: Option<u64>,
    oldest_age_seconds: Option<u64>,
    /// Places with parked events that an operator holds.
    places_held: u64,
    alarms: Vec<Told>,
}

#[derive(Debug, Serialize)]
struct Letters {
    topic: String,
    records: i64,
    /// Letters that were not redriven; absent when there are too many to look at each.
    open: Option<usize>,
}

pub(crate) async fn run(format: Format, settings: &Settings) -> Result<Outcome> {
    let mut wrong = Vec::new();
    let registry = tokio::task::block_in_place(|| registry(settings, &mut wrong));
    let mut standby = tokio::task::block_in_place(|| standby(settings, &mut wrong))?;
    match shared_standby::look(settings).await {
        Ok(None) => {}
        Ok(Some((application, looked))) => {
            let mut status = StandbyStatus::shared(&application);
            status.learn(&looked, &mut wrong);
            standby.push(status);
        }
        Err(error) => {
            wrong.push(format!("{error:#}"));
            let application = shared_standby::application(settings);
            let mut status = StandbyStatus::shared(&application);
            status.blame(
                &Alarms::read(&application.directory).unwrap_or_default(),
                &mut wrong,
            );
            standby.push(status);
        }
    }
    let mut cluster = ClusterStatus {
        brokers: settings.kafka.brokers.clone(),
        ..ClusterStatus::default()
    };
    let mut dead_letters = Vec::new();
    match look_at_kafka(settings, &mut cluster, &mut dead_letters, &mut wrong).await {
        Ok(()) => {}
        Err(error) => wrong.push(format!("{error:#}")),
    }
    let status = Status {
        ok: wrong.is_empty(),
        cluster,
        registry,
        standby,
        dead_letters,
        wrong,
    };
    match format {
        Format::Table => write_stdout(&screen(&status))?,
        other => print_document(other, &status)?,
    }
    Ok(if status.ok {
        Outcome::Fine
    } else {
        Outcome::Findings
    })
}

async fn look_at_kafka(
    settings: &Settings,
    status: &mut ClusterStatus,
    dead_letters: &mut Vec<Letters>,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let asked = async {
        let cluster = connect::cluster(settings).await?;
        let description = cluster.describe().await?;
        let topics = cluster.topics().await?;
        anyhow::Ok((cluster, description, topics))
    };
    let Ok(asked) = tokio::time::timeout(ANSWER_WITHIN, asked).await else {
        bail!(
            "Kafka at {} does not answer within {} s: see that its brokers run, and that nothing stands still on the way to them",
            settings.kafka.brokers.join(", "),
            ANSWER_WITHIN.as_secs()
        );
    };
    let (cluster, description, topics) = asked?;
    status.reachable = true;
    status.id = description.id;
    status.nodes = description.nodes.len();
    status.topics = topics.len();
    let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
    status.leaderless_partitions = partitions()
        .filter(|partition| partition.leader.is_none())
        .count();
    status.under_replicated_partitions = partitions()
        .filter(|partition| partition.in_sync.len() < partition.replicas.len())
        .count();
    if status.leaderless_partitions > 0 {
        wrong.push(format!(
            "{} partitions have no leader: their events are parked (evenkeel topic list shows them)",
            status.leaderless_partitions
        ));
    }
    if status.under_replicated_partitions > 0 {
        wrong.push(format!(
            "{} partitions have replicas that lag behind (evenkeel topic list shows them)",
            status.under_replicated_partitions
        ));
    }
    // What it means for events that a node is silent shows elsewhere.
    let log_dirs = cluster.log_dirs().await.into_iter().map(LogDirStatus::of);
    status.log_dirs = log_dirs.collect();
    wrong.extend(status.log_dirs.iter().filter_map(LogDirStatus::wrong));
    let topics = dead_letter_topics(&cluster).await?;
    let ledgers = Ledgers::read(&cluster, &topics, settings).await?;
    for topic in topics {
        let letters = letters(&cluster, &topic, &ledgers).await?;
        match letters.open {
            Some(0) => {}
            Some(open) => wrong.push(format!(
                "{open} dead letters on {topic} wait for a redrive (evenkeel dlq list --topic {topic} --by-cause)"
            )),
            None => wrong.push(format!("{topic} holds {} dead letters", letters.records)),
        }
        dead_letters.push(letters);
    }
    Ok(())
}

impl LogDirStatus {
    fn of(dir: LogDir) -> Self {
        Self {
            node: dir.node,
            path: dir.path,
            failing: dir.error.is_some(),
            total_bytes: dir.total_bytes,
            usable_bytes: dir.usable_bytes,
        }
    }

    /// Percent of its file system that are free.
    fn free_percent(&self) -> Option<u64> {
        let total = self.total_bytes.filter(|total| *total > 0)?;
        Some(self.usable_bytes?.saturating_mul(100) / total)
    }

    fn wrong(&self) -> Option<String> {
        let Self { node, path, .. } = self;
        if self.failing {
            return Some(format!(
                "node {node} cannot write to {path}: its disk fails or is full, and events for its partitions are parked"
            ));
        }
        let usable = self.usable_bytes?;
        let is_low = self.free_percent()? < FREE_PERCENT_MIN && usable < FREE_BYTES_MIN;
        is_low.then(|| {
            let mebibytes = usable >> 20;
            format!(
                "node {node} has {mebibytes} MiB left for {path}: free space or shorten the topics' retention"
            )
        })
    }
}

async fn letters(cluster: &Cluster, topic: &TopicName, ledgers: &Ledgers) -> Result<Letters> {
    let mut records = 0;
    for partition in &cluster.topic_anew(topic).await?.partitions {
        let place = TopicPartition::new(topic.clone(), partition.index);
        let first = cluster.offset(&place, At::Earliest).await?.offset.unwrap_or(0);
        let end = cluster.offset(&place, At::Latest).await?.offset.unwrap_or(0);
        records += end.saturating_sub(first);
    }
    let open = if records > LETTERS_MAX as i64 {
        None
    } else {
        let (letters, others) = read(cluster, topic, LETTERS_MAX).await?;
        let open = letters
            .iter()
            .filter(|letter| !ledgers.is_done(topic, &letter.identity));
        Some(open.count() + others)
    };
    Ok(Letters {
        topic: topic.to_string(),
        records,
        open,
    })
}

fn registry(settings: &Settings, wrong: &mut Vec<String>) -> RegistryStatus {
    let answer = Registry::for_a_look(settings, REGISTRY_WITHIN).get::<Value>("/schemas/types");
    if let Err(error) = &answer {
        wrong.push(format!("{error:#}"));
    }
    RegistryStatus {
        url: settings.registry.url.clone(),
        ready: answer.is_ok(),
    }
}

fn standby(settings: &Settings, wrong: &mut Vec<String>) -> Result<Vec<StandbyStatus>> {
    let mut all = Vec::new();
    for application in standby::applications(settings)? {
        let mut status = StandbyStatus::of(&application);
        status.is_older = shared_standby::is_of(settings, Some(&application.name));
        match application.look() {
            Ok(mut looked) => {
                if status.is_older {
                    // They are told with the store that is shared.
                    looked.alarms = Alarms::default();
                }
                status.learn(&looked, wrong);
            }
            Err(error) => wrong.push(format!("{error:#}")),
        }
        all.push(status);
    }
    Ok(all)
}

impl StandbyStatus {
    fn of(application: &Application) -> Self {
        Self {
            application: application.name.clone(),
            store: "disk",
            is_older: false,
            in_use: false,
            events: None,
            bytes: None,
            oldest_age_seconds: None,
            places_held: 0,
            alarms: Vec::new(),
        }
    }

    fn shared(application: &Application) -> Self {
        Self {
            store: "shared",
            ..Self::of(application)
        }
    }

    fn learn(&mut self, looked: &Looked, wrong: &mut Vec<String>) {
        let name = &self.application;
        let (events, bytes, oldest) = looked.total();
        let age = oldest.map(|oldest| SystemClock::default().now().since(oldest).as_secs());
        (self.in_use, self.places_held) = (looked.in_use, looked.held());
        (self.events, self.bytes, self.oldest_age_seconds) = (Some(events), Some(bytes), age);
        if let Some(age) = age {
            let next = match (self.places_held, looked.in_use) {
                (0, true) => "its process sends them on; evenkeel standby list".to_owned(),
                (0, false) if self.is_older => {
                    format!("EVENKEEL_STANDBY__URL= evenkeel standby drain --application {name}")
                }
                (0, false) => format!("evenkeel standby drain --application {name}"),
                (held, _) => format!("{held} places are held: evenkeel standby release --application {name}"),
            };
            wrong.push(format!(
                "{events} events of {name} are parked, the oldest for {age} s ({next})"
            ));
        }
        for damage in &looked.damages {
            let (file, offset) = (damage.file.display(), damage.offset);
            wrong.push(format!(
                "{name}: damaged-rows: {file} cannot be read from byte {offset} on"
            ));
        }
        self.blame(&looked.alarms, wrong);
    }

    fn blame(&mut self, alarms: &Alarms, wrong: &mut Vec<String>) {
        self.alarms = alarms.all().iter().map(Told::of).collect();
        for alarm in &self.alarms {
            wrong.push(format!("{}: {}: {}", self.application, alarm.kind, alarm.message));
        }
    }
}

fn screen(status: &Status) -> String {
    let cluster = &status.cluster;
    let mut lines = vec![if cluster.reachable {
        format!(
            "cluster       reachable, nodes {}, topics {}, leaderless {}, under replicated {}",
            cluster.nodes, cluster.topics, cluster.leaderless_partitions, cluster.under_replicated_partitions
        )
    } else {
        format!("cluster       not usable at {}", cluster.brokers.join(", "))
    }];
    let ready = if status.registry.ready {
        "ready"
    } else {
        "not ready"
    };
    let by_room = |dir: &&LogDirStatus| dir.free_percent();
    if let Some(fullest) = cluster
        .log_dirs
        .iter()
        .filter(|dir| by_room(dir).is_some())
        .min_by_key(by_room)
    {
        let (free, node) = (fullest.free_percent().unwrap_or_default(), fullest.node);
        lines.push(format!(
            "disks         {free} % free on the fullest, of node {node}"
        ));
    }
    lines.push(format!("registry      {ready} at {}", status.registry.url));
    for standby in &status.standby {
        let mut notes = String::new();
        if standby.in_use {
            notes.push_str(", in use by a running process");
        }
        if standby.places_held > 0 {
            notes.push_str(&format!(", {} places held", standby.places_held));
        }
        let name = match standby.store {
            "shared" => format!("{} (shared)", standby.application),
            _ => standby.application.clone(),
        };
        lines.push(match (standby.events, standby.oldest_age_seconds) {
            (None, _) => format!("parked        {name}: its store cannot be read"),
            (Some(events), Some(age)) => format!(
                "parked        {name}: {events} events, {} bytes, the oldest for {age} s{notes}",
                standby.bytes.unwrap_or_default()
            ),
            (Some(_), None) => format!("parked        {name}: none{notes}"),
        });
    }
    for letters in &status.dead_letters {
        let open = letters
            .open
            .map_or_else(String::new, |open| format!(", {open} not redriven"));
        lines.push(format!(
            "dead letters  {}: {} records{open}",
            letters.topic, letters.records
        ));
    }
    if status.ok {
        lines.push("nothing is wrong".to_owned());
    }
    lines.extend(status.wrong.iter().map(|wrong| format!("wrong: {wrong}")));
    lines.join("\n") + "\n"
}
