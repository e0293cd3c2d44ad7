//! A process that publishes is killed with -9 at random moments before, during and after outages, and started again with
//! what it still owns (invariants **restartable**, **owned**, **once**, **in-order**).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use evenkeel::{Kafka, Publisher, Registry};
use evenkeel_event::headers;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::stage::{Stage, config, event, order, orders};

const DIRECTORY: &str = "PUBLISH_KILL_DIRECTORY";
const BROKER: &str = "PUBLISH_KILL_BROKER";
const REGISTRY: &str = "PUBLISH_KILL_REGISTRY";
/// For each key the first number that has no receipt.
const OWNED: &str = "PUBLISH_KILL_OWNED";
const KEYS: [&str; 4] = ["ann", "bob", "cyd", "dan"];
const EACH: usize = 150;
/// A child that says nothing for so long is killed.
const SILENCE: Duration = Duration::from_secs(2);

/// The child: not a test of its own, it does nothing unless a parent test asks.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let broker = Kafka::at(std::env::var(BROKER).unwrap());
    let registry = Registry::new(std::env::var(REGISTRY).unwrap());
    let config = config(broker, directory, registry);
    let publisher = Publisher::start(config).await.unwrap();
    let owned = std::env::var(OWNED).unwrap();
    let mut tasks = Vec::new();
    for (key, from) in KEYS.iter().zip(owned.split(',')) {
        let (publisher, from) = (publisher.clone(), from.parse().unwrap());
        tasks.push(tokio::spawn(async move {
            for number in from..EACH {
                say(&format!("? {key} {number}"));
                publisher
                    .publish_json(&event(key, number), &order(number))
                    .await
                    .unwrap();
                say(&format!("! {key} {number}"));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    while publisher.parked().await.unwrap().events > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    publisher.close(Duration::from_secs(30)).await;
    say("done");
}

pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// What the children said, over all their lives.
#[derive(Default)]
struct Said {
    /// For each key the first number without a receipt.
    owned: BTreeMap<String, usize>,
    /// How often each event was handed to `publish`.
    begun: BTreeMap<String, usize>,
    done: bool,
}

impl Said {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["?", key, number] => *self.begun.entry(format!("{key}-{number}")).or_default() += 1,
            ["!", key, number] => {
                self.owned
                    .insert((*key).to_owned(), number.parse::<usize>().unwrap() + 1);
            }
            ["done"] => self.done = true,
            _ => {}
        }
    }

    fn owned(&self) -> String {
        let from = KEYS.map(|key| self.owned.get(key).copied().unwrap_or(0).to_string());
        from.join(",")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_killed_with_9_loses_nothing_and_doubles_nothing() {
    for seed in 0..3 {
        let mut stage = Stage::new().await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut said = Said::default();
        let mut is_up = true;
        while !said.done {
            let (child, output) = spawn(&stage, &said);
            let lines = random.random_range(1..400);
            let outage = random.random_range(0..400);
            let reader = tokio::task::spawn_blocking(move || read_and_kill(child, output, lines));
            if random.random_ratio(2, 3) {
                tokio::time::sleep(Duration::from_millis(outage)).await;
                if is_up {
                    stage.stop_broker().await;
                } else {
                    stage.start_broker().await;
                }
                is_up = !is_up;
            }
            for line in reader.await.unwrap() {
                said.note(&line);
            }
            if !is_up && said.owned.values().all(|number| *number == EACH) {
                stage.start_broker().await;
                is_up = true;
            }
        }
        if !is_up {
            stage.start_broker().await;
        }
        check(&stage, &said, seed).await;
    }
}

fn spawn(stage: &Stage, said: &Said) -> (Child, ChildStdout) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(DIRECTORY, stage.path("application"))
        .env(BROKER, stage.address.to_string())
        .env(REGISTRY, &stage.registry_url)
        .env(OWNED, said.owned())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    (child, output)
}

/// Kills the child after it has said so many lines, or nothing for a while: it may wait for the broker.
fn read_and_kill(mut child: Child, output: ChildStdout, lines: usize) -> Vec<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        loop {
            let mut line = String::new();
            // A line that was cut is not said.
            if reader.read_line(&mut line).unwrap_or(0) == 0 || !line.ends_with('\n') {
                return;
            }
            sender.send(line.trim_end().to_owned()).unwrap();
        }
    });
    let mut said = Vec::new();
    while said.len() < lines
        && let Ok(line) = receiver.recv_timeout(SILENCE)
    {
        said.push(line);
    }
    child.kill().ok();
    child.wait().unwrap();
    said.extend(receiver);
    reader.join().unwrap();
    said
}

async fn check(stage: &Stage, said: &Said, seed: u64) {
    let seen = stage.read(&orders()).await;
    for key in KEYS {
        let mut first = BTreeSet::new();
        let mut order = Vec::new();
        let mut count = BTreeMap::<&str, usize>::new();
        for record in seen
            .iter()
            .filter(|record| record.key.as_deref() == Some(key.as_bytes()))
        {
            if first.insert(&record.id) {
                order.push(record.id.clone());
            }
            let is_marked = record.headers.contains_key(headers::POSSIBLE_DOUBLE);
            *count.entry(&record.id).or_default() += usize::from(!is_marked);
        }
        let expected: Vec<String> = (0..EACH).map(|number| format!("{key}-{number}")).collect();
        assert_eq!(
            order, expected,
            "seed {seed}: all there, in order of their first occurrence"
        );
        for (id, count) in count {
            let begun = said.begun.get(id).copied().unwrap_or(0);
            assert!(
                count <= begun,
                "seed {seed}: {id} was sent {begun} times and is there {count} times"
            );
        }
    }
}
