//! The course of a seed: events flow, the broker goes and comes back, and the process is killed all along.

use std::fmt;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use evenkeel_broker::admin::NewTopic;
use evenkeel_event::TopicName;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;

use super::ground::{Ground, Outage, Place};
use super::script::{Call, Outcome, Script};
use super::verdict;
use crate::invoices::{Invoice, invoices};
use crate::registry;

/// Longest time until nothing is parked any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was seen in one seed or several.
#[derive(Debug, Default)]
pub(super) struct Summary {
    events: usize,
    kills: usize,
    parked: usize,
    dead_lettered: usize,
    /// Events that the script sent more than once.
    sent_again: usize,
    /// Further occurrences of those.
    doubles: usize,
    /// Occurrences that are marked as possible doubles.
    marked: usize,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.kills += other.kills;
        self.parked += other.parked;
        self.dead_lettered += other.dead_lettered;
        self.sent_again += other.sent_again;
        self.doubles += other.doubles;
        self.marked += other.marked;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} events, {} kills, {} parked, {} dead-lettered; \
             {} sent again by the script, {} doubles of those; {} marked",
            self.events,
            self.kills,
            self.parked,
            self.dead_lettered,
            self.sent_again,
            self.doubles,
            self.marked
        )
    }
}

/// Plays a seed; an error is a broken promise. What it left on disk is then kept.
pub(super) async fn play(seed: u64, place: &Place, registry: &str) -> Result<Summary> {
    let directory = TempDir::new()?;
    let course = Course::set(seed, *place, registry, &directory).await?;
    let played = course.play().await;
    if played.is_err() {
        let kept = directory.keep();
        return played.with_context(|| format!("its files are in {}", kept.display()));
    }
    played
}

struct Course {
    random: StdRng,
    ground: Ground,
    script: Script,
    topic: TopicName,
    letters: TopicName,
}

impl Course {
    async fn set(seed: u64, place: Place, registry: &str, directory: &TempDir) -> Result<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let ground = Ground::start(place, directory.path()).await?;
        // Tests share a cluster and a registry, and a seed may be played again on them.
        let run = rand::random::<u32>();
        let topic = TopicName::new(&format!("orders-{seed}-{run:08x}"))?;
        let application = format!("shop-{seed}-{run:08x}");
        registry::register(registry, topic.as_str()).await;
        if random.random_bool(0.5) {
            let topic = NewTopic {
                name: topic.clone(),
                partitions: 4,
                replication: 1,
                configs: Vec::new(),
            };
            ground.direct().await?.create_topic(&topic).await?;
        }
        let call = Call {
            bootstrap: ground.bootstrap().to_owned(),
            registry: registry.to_owned(),
            topic: topic.to_string(),
            park_after_ms: random.random_range(100..=500),
            directory: directory.path().to_owned(),
            application: application.clone(),
        };
        let count = random.random_range(60..=150);
        let window = random.random_range(3..=60);
        let pace = Duration::from_millis(random.random_range(0..=8));
        let events = events(&mut random, count);
        Ok(Self {
            script: Script::new(call, events, window, pace),
            letters: TopicName::publish_letters(&application)?,
            random,
            ground,
            topic,
        })
    }

    async fn play(mut self) -> Result<Summary> {
        self.script.start()?;
        // A second outage falls into the drain of the first.
        let outages = self.random.random_range(1..=2);
        for number in 0..outages {
            let name = format!("outage {} of {outages}", number + 1);
            self.phase(2 * number + 1, 2 * outages + 1)
                .await
                .with_context(|| format!("before {name}"))?;
            let outage = if self.random.random_bool(0.5) {
                Outage::Gone
            } else {
                Outage::Silent
            };
            self.ground.take_away(outage).await?;
            self.phase(2 * number + 2, 2 * outages + 1)
                .await
                .with_context(|| format!("during {name}"))?;
            self.ground.give_back().await?;
        }
        self.phase(1, 1).await.context("after the outage")?;
        self.finish().await.context("at the end")?;
        self.judge().await
    }

    /// Lets events flow up to this part of all, and kills the process some times meanwhile.
    async fn phase(&mut self, part: usize, parts: usize) -> Result<()> {
        self.script.allowed = self.script.tasks.len() * part / parts;
        if self.random.random_bool(0.3) {
            let count = self.random.random_range(1..=3);
            self.ground.lose_answers(count).await;
        }
        if self.random.random_bool(0.3) {
            let millis = self.random.random_range(1..=50);
            self.ground.slow_down(Duration::from_millis(millis)).await;
        }
        for _ in 0..self.random.random_range(0..=2) {
            self.moment().await?;
            self.script.kill().await?;
            self.script.start()?;
        }
        self.moment().await
    }

    /// A random moment: some time after the process began to run, or after it printed some receipts.
    async fn moment(&mut self) -> Result<()> {
        if self.random.random_bool(0.6) {
            let count = self.random.random_range(1..=10);
            self.script.run_until_answered(count).await?;
            let micros = self.random.random_range(0..5_000);
            return self.script.run_for(Duration::from_micros(micros)).await;
        }
        let millis = self.random.random_range(0..400);
        self.script.run_for(Duration::from_millis(millis)).await
    }

    /// Runs until every event has a receipt and nothing is parked.
    async fn finish(&mut self) -> Result<()> {
        self.script.run_until_answered(usize::MAX).await?;
        let begun = Instant::now();
        while self.script.close().await? {
            ensure!(begun.elapsed() < PATIENCE, "parked events do not drain");
            self.script.start()?;
            self.script.run_for(Duration::from_millis(300)).await?;
        }
        ensure!(
            self.script.owned() == 0,
            "{} events have no receipt",
            self.script.owned()
        );
        Ok(())
    }

    async fn judge(self) -> Result<Summary> {
        let cluster = self.ground.direct().await?;
        let topic = verdict::read(&cluster, &self.topic).await?;
        let letters = verdict::read(&cluster, &self.letters).await?;
        let tasks = &self.script.tasks;
        let names = [&self.topic, &self.letters].map(TopicName::as_str);
        let broken = verdict::broken(tasks, names, &topic, &letters);
        ensure!(broken.is_empty(), "broken promises:\n{}", broken.join("\n"));
        let with = |outcome: Outcome| {
            let is = |receipt: &super::script::Receipt| receipt.outcome == outcome;
            tasks
                .iter()
                .filter(|task| task.receipt.as_ref().is_some_and(is))
                .count()
        };
        Ok(Summary {
            events: tasks.len(),
            kills: self.script.kills,
            parked: with(Outcome::Parked),
            dead_lettered: with(Outcome::DeadLettered),
            sent_again: tasks.iter().filter(|task| task.sent > 1).count(),
            doubles: topic.len() + letters.len() - tasks.len(),
            marked: topic.iter().chain(&letters).filter(|seen| seen.marked).count(),
        })
    }
}

/// Some of the demo's invoices in their order: of customers who came again, whose order can be judged, and of nobody.
fn events(random: &mut StdRng, count: usize) -> Vec<Invoice> {
    let all = invoices();
    let comes_again = |invoice: &&Invoice| {
        let of_same = |other: &&Invoice| other.customer == invoice.customer;
        all.iter().filter(of_same).count() > 1
    };
    let mut events: Vec<Invoice> = all.iter().filter(comes_again).cloned().collect();
    let first = random.random_range(0..=events.len() - count);
    events.drain(..first);
    events.truncate(count);
    events
}
