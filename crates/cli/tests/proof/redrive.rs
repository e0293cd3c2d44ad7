//! `evenkeel dlq redrive` is killed at random moments, with answers lost and requests that land after their process is
//! gone, and run again until it is done: each letter is on its topic once, unmarked, in the order of the letters.
//!
//! `EVENKEEL_KILL_SEEDS` says how many seeds are played, `EVENKEEL_KILL_SEED` plays a single one.

use std::collections::{BTreeMap, HashMap};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evenkeel_broker::admin::NewTopic;
use evenkeel_broker::fetch::{At, Until};
use evenkeel_event::{TopicName, TopicPartition, headers};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::kafka;
use crate::kill::ground::{Ground, Outage, Place};
use crate::kill::seeds;

const LETTERS: usize = 120;
const KEYS: usize = 7;
const PARTITIONS: i32 = 3;
/// Runs that are killed at most; the next one may end.
const KILLS_MAX: usize = 8;
/// Longest wait for a run that is not killed.
const PATIENCE: Duration = Duration::from_secs(120);

const FIRST: &str = r#"{"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}"#;
const SECOND: &str =
    r#"{"type": "record", "name": "Order", "fields": [{"name": "n", "type": ["int", "string"]}]}"#;

/// A record: its key, its event's id, whether it is marked, its value.
type Seen = (Vec<u8>, String, bool, Vec<u8>);

struct Scene {
    random: StdRng,
    ground: Ground,
    registry: String,
    topic: TopicName,
    letters: TopicName,
    application: String,
    directory: TempDir,
}

/// Plays a seed and says how often the redrive was killed.
async fn play(seed: u64, place: Place, registry: &str) -> Result<usize> {
    let mut scene = Scene::set(seed, place, registry).await?;
    let direct = scene.ground.direct().await?;
    let before = read(&direct, &scene.letters).await?;
    ensure!(
        before.values().map(Vec::len).sum::<usize>() == LETTERS,
        "not all are letters"
    );
    let kills = scene.redrive().await?;
    let direct = scene.ground.direct().await?;
    let letters = read(&direct, &scene.letters).await?;
    ensure!(letters == before, "the letters have changed (untouched)");
    let events = read(&direct, &scene.topic).await?;
    judge(&order_per_key(&letters), &events)?;
    Ok(kills)
}

impl Scene {
    async fn set(seed: u64, place: Place, registry: &str) -> Result<Self> {
        let directory = TempDir::new()?;
        let run = rand::random::<u32>();
        let application = format!("redrive-{seed}-{run:08x}");
        let scene = Self {
            random: StdRng::seed_from_u64(seed),
            ground: Ground::start(place, directory.path()).await?,
            registry: registry.to_owned(),
            topic: TopicName::new(&format!("redriven-{seed}-{run:08x}"))?,
            letters: TopicName::publish_letters(&application)?,
            application,
            directory,
        };
        for name in [&scene.topic, &scene.letters] {
            let topic = NewTopic {
                name: name.clone(),
                partitions: PARTITIONS,
                replication: 1,
                configs: Vec::new(),
            };
            scene.ground.direct().await?.create_topic(&topic).await?;
        }
        scene.register(FIRST).await?;
        scene.make_letters().await?;
        scene.register(SECOND).await?;
        Ok(scene)
    }

    async fn register(&self, schema: &'static str) -> Result<()> {
        let url = format!("{}/subjects/{}-value/versions", self.registry, self.topic);
        let asked = tokio::task::spawn_blocking(move || {
            let body = json!({ "schema": schema });
            ureq::post(&url).send_json(&body).map(|_| ())
        });
        Ok(asked.await??)
    }

