//! The function is killed with -9 at random moments of a drain, as Lambda kills one that is out of time, and invoked again
//! (invariants **restartable**, **once**, **in-order**).

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::park::park;
use crate::runtime_api::{Function, schedule, stream};
use crate::stage::{LONG, PATIENCE, Stage};

const KILLS: u32 = 3;
const EACH: usize = 2_500;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_killed_with_9_loses_nothing_and_doubles_nothing() {
    let Some(stage) = Stage::new().await else {
        return;
    };
    killed(stage).await;
}

#[cfg(feature = "aws")]
#[tokio::test(flavor = "multi_thread")]
async fn a_function_killed_with_9_loses_nothing_in_dynamodb() {
    let Some(stage) = Stage::dynamodb().await else {
        return;
    };
    killed(stage).await;
}

async fn killed(mut stage: Stage) {
    let keys = park(&mut stage, 8, EACH).await;
    stage.start_broker().await;
    let mut random = StdRng::seed_from_u64(9);
    let mut counts = vec![stage.count().await];
    for kill in 0..KILLS {
        // Slow enough that it is in the middle of it.
        stage.faults().slow_disk(Duration::from_millis(400));
        let mut function = Function::start(&stage.variables());
        let event = if kill % 2 == 0 { schedule() } else { stream() };
        function.begin(&event, LONG);
        let begun = Instant::now();
        // One that was killed before has left its lease, which takes its time to run out.
        while stage.count().await == counts[counts.len() - 1] {
            assert!(
                begun.elapsed() < PATIENCE,
                "nothing moves: {counts:?}: {}",
                function.stderr()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        function.kill();
        counts.push(stage.count().await);
    }
    assert!(
        counts[counts.len() - 1] < 8 * EACH as i64,
        "nothing was left to be killed: {counts:?}"
    );
    stage.faults().clear();
    let mut last = Function::start(&stage.variables());
    let report = last.drain(LONG);
    assert_eq!(
        (&report["ended"], &report["left"]),
        (&"empty".into(), &0.into()),
        "{report}"
    );
    stage.check(&keys, EACH).await;
}
