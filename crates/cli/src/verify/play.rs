//! One run: events are fed, things are broken at their times, and in the end all is judged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use evenkeel_event::TopicName;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::event::Recipe;
use super::feed::Feed;
use super::fleet::{Fleet, Order, Orders, lock};
use super::ground::{Ground, Site};
use super::judge::{Judge, events_on};
use super::ledger::Ledger;
use super::machine::Change;
use super::publisher::Call;
use super::report::{Report, Run};
use super::scenario::{Doing, Phase, Place, Scenario, Workload};
use super::workers::{Post, Workers};
use crate::commands::broker;
use crate::output::say;
use crate::shared_standby;

/// Longest time without any progress until nothing is parked any more.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between looks at that.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between lines about how a run stands.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// A file that is larger than this cannot grow on the full disk of a run, bytes.
const FULL_DISK_BYTES: u64 = 4096;
/// Settings of the topic that say what is too large for it.
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// Something that is due.
enum Due {
    Act(Doing, Option<Phase>),
    /// kill -9 of one publisher.
    Kill(usize),
}

struct Stage {
    ground: Ground,
    workers: Workers,
    fleet: Fleet,
    ledger: Arc<Mutex<Ledger>>,
}

/// Plays the scenario and reports it.
pub(super) async fn play(scenario: &Scenario, place: Place, seed: u64, site: Site<'_>) -> Result<Report> {
    let workload = &scenario.workload;
    let directory = site.directory.to_owned();
    let application = format!("{}shop", site.prefix);
    let standby = site.standby.clone();
    if let Some(url) = &standby {
        let store = shared_standby::open(url, &application, u64::MAX).await?;
        let asked = store.leases().await;
        asked.context("the shared standby store cannot be used (--standby says where it is)")?;
    }
    let ground = Ground::set(site, workload).await?;
    let recipe = recipe(scenario, standby.is_some())?;
    let ledger = Arc::new(Mutex::new(Ledger::new(workload.publishers)?));
    if standby.is_some() {
        lock(&ledger).share();
    }
    let call = |number| Call {
        brokers: ground.brokers.clone(),
        registry: ground.registry_url.clone(),
        topic: ground.topic.to_string(),
        application: application.clone(),
        directory: directory.join(format!("publisher-{number}")),
        replication: ground.replication,
        standby_bytes_max: workload.standby_bytes_max,
        standby: standby.clone(),
        recipe,
        failpoint: None,
    };
    let points = workload.points()?;
    let fleet = Fleet::start(workload.publishers, call, &points, seed, &ledger);
    let post = standby.clone().map(|standby| Post {
        brokers: ground.brokers.clone(),
        application: application.clone(),
        standby,
        directory,
    });
    let mut stage = Stage {
        ground,
        workers: Workers::start(workload.workers, post)?,
        fleet,
        ledger,
    };
    let played = stage.play(scenario, seed, recipe).await;
    let mended = stage.ground.mend().await;
    played?;
    mended.context("what was broken could not be mended")?;
    stage.settle().await?;
    let letters = TopicName::publish_letters(&application)?;
    let run = Run {
        scenario: scenario.name.clone(),
        place,
        seed,
        topic: stage.ground.topic.to_string(),
        may_mark: workload.may_mark,
        may_refuse: workload.may_refuse,
    };
    let report = stage
        .judge(run, &recipe, &letters, workload.broker_may_lose)
        .await?;
    if let Some(url) = standby.filter(|_| report.violations.is_empty()) {
        shared_standby::remove(&url, &application).await?;
    }
    Ok(report)
}

fn recipe(scenario: &Scenario, shared: bool) -> Result<Recipe> {
    let workload = &scenario.workload;
    let largest = workload.settings.get(MAX_MESSAGE_BYTES);
    let oversize_bytes = match largest {
        Some(bytes) => {
            bytes
                .parse::<usize>()
                .with_context(|| format!("{MAX_MESSAGE_BYTES} is a number"))?
                * 2
        }
        None if workload.oversize_every > 0 => {
            bail!("oversize_every needs the setting {MAX_MESSAGE_BYTES} of the topic")
        }
        None => 0,
    };
    Ok(Recipe {
        run: rand::random(),
        publishers: workload.publishers,
        keys: workload.keys,
        shared,
        bytes: workload.bytes,
        wrong_every: workload.wrong_every,
        oversize_every: workload.oversize_every,
        oversize_bytes,
    })
}

