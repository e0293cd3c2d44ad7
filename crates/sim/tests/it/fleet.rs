//! Every state of a few processes that share a store. `EVENKEEL_FLEET_STATES` says how many states of an exploration are
//! visited at most; 300,000 unless told, in a debug build 3,000.

use std::time::Instant;

use evenkeel_flow::diversion::Mode;
use evenkeel_sim::fleet::{Begin, Bounds, Report, explore, replay};

fn states_max() -> u64 {
    let default = if cfg!(debug_assertions) { 3_000 } else { 300_000 };
    std::env::var("EVENKEEL_FLEET_STATES").map_or(default, |text| text.parse().unwrap())
}

/// Two that publish an event each, one of which waits too long for the broker; a lease may run out.
fn two_publishers() -> Bounds {
    Bounds {
        begin: Begin::Joined,
        publishers: vec![1, 1],
        drainers: 0,
        ticks: 1,
        timeouts: 1,
        losses: 0,
        delays: 0,
        reads_wait: false,
        crashes: 0,
        mode: Mode::Strict,
        counts_unguarded: true,
        states_max: states_max(),
    }
}

fn told(name: &str, bounds: &Bounds) -> Report {
    let start = Instant::now();
    let report = explore(bounds);
    let end = if report.is_complete { "all" } else { "the first" };
    println!(
        "{name}: {end} {} states, {} steps between them, in {:?}; met {:?}",
        report.states,
        report.steps,
        start.elapsed(),
        report.met
    );
    report
}

/// Returns what was met, and fails where a promise is broken.
fn check(name: &str, bounds: &Bounds) -> Report {
    let report = told(name, bounds);
    if let Some((violation, path)) = &report.violation {
        let steps = replay(bounds, path);
        panic!(
            "{}\nexplored {}: {}: {}",
            steps.join("\n"),
            report.states,
            violation.invariant,
            violation.seen
        );
    }
    report
}

#[test]
fn promises_hold_where_a_lease_runs_out() {
    let report = check("a lease runs out", &two_publishers());
    if !cfg!(debug_assertions) {
        assert!(report.is_complete);
        for what in ["parked", "revoked", "landed late"] {
            assert!(report.met.contains(&what), "{what} was not met");
        }
    }
}

#[test]
fn promises_hold_where_a_process_joins_late() {
    let bounds = Bounds {
        ticks: 0,
        begin: Begin::JoinsLate,
        ..two_publishers()
    };
    let report = check("a process joins late", &bounds);
    assert!(report.is_complete || cfg!(debug_assertions));
}

#[test]
fn promises_hold_where_one_publisher_is_drained() {
    let bounds = Bounds {
        publishers: vec![1],
        drainers: 1,
        ticks: 0,
        ..two_publishers()
    };
    let report = check("one publisher is drained", &bounds);
    assert!(report.is_complete || cfg!(debug_assertions));
}

#[test]
fn promises_hold_where_a_lane_is_drained() {
    let bounds = Bounds {
        drainers: 1,
        ticks: 0,
        ..two_publishers()
    };
    let report = check("a lane is drained", &bounds);
    if !cfg!(debug_assertions) {
        for what in ["parked", "passed", "reopened", "sent twice", "all done"] {
            assert!(report.met.contains(&what), "{what} was not met");
        }
    }
}

#[test]
fn promises_hold_where_answers_are_lost_and_writes_come_late() {
    let bounds = Bounds {
        losses: 1,
        delays: 1,
        ..two_publishers()
    };
    check("answers are lost", &bounds);
}

/// A process has parked events, the first of them with its stamp, and was killed; one of two drains them.
fn drained(events: u8) -> Bounds {
    Bounds {
        begin: Begin::Orphaned,
        publishers: vec![events],
        drainers: 2,
        timeouts: 0,
        // All of them: fewer do not come as far as a take-over with everything that comes late.
        states_max: match cfg!(debug_assertions) {
            true => states_max(),
            false => states_max().max(4_000_000),
        },
        ..two_publishers()
    }
}

fn check_taken_over(name: &str, bounds: &Bounds) {
    let report = check(name, bounds);
    if !cfg!(debug_assertions) {
        assert!(report.is_complete);
        for what in [
            "taken over",
            "revoked",
            "sent twice",
            "written late",
            "reopened",
            "all done",
        ] {
            assert!(report.met.contains(&what), "{what} was not met");
        }
    }
}

#[test]
fn promises_hold_where_a_drain_is_taken_over_from_one_that_goes_on() {
    check_taken_over("a drain is taken over", &drained(2));
}

#[test]
fn promises_hold_where_a_drain_is_taken_over_from_one_that_was_killed() {
    let bounds = Bounds {
        crashes: 1,
        ..drained(1)
    };
    check_taken_over("a drainer is killed", &bounds);
}

#[test]
fn promises_hold_where_a_lane_is_drained_while_its_publisher_goes_on() {
    let bounds = Bounds {
        begin: Begin::Drains,
        drainers: 1,
        crashes: 1,
        ..drained(2)
    };
    let report = check("its publisher goes on", &bounds);
    assert!(report.is_complete || cfg!(debug_assertions));
}

#[test]
fn promises_hold_where_processes_are_killed() {
    let bounds = Bounds {
        drainers: 2,
        crashes: 1,
        ..two_publishers()
    };
    check("a process is killed", &bounds);
}

#[test]
fn without_a_lease_only_the_order_across_processes_is_given_up() {
    let bounds = Bounds {
        mode: Mode::Available,
        counts_unguarded: false,
        ..two_publishers()
    };
    check("available", &bounds);
    // One that was only paused asks the store before it goes on.
    let paused = Bounds {
        counts_unguarded: true,
        ..bounds.clone()
    };
    check("available, paused, the order looked at", &paused);
    // What was under way when the time passed says nothing of the store.
    let stood_still = Bounds {
        begin: Begin::Diverts,
        losses: 1,
        states_max: states_max().max(600_000),
        ..paused.clone()
    };
    check(
        "available, paused while it asked, the order looked at",
        &stood_still,
    );
    // It takes two to be silent.
    let looked_at = Bounds {
        begin: Begin::Diverts,
        losses: 2,
        states_max: states_max().max(600_000),
        ..paused
    };
    let report = told("available, the store silent, the order looked at", &looked_at);
    let broken = report.violation.map(|(violation, _)| violation.invariant);
    assert_eq!(broken, Some("in-order"));
}
