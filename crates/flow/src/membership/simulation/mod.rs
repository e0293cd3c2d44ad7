//! Several members, a coordinator and a network between them, played from a seed. A failing seed plays again exactly.

mod coordinator;
mod world;

use std::time::Duration;

use super::Assignor;
use world::World;

const SECOND: Duration = Duration::from_secs(1);

/// `EVENKEEL_LONG=1` plays many more.
fn histories() -> u64 {
    if std::env::var("EVENKEEL_LONG").as_deref() == Ok("1") {
        3_000
    } else {
        60
    }
}

/// Random crashes, pauses, closes, newcomers, fail-overs and lost answers; the world checks its invariants after each
/// step, and at the end, when all is calm, every partition has one holder and the group does not move any more.
#[test]
fn whatever_happens_the_group_keeps_its_promises() {
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        for seed in 0..histories() {
            let mut world = World::new(assignor, seed);
            world.start_members(3);
            world.loss_percent = 2;
            for _ in 0..6 {
                world.run(SECOND * 4);
                world.random_fault();
            }
            world.loss_percent = 0;
            world.calm_down();
            world.run(SECOND * 30);
            world.check_settled();
            let generation = world.generation();
            world.run(SECOND * 20);
            assert_eq!(
                world.generation(),
                generation,
                "{assignor:?}, seed {seed}: moves on by itself"
            );
        }
    }
}

/// Applies one change to a settled group of three and counts the generations that it takes.
fn generations_after(assignor: Assignor, seed: u64, change: impl Fn(&mut World)) -> i32 {
    let mut world = World::new(assignor, seed);
    world.start_members(3);
    world.run(SECOND * 20);
    world.check_settled();
    let before = world.generation();
    change(&mut world);
    world.run(SECOND * 30);
    world.check_settled();
    world.generation() - before
}

#[test]
fn a_change_takes_one_generation_with_range_and_two_with_cooperative_sticky() {
    type Change = fn(&mut World);
    let changes: [(&str, i32, Change); 5] = [
        ("a newcomer", 1, |world| world.start_members(1)),
        ("a close", 1, |world| world.close(0)),
        ("a crash", 1, |world| world.crash(1)),
        ("a crash and restart", 2, |world| {
            world.crash(1);
            world.start_members(1);
        }),
        ("a pause beyond the session", 2, |world| {
            world.pause(2, SECOND * 9)
        }),
    ];
    for seed in 0..8 {
        for (name, count, change) in &changes {
            for (assignor, each) in [(Assignor::Range, 1), (Assignor::CooperativeSticky, 2)] {
                let taken = generations_after(assignor, seed, change);
                assert!(
                    (1..=count * each).contains(&taken),
                    "{name} took {taken} generations with {}, seed {seed}",
                    assignor.name()
                );
            }
        }
    }
}

#[test]
fn a_coordinator_that_moves_costs_no_generation() {
    for seed in 0..20 {
        for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
            assert_eq!(
                generations_after(assignor, seed, World::fail_over),
                0,
                "{assignor:?}, seed {seed}"
            );
        }
    }
}