/// Everything that happens to the system, by the time since the start.
fn schedule(scenario: &Scenario, seed: u64) -> Vec<(Duration, Due)> {
    let acts = scenario.acts.iter();
    let mut schedule: Vec<(Duration, Due)> = acts
        .map(|act| {
            let at = Duration::from_secs_f64(act.at);
            (at, Due::Act(act.what.clone(), act.phase))
        })
        .collect();
    schedule.extend(kills(&scenario.workload, seed));
    schedule.sort_by_key(|(at, _)| *at);
    schedule
}

/// Kills of publishers, drawn by the seed.
fn kills(workload: &Workload, seed: u64) -> Vec<(Duration, Due)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kills = Vec::new();
    if workload.kill_every <= 0.0 {
        return kills;
    }
    let mut at = workload.kill_every * random.random_range(0.2..1.8);
    while at < workload.seconds {
        let publisher = random.random_range(0..workload.publishers);
        let kill = Due::Kill(usize::try_from(publisher).unwrap_or(0));
        kills.push((Duration::from_secs_f64(at), kill));
        at += workload.kill_every * random.random_range(0.2..1.8);
    }
    kills
}

impl Stage {
    /// Feeds and breaks until the workload's time is over or Ctrl-C.
    async fn play(&mut self, scenario: &Scenario, seed: u64, recipe: Recipe) -> Result<()> {
        let lasts = Duration::from_secs_f64(scenario.workload.seconds);
        let stop = CancellationToken::new();
        let feed = Feed {
            orders: self.fleet.orders().clone(),
            recipe,
            rate: scenario.workload.rate,
            lasts,
            ledger: Arc::clone(&self.ledger),
            stop: stop.clone(),
        };
        let teller = Teller::start(Arc::clone(&self.ledger), self.fleet.orders().clone());
        let feed = tokio::spawn(feed.run());
        let orders = self.fleet.orders().clone();
        let hands = Hands {
            ground: &mut self.ground,
            workers: &mut self.workers,
            orders: &orders,
            recipe,
        };
        let timeline = timeline(hands, &self.ledger, schedule(scenario, seed));
        let played = tokio::select! {
            played = async { timeline.await?; feed.await.context("the feed stopped early")? } => played,
            ended = self.fleet.ended() => Err(ended),
            interrupted = broker::interrupted() => interrupted,
        };
        stop.cancel();
        drop(teller);
        played
    }

    /// Waits until every event has a final answer and nothing is parked, and ends the publishers.
    async fn settle(&mut self) -> Result<()> {
        self.fleet.orders().tell_all(|| Order::Spare).await?;
        let mended = [
            || Order::LimitFiles(None),
            || Order::Signal("CONT"),
            || Order::Machine(Change::MendStore),
        ];
        for order in mended {
            self.fleet.orders().tell_all(order).await?;
        }
        {
            let mut ledger = lock(&self.ledger);
            if ledger.phase() == Phase::During {
                ledger.enter(Phase::After);
            }
        }
        let teller = Teller::start(Arc::clone(&self.ledger), self.fleet.orders().clone());
        let orders = self.fleet.orders().clone();
        let settled = tokio::select! {
            settled = settled(&self.ledger, &orders) => Ok(settled),
            ended = self.fleet.ended() => Err(ended),
        };
        drop((teller, orders));
        settled
    }

    async fn judge(
        self,
        run: Run,
        recipe: &Recipe,
        letters: &TopicName,
        broker_may_lose: bool,
    ) -> Result<Report> {
        self.fleet
            .close()
            .await
            .context("the publishers did not end well")?;
        self.workers.close().await?;
        self.ground.answering().await?;
        // Every publisher has ended, and with it who else held the book.
        let ledger = Arc::try_unwrap(self.ledger).map_err(|_| anyhow!("somebody still writes the book"))?;
        let ledger = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
        let judge = Judge::new(recipe, &ledger, broker_may_lose);
        let findings = judge
            .judge(&self.ground.direct, &self.ground.topic, letters)
            .await?;
        let report = Report::of(run, &ledger, findings);
        if report.violations.is_empty() {
            self.ground.clear(letters).await?;
        }
        Ok(report)
    }
}

