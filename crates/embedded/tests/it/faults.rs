//! Every fault that can be ordered, as a client meets it on its connection.

use std::{
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use evenkeel_embedded::{
    faults::{Fault, Requests},
    proxy::Api,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, DescribeLogDirsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, ListGroupsRequest, MetadataRequest, MetadataResponse,
    OffsetFetchRequest, ProduceRequest,
    describe_log_dirs_response::DescribeLogDirsTopic,
    metadata_request::MetadataRequestTopic,
    metadata_response::MetadataResponsePartition,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};

use crate::{
    client::{Client, fetch, produce, text, topic},
    produce::{PLAIN, stamped},
    served::Served,
};

const NOT_ENOUGH_REPLICAS: i16 = 19;
const OUT_OF_ORDER: i16 = 45;
const STORAGE_ERROR: i16 = 56;
const SILENCE: Duration = Duration::from_millis(300);

fn served() -> (Served, Client) {
    let served = Served::start();
    let mut client = served.client();
    for name in ["t", "other"] {
        assert_eq!(client.create(name, 2, &[]), 0);
    }
    (served, client)
}

fn put(client: &mut Client, name: &str, partition: i32, value: &str) -> (i16, i64) {
    let answer = client.produce(name, partition, PLAIN.of(&[value]));
    (answer.error_code, answer.base_offset)
}

fn values(client: &mut Client, name: &str, partition: i32) -> Vec<String> {
    let read = client.read(name, partition, 0);
    read.into_iter().map(|(_, value)| value).collect()
}

fn metadata(client: &mut Client, name: &str) -> MetadataResponse {
    let asked = MetadataRequestTopic::default().with_name(Some(topic(name)));
    client.call(12, &MetadataRequest::default().with_topics(Some(vec![asked])))
}

#[test]
fn an_error_meets_the_partition_and_the_client_that_it_is_for() {
    let (served, mut client) = served();
    let requests = Requests::of(Api::PRODUCE)
        .about("t")
        .partition(1)
        .from_client("test")
        .times(2);
    let injected = served.faults().inject(requests, Fault::Error(7));
    let both = produce("t", &[(0, PLAIN.of(&["a"])), (1, PLAIN.of(&["lost"]))]);
    let answer = client.call(9, &both);
    let codes: Vec<i16> = answer.responses[0]
        .partition_responses
        .iter()
        .map(|part| part.error_code)
        .collect();
    assert_eq!(codes, [0, 7]);
    assert_eq!(put(&mut client, "other", 1, "a"), (0, 0));
    assert_eq!(injected.met(), 1, "another topic is not met");
    let mut stranger = served.client().named("stranger");
    assert_eq!(put(&mut stranger, "t", 1, "b"), (0, 0));
    assert_eq!(put(&mut client, "t", 1, "lost").0, 7);
    assert_eq!(put(&mut client, "t", 1, "c"), (0, 1), "twice and no more");
    assert_eq!(injected.met(), 2);
    assert_eq!(values(&mut client, "t", 1), ["b", "c"]);
}

#[test]
fn an_error_stays_until_it_is_lifted_and_wakes_a_waiting_fetch() {
    let (served, mut client) = served();
    let injected = served
        .faults()
        .inject(Requests::of(Api::FETCH).about("t"), Fault::Error(6));
    for _ in 0..3 {
        let patient = fetch("t", 0, 0).with_min_bytes(1).with_max_wait_ms(60_000);
        assert_eq!(client.fetch(&patient).responses[0].partitions[0].error_code, 6);
    }
    injected.lift();
    let answer = client.fetch(&fetch("t", 0, 0));
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
}

#[test]
fn every_request_of_a_group_can_be_refused() {
    let (served, mut client) = served();
    let group = || GroupId(text("g"));
    let faults = served.faults();
    let refuse = |key, code| faults.inject(Requests::of(Api(key)).times(1), Fault::Error(code));
    refuse(10, 15);
    let found = client.call(
        4,
        &FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]),
    );
    assert_eq!(found.coordinators[0].error_code, 15);
    refuse(11, 16);
    let join = JoinGroupRequest::default().with_group_id(group());
    assert_eq!(client.call(7, &join).error_code, 16);
    refuse(12, 27);
    let heartbeat = HeartbeatRequest::default().with_group_id(group());
    assert_eq!(client.call(4, &heartbeat).error_code, 27);
    refuse(16, 14);
    assert_eq!(client.call(4, &ListGroupsRequest::default()).error_code, 14);
    refuse(22, 31);
    assert_eq!(client.call(4, &InitProducerIdRequest::default()).error_code, 31);
    refuse(18, 35);
    assert_eq!(client.call(3, &ApiVersionsRequest::default()).error_code, 35);

    let topics = OffsetFetchRequestTopics::default()
        .with_name(topic("t"))
        .with_partition_indexes(vec![0, 1]);
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(Some(vec![topics]));
    let asked = OffsetFetchRequest::default().with_groups(vec![asked]);
    refuse(9, 16);
    assert_eq!(client.call(8, &asked).groups[0].error_code, 16);
    let one = Requests::of(Api::OFFSET_FETCH).about("t").partition(1);
    faults.inject(one, Fault::Error(29));
    let partitions = client.call(8, &asked).groups[0].topics[0].partitions.clone();
    assert_eq!([partitions[0].error_code, partitions[1].error_code], [0, 29]);
    faults.clear();
    assert_eq!(
        client.call(8, &asked).groups[0].topics[0].partitions[1].error_code,
        0
    );
}

