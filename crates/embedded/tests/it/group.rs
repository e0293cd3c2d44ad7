//! Groups over the wire: joining, rebalancing, committing.

use std::thread;

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
        JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
        OffsetFetchRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};

use crate::{
    client::{Client, text, topic},
    served::{Served, Spawned},
};

fn group() -> GroupId {
    GroupId(text("g"))
}

fn join_request(member: &StrBytes, metadata: &'static str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(metadata.as_bytes()));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(60_000)
        .with_rebalance_timeout_ms(60_000)
        .with_member_id(member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins as a new member: the first answer gives the id, the second is the group's.
fn join(client: &mut Client, metadata: &'static str) -> JoinGroupResponse {
    let given = client.call(7, &join_request(&text(""), metadata));
    assert_eq!(given.error_code, 79);
    client.call(7, &join_request(&given.member_id, metadata))
}

fn sync(
    client: &mut Client,
    member: &StrBytes,
    generation: i32,
    parts: &[(&StrBytes, &'static str)],
) -> (i16, Bytes) {
    let part = |(member, part): &(&StrBytes, &'static str)| {
        SyncGroupRequestAssignment::default()
            .with_member_id((*member).clone())
            .with_assignment(Bytes::from_static(part.as_bytes()))
    };
    let request = SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(generation)
        .with_member_id(member.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(parts.iter().map(part).collect());
    let response = client.call(5, &request);
    (response.error_code, response.assignment)
}

fn heartbeat(client: &mut Client, member: &StrBytes, generation: i32) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group())
        .with_generation_id(generation)
        .with_member_id(member.clone());
    client.call(4, &request).error_code
}

fn commit(client: &mut Client, member: &StrBytes, generation: i32, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let topics = OffsetCommitRequestTopic::default()
        .with_name(topic("t"))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(member.clone())
        .with_topics(vec![topics]);
    client.call(8, &request).topics[0].partitions[0].error_code
}

fn leave(client: &mut Client, member: &StrBytes) -> i16 {
    let leaver = MemberIdentity::default().with_member_id(member.clone());
    let request = LeaveGroupRequest::default()
        .with_group_id(group())
        .with_members(vec![leaver]);
    client.call(4, &request).members[0].error_code
}

fn committed(client: &mut Client) -> (i64, Option<String>) {
    let topics = OffsetFetchRequestTopics::default()
        .with_name(topic("t"))
        .with_partition_indexes(vec![0]);
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(Some(vec![topics]));
    let response = client.call(8, &OffsetFetchRequest::default().with_groups(vec![asked]));
    let found = &response.groups[0].topics[0].partitions[0];
    (
        found.committed_offset,
        found.metadata.as_ref().map(ToString::to_string),
    )
}

#[test]
fn two_members_join_share_and_part() {
    let served = Served::start();
    let (mut one, mut two) = (served.client(), served.client());
    let first = join(&mut one, "one");
    assert_eq!(
        (first.error_code, first.generation_id, first.members.len()),
        (0, 1, 1)
    );
    assert_eq!(first.leader, first.member_id);
    assert_eq!(
        sync(&mut one, &first.member_id, 1, &[(&first.member_id, "all")]),
        (0, "all".into())
    );
    assert_eq!(heartbeat(&mut one, &first.member_id, 1), 0);

    let joining = thread::spawn(move || {
        let second = join(&mut two, "two");
        (two, second)
    });
    while heartbeat(&mut one, &first.member_id, 1) != 27 {
        thread::yield_now();
    }
    let leader = one.call(7, &join_request(&first.member_id, "one"));
    let (mut two, second) = joining.join().unwrap();
    assert_eq!(
        (leader.generation_id, second.generation_id, leader.members.len()),
        (2, 2, 2)
    );
    assert_eq!(second.leader, first.member_id);
    let waiting = thread::spawn({
        let member = second.member_id.clone();
        move || {
            let part = sync(&mut two, &member, 2, &[]);
            (two, part)
        }
    });
    let parts = [(&first.member_id, "half"), (&second.member_id, "other half")];
    assert_eq!(sync(&mut one, &first.member_id, 2, &parts), (0, "half".into()));
    let (mut two, part) = waiting.join().unwrap();
    assert_eq!(part, (0, "other half".into()));
    assert_eq!(heartbeat(&mut two, &second.member_id, 1), 22);

    assert_eq!(leave(&mut one, &first.member_id), 0);
    assert_eq!(heartbeat(&mut one, &first.member_id, 2), 25);
    assert_eq!(heartbeat(&mut two, &second.member_id, 2), 27);
    let alone = two.call(7, &join_request(&second.member_id, "two"));
    assert_eq!((alone.generation_id, alone.members.len()), (3, 1));
}

/// A member alone in its group, stable in generation 1.
fn settled(client: &mut Client) -> StrBytes {
    let member = join(client, "m").member_id;
    assert_eq!(sync(client, &member, 1, &[(&member, "all")]), (0, "all".into()));
    member
}

#[test]
fn members_go_on_when_their_broker_was_killed_and_is_back() {
    let directory = tempfile::TempDir::new().unwrap();
    let broker = Spawned::start(directory.path(), "");
    let member = settled(&mut Client::connect(broker.address));
    broker.kill();

    let broker = Spawned::start(directory.path(), "");
    let (mut client, mut other) = (Client::connect(broker.address), Client::connect(broker.address));
    assert_eq!(client.create("t", 1, &[]), 0);
    assert_eq!(heartbeat(&mut client, &member, 1), 0);
    assert_eq!(commit(&mut client, &member, 1, 7), 0);
    assert_eq!(sync(&mut client, &member, 1, &[]), (0, "all".into()));
    // Whoever comes now shares with it.
    let joining = thread::spawn(move || join(&mut other, "other").generation_id);
    while heartbeat(&mut client, &member, 1) != 27 {
        thread::yield_now();
    }
    let rejoined = client.call(7, &join_request(&member, "m"));
    assert_eq!((rejoined.generation_id, rejoined.members.len()), (2, 2));
    assert_eq!(joining.join().unwrap(), 2);
}

#[test]
fn who_left_is_not_waited_for_after_a_restart() {
    let mut served = Served::start();
    let mut client = served.client();
    let member = settled(&mut client);
    assert_eq!(leave(&mut client, &member), 0);
    served.restart();
    let mut client = served.client();
    assert_eq!(heartbeat(&mut client, &member, 1), 25);
    assert_eq!(join(&mut client, "m").members.len(), 1);
}

#[test]
fn a_member_that_is_not_heard_of_is_out() {
    let served = Served::start();
    let mut client = served.client();
    let given = client.call(7, &join_request(&text(""), "m"));
    let quick = join_request(&given.member_id, "m").with_session_timeout_ms(50);
    let joined = client.call(7, &quick);
    assert_eq!(sync(&mut client, &joined.member_id, 1, &[]).0, 0);
    let describe = DescribeGroupsRequest::default().with_groups(vec![group()]);
    while client.call(5, &describe).groups[0].group_state != text("Empty") {
        thread::yield_now();
    }
    assert_eq!(heartbeat(&mut client, &joined.member_id, 1), 25);
}

#[test]
fn offsets_are_kept_listed_and_deleted() {
    let mut served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[]);
    assert_eq!(committed(&mut client), (-1, Some(String::new())));
    assert_eq!(commit(&mut client, &text(""), -1, 5), 0);
    let joined = join(&mut client, "m");
    assert_eq!(
        commit(&mut client, &text(""), -1, 6),
        25,
        "a group with members takes theirs alone"
    );
    assert_eq!(
        commit(&mut client, &joined.member_id, 1, 6),
        27,
        "not before the assignment"
    );
    assert_eq!(sync(&mut client, &joined.member_id, 1, &[]).0, 0);
    assert_eq!(commit(&mut client, &joined.member_id, 0, 6), 22);
    assert_eq!(commit(&mut client, &joined.member_id, 1, 7), 0);
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    assert_eq!(client.call(2, &delete).results[0].error_code, 68);
    assert_eq!(leave(&mut client, &joined.member_id), 0);
    served.restart();
    client = served.client();
    assert_eq!(committed(&mut client), (7, Some("note".into())));
    let listed = client.call(4, &ListGroupsRequest::default());
    assert_eq!(
        (listed.groups.len(), &listed.groups[0].group_state),
        (1, &text("Empty"))
    );
    assert_eq!(client.call(2, &delete).results[0].error_code, 0);
    assert_eq!(client.call(2, &delete).results[0].error_code, 69);
    assert_eq!(committed(&mut client).0, -1);
}

#[test]
fn a_deleted_topics_offsets_are_gone() {
    let served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[]);
    assert_eq!(commit(&mut client, &text(""), -1, 5), 0);
    crate::topics::delete(&mut client, "t");
    client.create("t", 1, &[]);
    while committed(&mut client).0 != -1 {
        thread::yield_now();
    }
}

fn join_as(client: &mut Client, instance: &'static str, member: &StrBytes) -> JoinGroupResponse {
    let request = join_request(member, "m").with_group_instance_id(Some(text(instance)));
    client.call(9, &request)
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_double() {
    let served = Served::start();
    let (mut one, mut two) = (served.client(), served.client());
    let first = join_as(&mut one, "a", &text(""));
    assert_eq!((first.error_code, first.generation_id), (0, 1));
    assert_eq!(
        sync(&mut one, &first.member_id, 1, &[(&first.member_id, "part")]),
        (0, "part".into())
    );
    let again = join_as(&mut two, "a", &text(""));
    assert_eq!((again.error_code, again.generation_id), (0, 1), "no rebalance");
    assert_ne!(again.member_id, first.member_id);
    assert!(again.skip_assignment, "the assignment stands (KIP-814)");
    assert_eq!(sync(&mut two, &again.member_id, 1, &[]), (0, "part".into()));
    let old = HeartbeatRequest::default()
        .with_group_id(group())
        .with_generation_id(1)
        .with_member_id(first.member_id.clone())
        .with_group_instance_id(Some(text("a")));
    assert_eq!(one.call(4, &old).error_code, 82, "the older one is fenced");
    assert_eq!(join_as(&mut one, "a", &first.member_id).error_code, 82);
    assert_eq!(heartbeat(&mut two, &again.member_id, 1), 0);

    let describe = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let described = two.call(5, &describe).groups[0].clone();
    assert_eq!(
        (
            described.group_state,
            described.protocol_type,
            described.protocol_data
        ),
        (text("Stable"), text("consumer"), text("range"))
    );
    let member = &described.members[0];
    assert_eq!(member.member_id, again.member_id);
    assert_eq!(member.group_instance_id, Some(text("a")));
    assert_eq!(
        (member.client_id.as_str(), member.client_host.as_str()),
        ("test", "/127.0.0.1")
    );
    assert_eq!(member.member_metadata, Bytes::from("m"));
    assert_eq!(member.member_assignment, Bytes::from("part"));

    let by_name = MemberIdentity::default().with_group_instance_id(Some(text("a")));
    let leave = LeaveGroupRequest::default()
        .with_group_id(group())
        .with_members(vec![by_name]);
    assert_eq!(two.call(4, &leave).members[0].error_code, 0);
    assert_eq!(two.call(5, &describe).groups[0].group_state, text("Empty"));
}

fn delete_offset(client: &mut Client, name: &str, partition: i32) -> (i16, i16) {
    let asked = OffsetDeleteRequestPartition::default().with_partition_index(partition);
    let topics = OffsetDeleteRequestTopic::default()
        .with_name(topic(name))
        .with_partitions(vec![asked]);
    let request = OffsetDeleteRequest::default()
        .with_group_id(group())
        .with_topics(vec![topics]);
    let answer = client.call(0, &request);
    let code = |topics: &[_]| topics.first().map_or(0, partition_code);
    (answer.error_code, code(&answer.topics))
}

fn partition_code(
    topic: &kafka_protocol::messages::offset_delete_response::OffsetDeleteResponseTopic,
) -> i16 {
    topic.partitions[0].error_code
}

/// What a consumer says when it joins: version 0, one topic, no user data.
const READS_T: &str = "\0\0\0\0\0\x01\0\x01t\0\0\0\0";

#[test]
fn single_offsets_are_deleted_unless_a_member_reads_the_topic() {
    let mut served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[]);
    client.create("u", 1, &[]);
    assert_eq!(delete_offset(&mut client, "t", 0), (69, 0));
    assert_eq!(commit(&mut client, &text(""), -1, 5), 0);
    assert_eq!(delete_offset(&mut client, "t", 7), (0, 3));
    let joined = join(&mut client, READS_T);
    assert_eq!(delete_offset(&mut client, "t", 0), (0, 86));
    assert_eq!(delete_offset(&mut client, "u", 0), (0, 0));
    assert_eq!(committed(&mut client).0, 5);
    let leaver = MemberIdentity::default().with_member_id(joined.member_id);
    let leave = LeaveGroupRequest::default()
        .with_group_id(group())
        .with_members(vec![leaver]);
    assert_eq!(client.call(4, &leave).members[0].error_code, 0);
    assert_eq!(delete_offset(&mut client, "t", 0), (0, 0));
    assert_eq!(committed(&mut client).0, -1);
    served.restart();
    assert_eq!(committed(&mut served.client()).0, -1);
}
