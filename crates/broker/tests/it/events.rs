//! Events that are written and read back, field by field.

use bytes::Bytes;
use evenkeel_broker::batch::{Builder, Compression};
use evenkeel_broker::fetch::{At, Until};
use evenkeel_broker::{Error, Leader};
use evenkeel_event::clock::{Clock, SystemClock, Timestamp};
use evenkeel_event::{Header, Record};

use crate::brokers::{Bench, PATIENCE, appended, on_every_broker, read_values};

on_every_broker! {
    every_field_reads_back,
    every_compression_reads_back,
    big_fetches_bring_everything,
    a_range_ends_where_it_was_told,
    appends_land_in_order,
    an_append_that_does_not_fit_says_so,
}

async fn every_field_reads_back(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "fields").await;
    let leader = bench.cluster.metadata().leader(&bench.partition(0));
    assert!(matches!(leader, Leader::At { .. }));
    let now = SystemClock::default().now();
    let headers = vec![
        Header::new("name", "väl"),
        Header {
            name: "null".to_owned(),
            value: None,
        },
        Header::new("name", Vec::from([0xff, 0x00])),
    ];
    let mut builder = Builder::new(1 << 20);
    builder.push(Some(b"key"), Some(b"value"), &headers, now).unwrap();
    let earlier = Timestamp::from_millis(now.millis() - 1500);
    builder.push(None, None, &[], earlier).unwrap();
    builder.push(Some(b""), Some(b""), &[], now).unwrap();
    let stamp = bench.stamp(0, 0, 3);
    let bytes = builder.finish(Compression::None).unwrap().stamp(&stamp).unwrap();
    assert_eq!(bench.send(&bench.outgoing(0, bytes)).await, appended(0));

    let mut range = bench
        .cluster
        .read(bench.partition(0), At::Earliest, Until::End)
        .await
        .unwrap();
    let piece = range.next().await.unwrap().unwrap();
    let read: Vec<_> = piece
        .records()
        .map(|record| {
            (
                record.offset,
                record.timestamp,
                record.key,
                record.value,
                record.to_headers(),
            )
        })
        .collect();
    let expected = [
        (
            0,
            now,
            Some(b"key".as_slice()),
            Some(b"value".as_slice()),
            headers,
        ),
        (1, earlier, None, None, Vec::new()),
        (2, now, Some(b"".as_slice()), Some(b"".as_slice()), Vec::new()),
    ];
    assert_eq!(read, expected);
    assert!(range.next().await.unwrap().is_none());
}

async fn every_compression_reads_back(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "compression").await;
    let mut sequence = 0;
    for compression in [Compression::Lz4, Compression::Zstd, Compression::None] {
        let value = "x".repeat(1000);
        let encoded = crate::brokers::encode(&[&value, &value], compression);
        assert_eq!(encoded.bytes() < 1000, compression != Compression::None);
        let bytes = encoded.stamp(&bench.stamp(0, sequence, 2)).unwrap();
        assert_eq!(
            bench.send(&bench.outgoing(0, bytes)).await,
            appended(sequence.into())
        );
        sequence += 2;
    }
    let values = bench.values().await;
    assert!(values.len() == 6 && values.iter().all(|value| value.len() == 1000));
}

async fn big_fetches_bring_everything(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "big").await;
    let value = "y".repeat(200_000);
    for sequence in 0..100 {
        let batch = bench.batch(0, sequence, &[&value]);
        assert_eq!(bench.send(&batch).await, appended(sequence.into()));
    }
    let values = bench.values().await;
    assert!(values.len() == 100 && values.iter().all(|read| *read == value));
}

async fn a_range_ends_where_it_was_told(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "range").await;
    bench.send(&bench.batch(0, 0, &["a", "b", "c", "d"])).await;
    bench.send(&bench.batch(0, 4, &["e", "f"])).await;
    let mut range = bench
        .cluster
        .read_from(bench.partition(0), 2, Until::Offset(5))
        .await
        .unwrap();
    let mut offsets = Vec::new();
    while let Some(piece) = range.next().await.unwrap() {
        offsets.extend(piece.records().map(|record| record.offset));
    }
    assert_eq!(offsets, [2, 3, 4]);
}

fn record(bench: &Bench, value: Vec<u8>) -> Record {
    Record {
        topic: bench.topic.clone(),
        partition: Some(0),
        key: Some(Bytes::from_static(b"k")),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

async fn appends_land_in_order(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "append").await;
    let clock = SystemClock::default();
    let mut expected = Vec::new();
    for round in 0..20_i64 {
        let records = [
            record(&bench, round.to_string().into()),
            record(&bench, b"and".to_vec()),
        ];
        let offset = bench
            .cluster
            .append(&bench.partition(0), &records, &clock, PATIENCE)
            .await
            .unwrap();
        assert_eq!(offset, round * 2);
        expected.extend([round.to_string(), "and".to_owned()]);
    }
    assert_eq!(read_values(&bench.cluster, bench.partition(0)).await, expected);
}

async fn an_append_that_does_not_fit_says_so(bootstrap: &str) {
    let bench = Bench::with(bootstrap, "fit", 1, 1, &[("max.message.bytes", "500")]).await;
    let clock = SystemClock::default();
    let partition = bench.partition(0);
    let large = [record(&bench, vec![0; 1000])];
    let error = bench
        .cluster
        .append(&partition, &large, &clock, PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotAppended { .. }), "{error}");
    assert!(!error.may_have_landed() && !error.is_outage(), "{error}");
    let huge = [record(&bench, vec![0; 2 << 20])];
    let append = bench.cluster.append(&partition, &huge, &clock, PATIENCE);
    assert!(matches!(append.await, Err(Error::Batch(_))));
    // What follows goes on under the next epoch.
    let small = [record(&bench, b"small".to_vec())];
    let append = bench.cluster.append(&partition, &small, &clock, PATIENCE);
    assert_eq!(append.await.unwrap(), 0);
    assert_eq!(bench.values().await, ["small"]);
}