#[test]
fn a_lost_answer_is_lost_after_the_append() {
    let (served, mut client) = served();
    let batch = stamped(7, 0, 0).of(&["once"]);
    let lost = Requests::of(Api::PRODUCE).about("t").times(1);
    let injected = served.faults().inject(lost, Fault::LoseAnswer);
    let request = produce("t", &[(0, batch.clone())]);
    let error = client.try_call(9, &request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    assert_eq!(injected.met(), 1);
    let mut again = served.client();
    assert_eq!(values(&mut again, "t", 0), ["once"]);
    let answer = again.produce("t", 0, batch);
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    assert_eq!(values(&mut again, "t", 0), ["once"], "its stamp is known");
}

#[test]
fn a_delayed_answer_is_late_and_those_behind_it_wait_no_longer_than_it() {
    let (served, mut client) = served();
    let delay = Duration::from_millis(200);
    served
        .faults()
        .inject(Requests::of(Api::PRODUCE), Fault::Delay(delay));
    let began = Instant::now();
    for value in ["a", "b", "c"] {
        client.send(9, &produce("t", &[(0, PLAIN.of(&[value]))])).unwrap();
    }
    for offset in 0..3 {
        let answer = client.receive::<ProduceRequest>(9).unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, offset);
        assert!(began.elapsed() >= delay, "no answer before its time");
    }
    let mut other = served.client();
    assert_eq!(values(&mut other, "t", 0), ["a", "b", "c"]);
}

#[test]
fn what_hangs_is_not_done_and_lands_after_its_connection_is_gone() {
    let (served, mut client) = served();
    let hang = Requests::of(Api::PRODUCE).about("t").times(1);
    let injected = served.faults().inject(hang, Fault::Hang);
    client.wait(SILENCE);
    let late = produce("t", &[(0, PLAIN.of(&["late"]))]);
    client.try_call(9, &late).unwrap_err();
    assert_eq!(injected.met(), 1);
    drop(client);
    let mut other = served.client();
    assert_eq!(put(&mut other, "t", 0, "first"), (0, 0), "others are not held");
    injected.lift();
    while values(&mut other, "t", 0).len() < 2 {
        thread::yield_now();
    }
    assert_eq!(values(&mut other, "t", 0), ["first", "late"]);
}

#[test]
fn what_hangs_is_answered_when_it_is_lifted() {
    let (served, mut client) = served();
    let injected = served.faults().inject(Requests::all(), Fault::Hang);
    let waiting = thread::spawn(move || put(&mut client, "t", 0, "held"));
    while injected.met() == 0 {
        thread::yield_now();
    }
    assert!(!waiting.is_finished());
    served.faults().clear();
    assert_eq!(waiting.join().unwrap(), (0, 0));
}

#[test]
fn a_closed_request_is_not_done() {
    let (served, mut client) = served();
    let close = Requests::of(Api::PRODUCE).times(1);
    served.faults().inject(close, Fault::Close);
    client
        .try_call(9, &produce("t", &[(0, PLAIN.of(&["never"]))]))
        .unwrap_err();
    let mut again = served.client();
    assert_eq!(put(&mut again, "t", 0, "a"), (0, 0));
    assert_eq!(values(&mut again, "t", 0), ["a"]);
}

