//! Records out: limits, ranges, waiting.

use std::{thread, time::Duration};

use kafka_protocol::messages::{DeleteRecordsRequest, FetchRequest, delete_records_request};

use crate::{
    client::{fetch, produce, topic},
    produce::{Batch, PLAIN, records},
    served::Served,
};

fn served() -> Served {
    let served = Served::start();
    assert_eq!(served.client().create("t", 3, &[]), 0);
    served
}

#[test]
fn a_waiting_fetch_is_woken_by_an_append() {
    let served = served();
    let mut reader = served.client();
    // Far longer than the test may take: only the append can end it.
    let wait = Duration::from_hours(1).as_millis() as i32;
    reader
        .send(12, &fetch("t", 1, 0).with_min_bytes(1).with_max_wait_ms(wait))
        .unwrap();
    let writer = thread::spawn({
        let mut client = served.client();
        move || client.produce("t", 1, PLAIN.of(&["news"])).error_code
    });
    let response = reader.receive::<FetchRequest>(12).unwrap();
    assert_eq!(
        records(response.responses[0].partitions[0].records.as_ref().unwrap()),
        [(0, "news".to_owned())]
    );
    assert_eq!(writer.join().unwrap(), 0);
}

#[test]
fn a_waiting_fetch_ends_with_its_topic_and_with_its_broker() {
    let mut served = served();
    let wait = fetch("t", 0, 0).with_min_bytes(1).with_max_wait_ms(i32::MAX);
    let mut reader = served.client();
    reader.send(12, &wait).unwrap();
    crate::topics::delete(&mut served.client(), "t");
    let response = reader.receive::<FetchRequest>(12).unwrap();
    assert_eq!(response.responses[0].partitions[0].error_code, 3);
    served.client().create("t", 1, &[]);
    reader.send(12, &wait).unwrap();
    served.stop();
    // The stop did not wait for the fetch, which may have been answered or not even read.
    drop(reader.receive::<FetchRequest>(12));
    assert!(reader.try_call(12, &wait).is_err(), "the connection is closed");
}

#[test]
fn limits_are_kept_but_the_first_batch_comes_whole() {
    let served = served();
    let mut client = served.client();
    for _ in 0..10 {
        client.produce("t", 0, PLAIN.of(&["x".repeat(1_000)]));
    }
    let one = PLAIN.of(&["x".repeat(1_000)]).len();
    let count = |bytes: usize| {
        let mut request = fetch("t", 0, 0);
        request.topics[0].partitions[0].partition_max_bytes = bytes as i32;
        let response = served.client().fetch(&request);
        records(response.responses[0].partitions[0].records.as_ref().unwrap()).len()
    };
    assert_eq!(
        [count(0), count(1), count(one), count(one * 3 - 1), count(one * 3)],
        [1, 1, 1, 2, 3]
    );
    let mut two = fetch("t", 0, 0).with_max_bytes(one as i32);
    client.produce("t", 1, PLAIN.of(&["y"]));
    let mut second = two.topics[0].partitions[0].clone();
    second.partition = 1;
    two.topics[0].partitions.push(second);
    let response = client.fetch(&two);
    assert!(
        response.responses[0].partitions[1]
            .records
            .as_ref()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn out_of_range_and_unknown_are_told_apart() {
    let served = served();
    let mut client = served.client();
    client.produce("t", 0, PLAIN.of(&["a"]));
    let mut code = |request: &FetchRequest| client.fetch(request).responses[0].partitions[0].error_code;
    assert_eq!(code(&fetch("t", 0, 1)), 0);
    assert_eq!(code(&fetch("t", 0, 2)), 1);
    assert_eq!(code(&fetch("t", 0, -1)), 1);
    assert_eq!(code(&fetch("t", 9, 0)), 3);
    assert_eq!(code(&fetch("none", 0, 0)), 3);
    let mut ahead = fetch("t", 0, 0);
    ahead.topics[0].partitions[0].current_leader_epoch = 5;
    assert_eq!(code(&ahead), 75);
    assert_eq!(client.fetch(&fetch("t", 0, 0).with_session_id(9)).error_code, 70);
}

#[test]
fn offsets_are_found_by_time() {
    let served = served();
    let mut client = served.client();
    for start in [1_000, 5_000, 3_000] {
        client.produce(
            "t",
            0,
            Batch {
                timestamp: start,
                ..PLAIN
            }
            .of(&["a", "b", "c"]),
        );
    }
    let mut at = |time| client.offset("t", 0, time);
    assert_eq!([at(-2).0, at(-1).0], [0, 9]);
    assert_eq!(
        [at(0), at(1_000), at(1_001)],
        [(0, 1_000), (0, 1_000), (1, 1_001)]
    );
    assert_eq!(
        [at(1_003), at(5_002), at(5_003)],
        [(3, 5_000), (5, 5_002), (-1, -1)]
    );
    assert_eq!(at(-3), (5, 5_002));
}

#[test]
fn deleted_records_are_gone_also_after_a_restart() {
    let mut served = Served::with(|config| config.segment_bytes = 1024 * 1024);
    let mut client = served.client();
    client.create("t", 1, &[]);
    for _ in 0..5 {
        client.call(9, &produce("t", &[(0, PLAIN.of(&["x".repeat(600_000)]))]));
    }
    let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(3);
    let asked = delete_records_request::DeleteRecordsTopic::default()
        .with_name(topic("t"))
        .with_partitions(vec![partition]);
    let response = client.call(2, &DeleteRecordsRequest::default().with_topics(vec![asked]));
    assert_eq!(response.topics[0].partitions[0].low_watermark, 3);
    for _ in 0..2 {
        let mut client = served.client();
        assert_eq!([client.offset("t", 0, -2).0, client.offset("t", 0, -1).0], [3, 5]);
        assert_eq!(
            client.fetch(&fetch("t", 0, 2)).responses[0].partitions[0].error_code,
            1
        );
        assert_eq!(client.read("t", 0, 3).len(), 2);
        served.restart();
    }
}
