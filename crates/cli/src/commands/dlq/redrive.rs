//! `evenkeel dlq redrive`: a plan, and with `--execute` the redrive itself.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use evenkeel::Publisher;
use evenkeel_broker::Cluster;
use evenkeel_event::TopicName;
use evenkeel_event::clock::SystemClock;
use evenkeel_store::Holds;
use evenkeel_worker::redrive::{
    self, Entry, Judgement, Ledger, Letter, Plan, Redriven, Who, execute, find, plan,
};
use serde::Serialize;

use super::choose::{Choice, Chooser, Version};
use super::{LetterId, letters};
use crate::commands::domain;
use crate::config::Settings;
use crate::exit::Outcome;
use crate::output::{Format, Tabular, print_document, print_list, say};
use crate::registry::Registry;
use crate::{sdk, standby};

/// Longest wait until Kafka has what was put into the standby store; the rest stays there.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);
/// Between looks at what is left there.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest wait at the end for what is on its way.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// Between lines about how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The letters: DEAD-LETTER-TOPIC/PARTITION/OFFSET, as `dlq list` shows them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<LetterId>,
    /// Every letter on --topic.
    #[arg(long, requires = "topic")]
    all: bool,
    /// The dead-letter topic.
    #[arg(long, value_name = "DEAD-LETTER-TOPIC")]
    topic: Option<TopicName>,
    /// The version of their contract that they must obey: a number or latest.
    #[arg(long, value_name = "N|latest")]
    version: Version,
    /// Only letters that are bound for this topic may be sent; others are refused.
    #[arg(long, value_name = "TOPIC")]
    to: Option<TopicName>,
    /// Why, in your words; it is written down with who did it.
    #[arg(long, default_value = "")]
    reason: String,
    /// Most letters a second; 0: no limit.
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate: u32,
    /// Take over what a redrive from another machine or directory has claimed, because that directory is lost. What it
    /// had done is looked for on the topic, too. Events sent so are marked as possible doubles.
    #[arg(long)]
    take_over: bool,
    /// Do it; without this only the plan is printed.
    #[arg(long)]
    execute: bool,
}