#[test]
fn half_open_connections_say_nothing_and_new_ones_are_served() {
    let (served, mut client) = served();
    served.faults().silence_connections();
    client.wait(SILENCE);
    let unheard = produce("t", &[(0, PLAIN.of(&["unheard"]))]);
    let error = client.try_call(9, &unheard).unwrap_err();
    let waited = [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
    assert!(waited, "it was not closed: {error}");
    let mut new = served.client();
    assert_eq!(put(&mut new, "t", 0, "heard"), (0, 0));
    served.faults().clear();
    client.wait(crate::client::WAIT);
    assert!(client.receive_frame().is_err(), "it is closed at last");
    assert_eq!(
        put(&mut new, "t", 0, "still"),
        (0, 1),
        "this one never was silent"
    );
    assert_eq!(values(&mut new, "t", 0), ["heard", "still"], "nothing was read");
}

#[test]
fn connections_are_closed_and_refused() {
    let (served, mut client) = served();
    let faults = served.faults();
    faults.close_connections();
    assert!(client.receive_frame().is_err());
    let mut next = served.client();
    assert_eq!(put(&mut next, "t", 0, "a"), (0, 0));
    faults.refuse_connections(true);
    let refused = Client::try_connect(served.address)
        .and_then(|mut client| client.try_call(3, &ApiVersionsRequest::default()));
    assert!(refused.is_err());
    assert_eq!(put(&mut next, "t", 0, "b"), (0, 1), "those that are there stay");
    faults.refuse_connections(false);
    assert_eq!(put(&mut served.client(), "t", 0, "c"), (0, 2));
}

#[test]
fn a_partition_without_leader_is_shown_so_and_takes_nothing() {
    let (served, mut client) = served();
    served.faults().take_leader("t", 1, true);
    let seen = |partition: &MetadataResponsePartition| (partition.error_code, partition.leader_id.0);
    let partitions = metadata(&mut client, "t").topics[0].partitions.clone();
    assert_eq!([seen(&partitions[0]), seen(&partitions[1])], [(0, 1), (5, -1)]);
    assert_eq!(put(&mut client, "t", 1, "a").0, 6);
    assert_eq!(put(&mut client, "t", 0, "a"), (0, 0));
    let answer = client.fetch(&fetch("t", 1, 0));
    assert_eq!(answer.responses[0].partitions[0].error_code, 6);
    served.faults().take_leader("t", 1, false);
    let partitions = metadata(&mut client, "t").topics[0].partitions.clone();
    assert_eq!(seen(&partitions[1]), (0, 1));
    assert_eq!(put(&mut client, "t", 1, "a"), (0, 0));
}

#[test]
fn metadata_of_a_topic_can_be_refused() {
    let (served, mut client) = served();
    let denied = Requests::of(Api::METADATA).about("t").times(1);
    served.faults().inject(denied, Fault::Error(29));
    assert_eq!(metadata(&mut client, "other").topics[0].error_code, 0);
    assert_eq!(metadata(&mut client, "t").topics[0].error_code, 29);
    assert_eq!(metadata(&mut client, "t").topics[0].error_code, 0);
}

#[test]
fn too_few_replicas_refuse_what_wants_them_all() {
    let (served, mut client) = served();
    served.faults().take_replicas("t", 0, true);
    assert_eq!(put(&mut client, "t", 0, "a").0, NOT_ENOUGH_REPLICAS);
    let one = produce("t", &[(0, PLAIN.of(&["leader alone"]))]).with_acks(1);
    let answer = client.call(9, &one);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    served.faults().take_replicas("t", 0, false);
    assert_eq!(put(&mut client, "t", 0, "all"), (0, 1));
    assert_eq!(values(&mut client, "t", 0), ["leader alone", "all"]);
}

#[test]
fn a_forgotten_producer_may_begin_anywhere() {
    let (served, mut client) = served();
    let append = |client: &mut Client, sequence| {
        let answer = client.produce("t", 0, stamped(7, 0, sequence).of(&["v"]));
        (answer.error_code, answer.base_offset)
    };
    assert_eq!(append(&mut client, 0), (0, 0));
    assert_eq!(append(&mut client, 5).0, OUT_OF_ORDER);
    assert!(served.block_on(served.faults().forget_producers("t", 0)));
    assert!(!served.block_on(served.faults().forget_producers("t", 9)));
    assert_eq!(append(&mut client, 5), (0, 1), "nothing is known of it");
    assert_eq!(append(&mut client, 5), (0, 1));
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_goes_on() {
    let (mut served, mut client) = served();
    let mut expected = vec!["before".to_owned()];
    assert_eq!(put(&mut client, "t", 0, "before"), (0, 0));
    for round in 0..3 {
        served.faults().fill_disk(true);
        assert_eq!(put(&mut client, "t", 0, "refused").0, STORAGE_ERROR);
        assert_eq!(client.create("u", 1, &[]), STORAGE_ERROR);
        assert_eq!(values(&mut client, "t", 0), expected, "what is there is read");
        served.faults().fill_disk(false);
        let value = format!("after {round}");
        assert_eq!(put(&mut client, "t", 0, &value), (0, round + 1));
        expected.push(value);
    }
    assert_eq!(client.create("u", 1, &[]), 0);
    served.restart();
    assert_eq!(values(&mut served.client(), "t", 0), expected);
}

#[test]
fn a_full_disk_ends_in_the_middle_of_a_batch() {
    let (mut served, mut client) = served();
    served.faults().fill_disk(true);
    let stamped_batch = stamped(7, 0, 0).of(&["a", "b"]);
    let answer = client.produce("t", 0, stamped_batch.clone());
    assert_eq!(answer.error_code, STORAGE_ERROR);
    served.restart();
    let mut client = served.client();
    assert_eq!(values(&mut client, "t", 0), [""; 0]);
    let answer = client.produce("t", 0, stamped_batch);
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
}

#[test]
fn a_slow_disk_delays_the_acknowledgement() {
    let (served, mut client) = served();
    let delay = Duration::from_millis(150);
    served.faults().slow_disk(delay);
    let began = Instant::now();
    assert_eq!(put(&mut client, "t", 0, "a"), (0, 0));
    assert!(began.elapsed() >= delay, "acknowledged before it was synced");
    served.faults().clear();
    assert_eq!(put(&mut client, "t", 0, "b"), (0, 1));
}

#[test]
fn faults_of_one_broker_do_not_outlive_it() {
    let (mut served, mut client) = served();
    served.faults().inject(Requests::all(), Fault::Error(7));
    assert_eq!(put(&mut client, "t", 0, "a").0, 7);
    served.restart();
    assert_eq!(put(&mut served.client(), "t", 0, "a"), (0, 0));
}

/// The free bytes and the error code of the one data directory.
fn log_dir(client: &mut Client) -> (i64, i16) {
    let asked = DescribeLogDirsRequest::default().with_topics(Some(Vec::new()));
    let mut found = client.call(4, &asked).results;
    let dir = found.remove(0);
    assert!(found.is_empty() && dir.topics.is_empty() && dir.total_bytes > 0);
    (dir.usable_bytes, dir.error_code)
}

#[test]
fn a_full_disk_shows_in_its_directory() {
    let (served, mut client) = served();
    assert_eq!(put(&mut client, "t", 0, "a"), (0, 0));
    let (free, code) = log_dir(&mut client);
    assert!(free > 0 && code == 0, "{free}, {code}");
    served.faults().fill_disk(true);
    assert_eq!(log_dir(&mut client), (0, 0));
    assert_eq!(put(&mut client, "t", 0, "b").0, STORAGE_ERROR);
    assert_eq!(log_dir(&mut client), (0, STORAGE_ERROR));
    served.faults().fill_disk(false);
    assert_eq!(put(&mut client, "t", 0, "b"), (0, 1));
    assert_eq!(log_dir(&mut client).1, 0);
    let all = client.call(4, &DescribeLogDirsRequest::default().with_topics(None));
    let sizes = |topic: &DescribeLogDirsTopic| -> Vec<i64> {
        topic
            .partitions
            .iter()
            .map(|partition| partition.partition_size)
            .collect()
    };
    let found: Vec<Vec<i64>> = all.results[0].topics.iter().map(sizes).collect();
    assert!(
        matches!(found.as_slice(), [other, t] if *other == [0, 0] && t[0] > 0 && t[1] == 0),
        "{found:?}"
    );
}
