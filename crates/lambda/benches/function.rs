//! The function as Lambda runs it, over PostgreSQL and the embedded broker: how long from its start to its first request for an
//! event, to the first parked event on Kafka, how fast it drains, and its memory. Run: `cargo bench -p evenkeel-lambda`.
//! `EVENKEEL_TEST_LAMBDA=FILE` measures the binary of a package.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    reason = "a bench panics to fail, prints what it measures, and uses a part of what the tests stand on"
)]

#[path = "../tests/it/http.rs"]
mod http;
#[path = "../tests/it/park.rs"]
mod park;
#[path = "../tests/it/runtime_api.rs"]
mod runtime_api;
#[path = "../tests/it/stage.rs"]
mod stage;

use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use http::{Response, serve};
use park::park;
use runtime_api::{Function, command, schedule};
use stage::{LONG, PATIENCE, Stage, Variables};

const STARTS: usize = 21;
const ROUNDS: usize = 3;
const KEYS: usize = 8;
/// Events of each key, of 1 KB.
const EACH: usize = 5_000;
/// Invocations that find nothing.
const IDLE: usize = 20;

/// What one round came to, ms and events a second.
struct Round {
    first_ms: f64,
    drained: f64,
    idle_ms: f64,
    peak_kb: u64,
    idle_peak_kb: u64,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        park::act().await;
        if std::env::args().any(|argument| argument == "park::child") {
            return;
        }
        measure().await;
    });
}

async fn measure() {
    let mut rounds = Vec::new();
    let mut starts = Vec::new();
    for _ in 0..ROUNDS {
        let mut stage = Stage::new().await.expect("PostgreSQL, by scripts/postgres/fetch");
        starts.extend((0..STARTS / ROUNDS).map(|_| start(&stage.variables())));
        rounds.push(drain(&mut stage).await);
    }
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let most = |figure: fn(&Round) -> u64| rounds.iter().map(figure).max().unwrap_or(0);
    println!("{} events of 1 KB, medians of {ROUNDS} rounds", KEYS * EACH);
    println!("start to the first request    {:.1} ms", median(starts));
    println!(
        "start to the first event      {:.0} ms",
        of(|round| round.first_ms)
    );
    println!(
        "drain                         {:.0} events/s",
        of(|round| round.drained)
    );
    println!(
        "an invocation without work    {:.0} ms",
        of(|round| round.idle_ms)
    );
    println!("most memory                   {} kB", most(|round| round.peak_kb));
    println!(
        "after {IDLE} invocations more    {} kB",
        most(|round| round.idle_peak_kb)
    );
}

/// From the start of the process to its first request, ms.
fn start(variables: &Variables) -> f64 {
    let (told, asked) = channel();
    let api = serve(move |_| {
        // It asks again after this answer; nobody listens then.
        told.send(Instant::now()).ok();
        Response::new(500, "{}")
    });
    let begun = Instant::now();
    let mut child = command(api, variables)
        .stderr(Stdio::null())
        .spawn()
        .expect("the function");
    let at = asked.recv_timeout(PATIENCE).expect("a request");
    // It may have ended by that answer.
    child.kill().ok();
    child.wait().expect("its end");
    millis(at - begun)
}

async fn drain(stage: &mut Stage) -> Round {
    park(stage, KEYS, EACH).await;
    stage.start_broker().await;
    let before = stage.count().await;
    let begun = Instant::now();
    let mut function = Function::start(&stage.variables());
    function.begin(&schedule(), LONG);
    while stage.count().await == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first_ms = millis(begun.elapsed());
    let answer = tokio::task::block_in_place(|| function.answer());
    let drained = (KEYS * (EACH - 1)) as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(
        stage.count().await,
        i64::try_from(KEYS * EACH).expect("a count"),
        "{answer:?}"
    );
    let peak_kb = function.peak_kb().unwrap_or(0);
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let begun = Instant::now();
        tokio::task::block_in_place(|| function.drain(LONG));
        idle.push(millis(begun.elapsed()));
    }
    Round {
        first_ms,
        drained,
        idle_ms: median(idle),
        peak_kb,
        idle_peak_kb: function.peak_kb().unwrap_or(0),
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