/// A line of the plan.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    key: Option<String>,
    topic: String,
    judgement: &'static str,
    /// Events of its key that stand on the topic already and are younger: it will land behind them.
    younger: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Tabular for Row {
    const COLUMNS: &'static [&'static str] =
        &["id", "type", "key", "topic", "judgement", "younger", "reason"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.event_type.clone(),
            self.key.clone().unwrap_or_else(|| "-".to_owned()),
            self.topic.clone(),
            self.judgement.to_owned(),
            self.younger.to_string(),
            self.reason.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

#[derive(Debug, Serialize)]
struct Document {
    plan: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executed: Option<Executed>,
}

#[derive(Debug, Serialize)]
struct Executed {
    sent: usize,
    /// Of those: marked as possible doubles.
    marked: usize,
    /// Events that are in the standby store still: Kafka has not taken them yet, or they are held back.
    parked: u64,
    /// Sent by an earlier run that ended before it could say so, or whose directory is lost.
    found: usize,
    /// Done by a run whose directory is lost, on a topic that no longer tells whether they came; left alone.
    unknowable: usize,
    /// Left for a later run, so that they do not pass letters of their keys that others have claimed.
    held: Vec<String>,
    claimed_by_others: Vec<Claimed>,
}

#[derive(Debug, Serialize)]
struct Claimed {
    letter: String,
    by: String,
}

pub(super) async fn run(
    cluster: &Cluster,
    options: Options,
    format: Format,
    settings: &Settings,
) -> Result<Outcome> {
    let internal = domain::internal_topics(settings)?;
    let letters = chosen(cluster, &options).await?;
    let allowed = allowed(cluster, &letters, options.to.as_ref(), settings).await?;
    let mut ledger = Ledger::read(cluster, internal.evenkeel.clone()).await?;
    let mut chooser = Chooser::new(Registry::new(settings), options.version);
    let choices = tokio::task::block_in_place(|| choose(&mut chooser, letters))?;
    let take_over_to = options
        .take_over
        .then(|| known_store_name(settings))
        .transpose()?;
    let judged_by = (&allowed[..], &ledger, take_over_to.as_deref());
    let plan = judge(cluster, choices, judged_by).await?;
    let rows: Vec<Row> = plan.entries.iter().map(row).collect();
    let (ready, doubtful, refused) = (plan.ready(), plan.doubtful(), counted(&rows, "refused"));
    if format == Format::Table {
        print_list(format, &rows)?;
    }
    say!(
        "the plan: {ready} ready, {refused} refused, {} redriven before",
        counted(&rows, "done")
    );
    if doubtful > 0 {
        say!(
            "{doubtful} more were redriven from a machine or directory that is taken over from: they are looked for on \
             their topics, and sent again, marked as possible doubles, if they are not there"
        );
    }
    let mut outcome = if refused > 0 {
        Outcome::Findings
    } else {
        Outcome::Fine
    };
    let mut executed = None;
    if !options.execute {
        say!("nothing was sent; add --execute to send what is ready");
    } else if ready + doubtful > 0 || is_something_parked(settings) {
        // The ledger's topic is the platform's own, with settings of its own.
        domain::follow(cluster, &internal).await?;
        let done = send(plan, &mut ledger, &options, settings).await?;
        if !done.claimed_by_others.is_empty() || !done.held.is_empty() {
            outcome = Outcome::Findings;
        }
        executed = Some(done);
    }
    if format != Format::Table {
        print_document(format, &Document { plan: rows, executed })?;
    }
    Ok(outcome)
}

async fn chosen(cluster: &Cluster, options: &Options) -> Result<Vec<Letter>> {
    if let (true, Some(topic)) = (options.all, &options.topic) {
        return letters(cluster, topic).await;
    }
    let mut chosen = Vec::with_capacity(options.ids.len());
    for id in &options.ids {
        if let Some(topic) = options
            .topic
            .as_ref()
            .filter(|topic| **topic != id.partition.topic)
        {
            bail!("the letter {id} is not on {topic}");
        }
        match find(cluster, &id.partition, id.offset).await? {
            Some(letter) => chosen.push(letter),
            None => bail!("there is no dead letter {id} (evenkeel dlq list shows those that there are)"),
        }
    }
    // The same event may have been written to the dead-letter topic twice.
    let mut known = std::collections::HashSet::new();
    chosen.retain(|letter| known.insert(letter.identity.clone()));
    Ok(chosen)
}

/// The topics that letters may be sent to: those that they name, where these exist and hold events of applications.
async fn allowed(
    cluster: &Cluster,
    letters: &[Letter],
    to: Option<&TopicName>,
    settings: &Settings,
) -> Result<Vec<TopicName>> {
    let internal = domain::internal_topics(settings)?;
    let topics = cluster.topics().await.context("the topics cannot be listed")?;
    if let Some(to) = to.filter(|to| topics.iter().all(|topic| topic.name != **to)) {
        bail!("the topic {to} is missing: evenkeel topic create {to}");
    }
    let fit: Vec<TopicName> = topics
        .into_iter()
        .filter(|topic| !topic.internal && !topic.name.is_dead_letter_topic())
        .map(|topic| topic.name)
        .filter(|name| *name != internal.schemas && *name != internal.evenkeel)
        .collect();
    if let Some(to) = to.filter(|to| !fit.contains(to)) {
        bail!(
            "{to} is a topic of the platform, of Kafka or of dead letters, that nothing may be redriven to"
        );
    }
    Ok(fit
        .into_iter()
        .filter(|name| to.is_none_or(|to| to == name))
        .filter(|name| letters.iter().any(|letter| letter.event.topic == *name))
        .collect())
}

/// Letters of one event type that are judged by one subject.
type Choices = BTreeMap<(String, String), (Choice, Vec<Letter>)>;

fn choose(chooser: &mut Chooser, letters: Vec<Letter>) -> Result<Choices> {
    let mut choices = Choices::new();
    for letter in letters {
        let (subject, choice) = chooser.choose(&letter)?;
        choices
            .entry((letter.event.event_type.clone(), subject))
            .or_insert_with(|| (choice, Vec::new()))
            .1
            .push(letter);
    }
    Ok(choices)
}

async fn judge(
    cluster: &Cluster,
    choices: Choices,
    (allowed, ledger, take_over_to): (&[TopicName], &Ledger, Option<&str>),
) -> Result<Plan> {
    let mut entries: Vec<Entry> = Vec::new();
    for ((event_type, _), (choice, letters)) in choices {
        let contracts: HashMap<_, _> = choice
            .iter()
            .map(|contract| (event_type.clone(), contract.clone()))
            .collect();
        let mut part = plan(cluster, letters, &contracts, allowed, ledger, take_over_to)
            .await
            .context("the letters cannot be judged")?;
        if let Err(no_contract) = choice {
            for entry in &mut part.entries {
                if let Judgement::Refused(reason) = &mut entry.judgement
                    && allowed.contains(&entry.letter.event.topic)
                {
                    reason.clone_from(&no_contract);
                }
            }
        }
        entries.append(&mut part.entries);
    }
    entries.sort_by(|one, other| {
        (&one.letter.partition, one.letter.offset).cmp(&(&other.letter.partition, other.letter.offset))
    });
    Ok(Plan { entries })
}

fn row(entry: &Entry) -> Row {
    let event = &entry.letter.event;
    let (judgement, reason) = match &entry.judgement {
        Judgement::Ready(_) => ("ready", None),
        Judgement::Doubtful(_) => ("doubtful", None),
        Judgement::Done => ("done", None),
        Judgement::Refused(reason) => ("refused", Some(reason.clone())),
    };
    Row {
        id: LetterId::of(&entry.letter).to_string(),
        event_id: event.id.to_string(),
        event_type: event.event_type.clone(),
        key: event
            .key
            .as_deref()
            .map(|key| String::from_utf8_lossy(key).into_owned()),
        topic: event.topic.to_string(),
        judgement,
        younger: entry.younger,
        reason,
    }
}

fn counted(rows: &[Row], judgement: &str) -> usize {
    rows.iter().filter(|row| row.judgement == judgement).count()
}

async fn send(plan: Plan, ledger: &mut Ledger, options: &Options, settings: &Settings) -> Result<Executed> {
    let publisher = sdk::publisher_alone(settings).await?;
    let redriven = send_through(&publisher, plan, ledger, options, settings).await;
    if redriven.is_ok() {
        drained(&publisher, settings).await?;
    }
    publisher.close(CLOSE_WITHIN).await;
    let redriven = redriven.context("the redrive ended early; run it again, it goes on where it ended")?;
    let left = left(&publisher, settings).await?;
    Ok(tell(redriven, left, settings))
}

/// True when events wait in the standby store that no running process sends on: a redrive that was killed may have left
/// its last letters there.
fn is_something_parked(settings: &Settings) -> bool {
    // A store that is not there, or cannot be read, is told by the commands that are about it.
    standby::application(settings, None)
        .and_then(|application| application.look())
        .is_ok_and(|looked| !looked.in_use && looked.waiting() > 0)
}

/// Events in the standby store.
#[derive(Debug, Clone, Copy, Default)]
struct Left {
    /// Kafka has not taken them yet.
    waiting: u64,
    /// They are held back (`evenkeel standby hold`).
    held: u64,
}

async fn left(publisher: &Publisher, settings: &Settings) -> Result<Left> {
    let directory = sdk::directory(settings, &settings.publish.application);
    let holds = Holds::read(&directory).unwrap_or_default();
    let mut left = Left::default();
    for open in publisher.standby().open_places().await? {
        match holds.of(&open.place) {
            Some(_) => left.held += open.events,
            None => left.waiting += open.events,
        }
    }
    Ok(left)
}

/// Waits until Kafka has what is parked and not held back, for a while.
async fn drained(publisher: &Publisher, settings: &Settings) -> Result<()> {
    let begun = Instant::now();
    while left(publisher, settings).await?.waiting > 0 && begun.elapsed() < DRAIN_WITHIN {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn send_through(
    publisher: &Publisher,
    plan: Plan,
    ledger: &mut Ledger,
    options: &Options,
    settings: &Settings,
) -> Result<Redriven> {
    let directory = sdk::directory(settings, &settings.publish.application);
    let who = Who {
        by: std::env::var("USER").unwrap_or_else(|_| settings.publish.application.clone()),
        reason: options.reason.clone(),
        store: store_name(&directory)?,
    };
    let how = redrive::Options {
        rate_per_second: options.rate,
        take_over: options.take_over,
    };
    let (all, mut told) = (plan.ready() + plan.doubtful(), Instant::now());
    let progress = |so_far: &Redriven| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            say!("{} of {all} letters", so_far.sent + so_far.found);
        }
    };
    Ok(execute(
        plan,
        publisher,
        ledger,
        &SystemClock::default(),
        &who,
        how,
        progress,
    )
    .await?)
}

/// The file with a standby store's own name.
const STORE_NAME: &str = "store-name";

/// The standby store's own name, made up once: what an earlier run through this very store has claimed is gone on with,
/// what went through another one is left to that.
fn store_name(directory: &Path) -> Result<String> {
    if let Some(name) = read_store_name(directory)? {
        return Ok(name);
    }
    let path = directory.join(STORE_NAME);
    let name = format!("{:032x}", rand::random::<u128>());
    std::fs::write(&path, &name)
        .and_then(|()| std::fs::File::open(&path)?.sync_all())
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(name)
}

/// The store's name for a plan; none of any store when it has none yet, and nothing can have gone through it.
fn known_store_name(settings: &Settings) -> Result<String> {
    let directory = sdk::directory(settings, &settings.publish.application);
    Ok(read_store_name(&directory)?.unwrap_or_default())
}

fn read_store_name(directory: &Path) -> Result<Option<String>> {
    let path = directory.join(STORE_NAME);
    match std::fs::read_to_string(&path) {
        Ok(name) => Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn tell(redriven: Redriven, left: Left, settings: &Settings) -> Executed {
    let Redriven {
        sent,
        marked,
        found,
        unknowable,
        held,
        claimed,
    } = redriven;
    say!("{sent} letters sent on; the letters themselves stay as they are");
    if marked > 0 {
        say!("{marked} of them are marked as possible doubles: an earlier run may have sent them");
    }
    let application = &settings.publish.application;
    if left.held > 0 {
        say!(
            "{} events of {application} are held back in its standby store: evenkeel standby release --application \
             {application}",
            left.held
        );
    }
    if left.waiting > 0 {
        say!(
            "{} events of {application} wait in its standby store until Kafka takes them: run \
             `evenkeel standby drain --application {application}`, or leave it to the application",
            left.waiting
        );
    }
    if found > 0 {
        say!("{found} more had been sent by an earlier run");
    }
    if unknowable > 0 {
        say!(
            "{unknowable} were done from the directory that is lost, and their topics no longer tell whether they came: \
             they were left alone"
        );
    }
    for (letter, by) in &claimed {
        say!(
            "{letter} was claimed by {by} before, from another machine or directory: finish that redrive, or, when \
             that directory is lost, add --take-over"
        );
    }
    if !held.is_empty() {
        say!(
            "{} letters behind those on their keys were not sent, so that they do not pass them: redrive them again then",
            held.len()
        );
    }
    let claimed = claimed.into_iter().map(|(letter, by)| Claimed { letter, by });
    Executed {
        sent,
        marked,
        parked: left.waiting + left.held,
        found,
        unknowable,
        held,
        claimed_by_others: claimed.collect(),
    }
}
