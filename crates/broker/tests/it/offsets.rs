//! Offsets by time, from the ends, and by searching.

use evenkeel_broker::Error;
use evenkeel_broker::batch::{Builder, Compression};
use evenkeel_broker::fetch::{At, Until};
use evenkeel_embedded::faults::{Fault, Requests};
use evenkeel_embedded::proxy::Api;
use evenkeel_event::clock::{Clock, SystemClock, Timestamp};
use evenkeel_event::{Header, headers};

use crate::brokers::{Bench, appended, block_on, on_every_broker};

on_every_broker! {
    offsets_are_found_by_time,
    events_are_found_by_their_id,
    deleted_records_are_out_of_range,
    the_end_of_an_epoch_is_told,
}

async fn write(bench: &Bench, times: &[i64]) {
    for (sequence, time) in (0..).zip(times) {
        let mut builder = Builder::new(1 << 20);
        let id = [Header::new(headers::CE_ID, format!("event-{sequence}"))];
        builder
            .push(Some(b"k"), Some(b"v"), &id, Timestamp::from_millis(*time))
            .unwrap();
        let encoded = builder.finish(Compression::None).unwrap();
        let bytes = encoded.stamp(&bench.stamp(0, sequence, 1)).unwrap();
        assert_eq!(
            bench.send(&bench.outgoing(0, bytes)).await,
            appended(sequence.into())
        );
    }
}

async fn offsets_are_found_by_time(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "times").await;
    let now = SystemClock::default().now().millis();
    write(&bench, &[now - 3000, now - 2000, now - 1000]).await;
    for (at, expected) in [
        (At::Earliest, Some(0)),
        (At::Latest, Some(3)),
        (At::LatestCommitted, Some(3)),
        (At::Time(Timestamp::from_millis(0)), Some(0)),
        (At::Time(Timestamp::from_millis(now - 2000)), Some(1)),
        (At::Time(Timestamp::from_millis(now - 1999)), Some(2)),
        (At::Time(Timestamp::from_millis(now)), None),
        (At::Newest, Some(2)),
    ] {
        let found = bench.cluster.offset(&bench.partition(0), at).await.unwrap();
        assert_eq!(found.offset, expected, "{at:?}");
    }
    let young = At::Time(Timestamp::from_millis(now));
    let mut range = bench
        .cluster
        .read(bench.partition(0), young, Until::End)
        .await
        .unwrap();
    assert!(range.next().await.unwrap().is_none());
}

async fn events_are_found_by_their_id(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "search").await;
    let now = SystemClock::default().now().millis();
    write(&bench, &[now; 12]).await;
    let search = |from, found_max, id: &'static str| {
        let (cluster, partition) = (bench.cluster.clone(), bench.partition(0));
        async move {
            cluster
                .search(&partition, from, found_max, |record| {
                    record
                        .header(headers::CE_ID)
                        .is_some_and(|found| found.starts_with(id.as_bytes()))
                })
                .await
                .unwrap()
        }
    };
    assert_eq!(search(0, 10, "event-7").await, [7]);
    assert_eq!(search(8, 10, "event-7").await, [0_i64; 0]);
    assert_eq!(search(0, 10, "event-1").await, [1, 10, 11]);
    assert_eq!(search(0, 2, "event-1").await, [1, 10]);
    assert_eq!(search(12, 2, "event-1").await, [0_i64; 0]);
}

async fn deleted_records_are_out_of_range(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "deleted").await;
    let now = SystemClock::default().now().millis();
    write(&bench, &[now; 4]).await;
    let partition = bench.partition(0);
    assert_eq!(bench.cluster.delete_records(&partition, 3).await.unwrap(), 3);
    let error = bench
        .cluster
        .search(&partition, 0, 1, |_| true)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::OutOfRange { offset: 0, .. }), "{error}");
    assert_eq!(bench.values().await.len(), 1);
}

async fn the_end_of_an_epoch_is_told(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "epochs").await;
    let now = SystemClock::default().now().millis();
    write(&bench, &[now; 2]).await;
    let partition = bench.partition(0);
    let found = bench.cluster.offset(&partition, At::Latest).await.unwrap();
    let end = bench
        .cluster
        .end_of_epoch(&partition, found.leader_epoch)
        .await
        .unwrap();
    assert_eq!(end, Some(2));
}

/// As a broker answers that has just learned, or not yet, that it leads a partition.
#[test]
fn an_offset_is_asked_for_again_while_the_leader_settles() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let mut config = evenkeel_embedded::Config::new(directory.path());
        config.listen = ([127, 0, 0, 1], 0).into();
        let broker = evenkeel_embedded::start(config).await.unwrap();
        let bench = Bench::new(&broker.address().to_string(), "settles").await;
        write(&bench, &[0]).await;
        for code in [6, 78] {
            let twice = Requests::of(Api::LIST_OFFSETS).times(2);
            let injected = broker.faults().inject(twice, Fault::Error(code));
            let found = bench.cluster.offset(&bench.partition(0), At::Latest).await;
            assert_eq!(found.unwrap().offset, Some(1));
            assert_eq!(injected.met(), 2);
        }
        broker.stop().await.unwrap();
    });
}
