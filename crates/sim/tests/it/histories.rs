use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel_sim::judge::Violation;
use evenkeel_sim::{consumer, history, redriver};

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn histories() -> u64 {
    let default = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
    from_environment("EVENKEEL_SIM_HISTORIES").unwrap_or(default)
}

/// Plays seeds from 0 on, on all processors, and tells which broke an invariant.
fn play_all(play: fn(u64) -> Result<(), Violation>) {
    let histories = histories();
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= histories {
                        return;
                    }
                    let Ok(result) = std::panic::catch_unwind(|| play(seed)) else {
                        panic!("seed {seed} panicked");
                    };
                    if let Err(violation) = result {
                        failures.lock().unwrap().push((seed, violation));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|(seed, _)| *seed);
    let shown: Vec<String> = failures
        .iter()
        .take(20)
        .map(|(seed, violation)| format!("seed {seed}: {}: {}", violation.invariant, violation.seen))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {histories} histories broke an invariant:\n{}",
        failures.len(),
        shown.join("\n")
    );
}

/// `EVENKEEL_SIM_HISTORIES` sets how many are played, `EVENKEEL_SIM_SEED` plays one alone and tells what was done.
#[test]
fn every_invariant_holds_in_every_history() {
    if let Some(seed) = from_environment("EVENKEEL_SIM_SEED") {
        let (lines, violation) = history::trace(seed);
        println!("{}", lines.join("\n"));
        assert_eq!(violation, None, "seed {seed}");
        return;
    }
    play_all(history::play);
}

#[test]
fn the_histories_meet_everything_that_they_are_to_meet() {
    let met: BTreeSet<&str> = (0..500).flat_map(history::met).collect();
    let missed: Vec<&&str> = history::TO_MEET
        .iter()
        .filter(|what| !met.contains(*what))
        .collect();
    assert!(missed.is_empty(), "no history met {missed:?}");
}

#[test]
fn consumers_commit_last() {
    play_all(consumer::play);
}

#[test]
fn redrives_send_each_letter_once() {
    play_all(redriver::play);
}