    async fn make_letters(&self) -> Result<()> {
        let mut publish = self.command(&["publish", self.topic.as_str()]);
        publish.env("EVENKEEL_PUBLISH__PARK_AFTER_MS", "60000");
        let mut child = publish.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut lines = String::new();
        for number in 0..LETTERS {
            let key = format!("k{}", number % KEYS);
            let line =
                json!({"id": format!("e{number}"), "key": key, "value": {"n": format!("no {number}")}});
            lines.push_str(&format!("{line}\n"));
        }
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        stdin.write_all(lines.as_bytes()).await?;
        drop(stdin);
        let status = timeout(PATIENCE, child.wait()).await??;
        ensure!(status.code() == Some(100), "publish ended with {status}");
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("EVENKEEL_KAFKA__BROKERS", self.ground.bootstrap())
            .env("EVENKEEL_REGISTRY__URL", &self.registry)
            .env("EVENKEEL_PUBLISH__APPLICATION", &self.application)
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs the redrive until a run ends by itself; says how many were killed.
    async fn redrive(&mut self) -> Result<usize> {
        let letters = self.letters.to_string();
        let arguments = [
            "dlq",
            "redrive",
            "--all",
            "--topic",
            &letters,
            "--version",
            "latest",
            "--execute",
            "--rate",
            "150",
            "-o",
            "json",
        ];
        for kills in 0..=KILLS_MAX {
            let mut child = self.command(&arguments).stdout(Stdio::piped()).spawn()?;
            if kills == KILLS_MAX {
                let output = timeout(PATIENCE, child.wait_with_output()).await??;
                ensure!(
                    output.status.success(),
                    "the last run ended with {}",
                    output.status
                );
                self.is_done(&output.stdout)?;
                return Ok(kills);
            }
            self.trouble().await;
            tokio::time::sleep(Duration::from_millis(self.random.random_range(100..900))).await;
            if child.try_wait()?.is_some_and(|status| status.success()) {
                self.ground.give_back().await?;
                return Ok(kills);
            }
            child.kill().await?;
            // What was held back lands now, after its process is gone.
            self.ground.give_back().await?;
        }
        Ok(KILLS_MAX)
    }

    async fn trouble(&mut self) {
        let begins = Duration::from_millis(self.random.random_range(0..400));
        match self.random.random_range(0..4) {
            0 => self.ground.lose_answers(self.random.random_range(1..4)).await,
            1 => {
                tokio::time::sleep(begins).await;
                self.ground.take_away(Outage::Silent).await.ok();
            }
            2 => self.ground.slow_down(Duration::from_millis(20)).await,
            _ => tokio::time::sleep(begins).await,
        }
    }

    fn is_done(&self, stdout: &[u8]) -> Result<()> {
        let document: Value = serde_json::from_slice(stdout)?;
        let executed = &document["executed"];
        ensure!(executed["parked"].as_u64().unwrap_or(0) == 0, "{executed}");
        Ok(())
    }
}

/// What lies on a topic, by partition, in order.
async fn read(cluster: &evenkeel_broker::Cluster, topic: &TopicName) -> Result<BTreeMap<i32, Vec<Seen>>> {
    let mut seen = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let place = TopicPartition::new(topic.clone(), partition);
        let mut range = cluster.read(place, At::Earliest, Until::End).await?;
        let records: &mut Vec<Seen> = seen.entry(partition).or_default();
        while let Some(piece) = range.next().await? {
            for record in piece.records() {
                let id = record.header(headers::CE_ID).unwrap_or_default();
                records.push((
                    record.key.unwrap_or_default().to_vec(),
                    String::from_utf8_lossy(id).into_owned(),
                    record.header(headers::POSSIBLE_DOUBLE).is_some(),
                    record.value.unwrap_or_default().to_vec(),
                ));
            }
        }
    }
    Ok(seen)
}

fn order_per_key(seen: &BTreeMap<i32, Vec<Seen>>) -> HashMap<Vec<u8>, Vec<String>> {
    let mut order: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    for (key, id, ..) in seen.values().flatten() {
        order.entry(key.clone()).or_default().push(id.clone());
    }
    order
}

fn judge(letters: &HashMap<Vec<u8>, Vec<String>>, events: &BTreeMap<i32, Vec<Seen>>) -> Result<()> {
    let marked = events
        .values()
        .flatten()
        .filter(|(_, _, marked, _)| *marked)
        .count();
    ensure!(marked == 0, "{marked} are marked without a reason (once)");
    let events = order_per_key(events);
    for (key, expected) in letters {
        let found = events.get(key).map(Vec::as_slice).unwrap_or_default();
        let key = String::from_utf8_lossy(key);
        ensure!(
            found == expected,
            "key {key}: {expected:?} were redriven, and the topic has {found:?}"
        );
    }
    Ok(())
}

async fn play_all(place: Place) {
    let registry = crate::registry::empty().await;
    let (mut kills, mut failures) = (0, Vec::new());
    for seed in seeds() {
        match play(seed, place, &registry).await {
            Ok(more) => kills += more,
            Err(failure) => failures.push(format!("EVENKEEL_KILL_SEED={seed}: {failure:#}")),
        }
    }
    eprintln!("redrive on {place}: {} seeds, {kills} kills", seeds().len());
    assert!(failures.is_empty(), "on {place}:\n{}", failures.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redrive_sends_each_letter_once_on_the_embedded_broker() {
    play_all(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redrive_sends_each_letter_once_on_apache_kafka() {
    let kafka = tokio::task::spawn_blocking(kafka::shared).await.unwrap();
    let Some(kafka) = kafka else { return };
    play_all(Place::Kafka(kafka.bootstrap())).await;
}
