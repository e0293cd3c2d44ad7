//! Evenkeel's produce path and librdkafka's, side by side.

use std::time::{Duration, Instant};

use evenkeel_testkit::{Kafka, Options};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

mod librdkafka;
mod ours;

/// What one round sends.
#[derive(Debug, Clone)]
pub struct Load {
    pub bootstrap: String,
    pub topic: String,
    pub partitions: i32,
    pub events: usize,
}

/// Bytes of an event's value and key.
pub const VALUE: [u8; 178] = [b'v'; 178];
pub const KEY: [u8; 12] = *b"customer-007";
/// Largest batch of both sides.
pub const BATCH_BYTES: usize = 900_000;
/// Events that are sent one by one for the latency.
const SINGLES: usize = 2_000;

/// What one round came to.
#[derive(Debug, Clone, Copy)]
struct Round {
    per_second: f64,
    cpu_micros: f64,
    p50: Duration,
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).expect("CPU time is positive"))
}

fn measure(load: &Load, bulk: impl FnOnce(&Load), singles: impl FnOnce(&Load, usize) -> Vec<Duration>) -> Round {
    let (cpu_before, before) = (cpu(), Instant::now());
    bulk(load);
    let (elapsed, spent) = (before.elapsed(), cpu() - cpu_before);
    let mut latencies = singles(load, SINGLES);
    latencies.sort_unstable();
    let events = load.events as f64;
    Round {
        per_second: events / elapsed.as_secs_f64(),
        cpu_micros: spent.as_secs_f64() * 1e6 / events,
        p50: latencies[latencies.len() / 2],
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(name: &str, rounds: &[Round]) {
    let of = |field: fn(&Round) -> f64| median(rounds.iter().map(field).collect());
    println!(
        "{name:<10} {:>9.0} events/s   {:>6.3} us CPU/event   single-event p50 {:>6.3} ms   (median of {})",
        of(|round| round.per_second),
        of(|round| round.cpu_micros),
        of(|round| round.p50.as_secs_f64() * 1e3),
        rounds.len()
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (rounds, events, partitions) = (number(5), number(1_000_000), number(6));
    let kafka = Kafka::start(Options {
        jvm: Some("-Xmx1g -Xms1g".to_owned()),
        ..Options::default()
    });
    let mut results = (Vec::new(), Vec::new());
    // The first round warms the broker's compiler up and is not counted.
    for round in 0..=rounds {
        let load = |side: &str| Load {
            bootstrap: kafka.bootstrap().to_owned(),
            topic: format!("bench-{side}-{round}"),
            partitions: i32::try_from(partitions).expect("few partitions"),
            events,
        };
        let (mine, theirs) = (load("ours"), load("theirs"));
        ours::create(&mine);
        ours::create(&theirs);
        let ours = measure(&mine, ours::bulk, ours::singles);
        let librdkafka = measure(&theirs, librdkafka::bulk, librdkafka::singles);
        println!("round {round}: ours {ours:?}\n         rdkafka {librdkafka:?}");
        if round > 0 {
            results.0.push(ours);
            results.1.push(librdkafka);
        }
        ours::delete(&mine);
        ours::delete(&theirs);
    }
    report("evenkeel", &results.0);
    report("rdkafka", &results.1);
}