/// What things are done to.
struct Hands<'stage> {
    ground: &'stage mut Ground,
    workers: &'stage mut Workers,
    orders: &'stage Orders,
    recipe: Recipe,
}

/// Does what is due, one after the other.
async fn timeline(
    mut hands: Hands<'_>,
    ledger: &Mutex<Ledger>,
    schedule: Vec<(Duration, Due)>,
) -> Result<()> {
    let begun = tokio::time::Instant::now();
    for (at, due) in schedule {
        tokio::time::sleep_until(begun + at).await;
        match due {
            Due::Kill(publisher) => hands.orders.tell(publisher, Order::Kill).await?,
            Due::Act(what, phase) => {
                // What is broken counts from before, what is mended from after.
                if let Some(phase) = phase.filter(|phase| *phase == Phase::During) {
                    lock(ledger).enter(phase);
                }
                say!("{:>6.1} s  {what:?}", begun.elapsed().as_secs_f64());
                if matches!(what, Doing::RecreateTopic) {
                    // What was parked and is sent on by now goes with the topic.
                    let ground = &*hands.ground;
                    let taken = events_on(&ground.direct, &ground.topic, &hands.recipe).await;
                    lock(ledger).excuse_taken(&taken.context("the topic cannot be read")?);
                }
                hands
                    .act(&what)
                    .await
                    .with_context(|| format!("{what:?} failed"))?;
                if what.loses_data() {
                    lock(ledger).excuse();
                }
                if let Some(phase) = phase.filter(|phase| *phase != Phase::During) {
                    lock(ledger).enter(phase);
                }
            }
        }
    }
    Ok(())
}

impl Hands<'_> {
    async fn act(&mut self, what: &Doing) -> Result<()> {
        let orders = self.orders;
        match what {
            Doing::KillPublishers => orders.tell_all(|| Order::Kill).await,
            Doing::PausePublishers => orders.tell_all(|| Order::Signal("STOP")).await,
            Doing::ResumePublishers => orders.tell_all(|| Order::Signal("CONT")).await,
            Doing::FillDisk => orders.tell_all(|| Order::LimitFiles(Some(FULL_DISK_BYTES))).await,
            Doing::FreeDisk => orders.tell_all(|| Order::LimitFiles(None)).await,
            Doing::SetClock(seconds) => orders.change_machines(Change::Clock(*seconds)).await,
            Doing::SlowStandby(millis) => orders.change_machines(Change::SlowStore(*millis)).await,
            Doing::LoseStandby => orders.change_machines(Change::LoseStore).await,
            Doing::ThrottleStandby(percent) => orders.change_machines(Change::ThrottleStore(*percent)).await,
            Doing::MendStandby => orders.change_machines(Change::MendStore).await,
            Doing::KillWorker => self.workers.kill_one().await,
            Doing::AwaitDrained => self.workers.await_drained().await,
            of_ground => self.ground.act(of_ground).await,
        }
    }
}

/// Returns when every event has a final answer and nothing is parked, or nothing moves any more.
async fn settled(ledger: &Mutex<Ledger>, orders: &Orders) {
    let left = || (orders.owned(), lock(ledger).parked_now());
    let (mut last, mut moved) = (left(), Instant::now());
    // What was parked a moment ago may not be said yet.
    let mut calm = 0;
    while calm < 6 && moved.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = left();
        if now != last {
            (last, moved) = (now, Instant::now());
        }
        calm = if now == (0, 0) { calm + 1 } else { 0 };
    }
}

/// Says how a run stands, until it is dropped.
struct Teller(JoinHandle<()>);

impl Teller {
    fn start(ledger: Arc<Mutex<Ledger>>, orders: Orders) -> Self {
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(TELL_EVERY).await;
                let (elapsed, events, parked, kills) = {
                    let ledger = lock(&ledger);
                    let elapsed = ledger.elapsed().as_secs_f64();
                    (elapsed, ledger.handed_over(), ledger.parked_now(), ledger.kills)
                };
                let open = orders.owned();
                say!(
                    "{elapsed:>6.1} s  {events} events, {open} without a receipt, {parked} parked, {kills} kills"
                );
            }
        }))
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.abort();
    }
}
