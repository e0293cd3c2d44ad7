//! A parked event that the disk does not give back holds its lane up until an operator gives it up by name (invariants
//! **owned**, **in-order**).

use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel_store::{AlarmKind, Config, DiskStandby, Place};

use crate::stage::{PATIENCE, Stage, orders, publish_all, restarted};

/// Flips a bit of the parked event with this id.
fn damage(standby: &Path, id: &str) {
    let file = standby.join(format!("{:016}.log", 1));
    let mut bytes = std::fs::read(&file).unwrap();
    let places: Vec<usize> = bytes
        .windows(id.len())
        .enumerate()
        .filter(|(_, window)| *window == id.as_bytes())
        .map(|(at, _)| at)
        .collect();
    let at = *places.last().expect("it is parked");
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
}

async fn ids(stage: &Stage) -> Vec<String> {
    let seen = stage.read(&orders()).await;
    seen.into_iter().map(|record| record.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_stands_still_at_an_event_that_is_damaged_until_it_is_given_up() {
    let mut stage = Stage::new().await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &["ann"], 0..1).await;
    let partition = stage.read(&orders()).await[0].partition;
    stage.stop_broker().await;
    publish_all(&publisher, &["ann"], 1..5).await;
    assert!(publisher.close(PATIENCE).await);
    drop(publisher);
    let standby = stage.path("application").join("standby");
    damage(&standby, "ann-3");

    stage.start_broker().await;
    let publisher = restarted(&stage).await;
    let start = Instant::now();
    while ids(&stage).await.len() < 3 {
        assert!(start.elapsed() < PATIENCE, "{:?}", ids(&stage).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It is not passed over, and later events do not overtake it.
    publish_all(&publisher, &["ann"], 5..6).await;
    assert!(publisher.parked().await.unwrap().events >= 2);
    stage.alarmed(&[(AlarmKind::DamagedRows, Some(partition))]).await;
    publisher.close(Duration::from_secs(1)).await;
    drop(publisher);
    assert_eq!(ids(&stage).await, ["ann-0", "ann-1", "ann-2"]);

    let place = Place {
        topic: orders(),
        partition: Some(partition),
    };
    let store = opened(&standby).await;
    let found = store
        .unreadable(&place)
        .await
        .unwrap()
        .expect("it is at the front");
    store.accept_loss(&place, found.positions).await.unwrap();
    drop(store);

    let publisher = restarted(&stage).await;
    stage.drained(&publisher).await;
    publish_all(&publisher, &["ann"], 6..7).await;
    assert_eq!(
        ids(&stage).await,
        ["ann-0", "ann-1", "ann-2", "ann-4", "ann-5", "ann-6"]
    );
    assert!(publisher.close(PATIENCE).await);
    assert_eq!(stage.alarms(), [], "it is mended");
}

/// The same for events that were parked before anybody knew their partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_event_without_a_partition_holds_up_its_topic_until_it_is_given_up() {
    let mut stage = Stage::dark().await;
    let publisher = restarted(&stage).await;
    publish_all(&publisher, &["ann"], 0..5).await;
    assert!(publisher.close(PATIENCE).await);
    drop(publisher);
    let standby = stage.path("application").join("standby");
    damage(&standby, "ann-2");

    stage.start_broker().await;
    let publisher = restarted(&stage).await;
    stage.alarmed(&[(AlarmKind::DamagedRows, None)]).await;
    publish_all(&publisher, &["ann"], 5..6).await;
    publisher.close(Duration::from_secs(1)).await;
    drop(publisher);
    assert_eq!(ids(&stage).await, ["ann-0", "ann-1"]);

    let place = Place {
        topic: orders(),
        partition: None,
    };
    let store = opened(&standby).await;
    let found = store.unreadable(&place).await.unwrap().expect("at the front");
    store.accept_loss(&place, found.positions).await.unwrap();
    drop(store);

    let publisher = restarted(&stage).await;
    stage.drained(&publisher).await;
    assert_eq!(ids(&stage).await, ["ann-0", "ann-1", "ann-3", "ann-4", "ann-5"]);
    assert!(publisher.close(PATIENCE).await);
    assert_eq!(stage.alarms(), [], "it is mended");
}

/// The store, when the last publisher has let go of it.
async fn opened(standby: &Path) -> DiskStandby {
    let start = Instant::now();
    loop {
        match DiskStandby::open(&Config::new(standby)) {
            Ok(store) => return store,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
