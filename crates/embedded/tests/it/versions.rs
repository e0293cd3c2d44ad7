//! Every request in every version that is advertised gets an answer that can be read.

use kafka_protocol::{messages::*, protocol::Request};

use crate::{
    client::{Client, fetch, produce, text, topic},
    produce::PLAIN,
    served::Served,
};

struct Try {
    client: Client,
    advertised: Vec<api_versions_response::ApiVersion>,
    tried: usize,
}

impl Try {
    fn each<R: Request>(&mut self, request: impl Fn(i16) -> R) {
        let range = self
            .advertised
            .iter()
            .find(|range| range.api_key == R::KEY)
            .unwrap()
            .clone();
        let least = if R::KEY == ApiKey::Produce as i16 {
            3
        } else {
            range.min_version
        };
        for version in least..=range.max_version {
            let answer = self.client.try_call(version, &request(version));
            assert!(
                answer.is_ok(),
                "{:?} version {version}: {:?}",
                ApiKey::try_from(R::KEY),
                answer.err()
            );
        }
        self.tried += 1;
    }
}

#[test]
fn every_version_is_answered() {
    let served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[]);
    client.produce("t", 0, PLAIN.of(&["a"]));
    let metadata = client.call(12, &MetadataRequest::default().with_topics(None));
    let id = metadata.topics[0].topic_id;
    let advertised = client.call(3, &ApiVersionsRequest::default()).api_keys;
    let mut all = Try {
        client,
        advertised,
        tried: 0,
    };
    all.each(|_| ApiVersionsRequest::default());
    all.each(|version| {
        let mut request = produce("t", &[(0, PLAIN.of(&["b"])), (5, PLAIN.of(&["c"]))]);
        if version >= 13 {
            request.topic_data[0].name = TopicName::default();
            request.topic_data[0].topic_id = id;
        }
        request
    });
    all.each(|version| {
        let mut request = fetch("t", 0, 0);
        if version >= 13 {
            request.topics[0].topic = TopicName::default();
            request.topics[0].topic_id = id;
        }
        request
    });
    all.each(|_| MetadataRequest::default().with_topics(Some(Vec::new())));
    all.each(|_| {
        let asked = list_offsets_request::ListOffsetsPartition::default().with_timestamp(0);
        let topics = list_offsets_request::ListOffsetsTopic::default().with_name(topic("t"));
        ListOffsetsRequest::default().with_topics(vec![topics.with_partitions(vec![asked])])
    });
    all.each(|version| {
        let asked = create_topics_request::CreatableTopic::default().with_name(topic(&format!("v{version}")));
        let asked = asked.with_num_partitions(1).with_replication_factor(1);
        CreateTopicsRequest::default().with_topics(vec![asked])
    });
    all.each(|version| {
        let name = topic(&format!("v{}", version + 1));
        if version >= 6 {
            let state = delete_topics_request::DeleteTopicState::default().with_name(Some(name));
            return DeleteTopicsRequest::default().with_topics(vec![state]);
        }
        DeleteTopicsRequest::default().with_topic_names(vec![name])
    });
    all.each(|_| {
        let partition = delete_records_request::DeleteRecordsPartition::default();
        let topics = delete_records_request::DeleteRecordsTopic::default().with_name(topic("t"));
        DeleteRecordsRequest::default().with_topics(vec![topics.with_partitions(vec![partition])])
    });
    all.each(|_| InitProducerIdRequest::default());
    all.each(|_| {
        let asked = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
        let topics = offset_for_leader_epoch_request::OffsetForLeaderTopic::default().with_topic(topic("t"));
        OffsetForLeaderEpochRequest::default().with_topics(vec![topics.with_partitions(vec![asked])])
    });
    admin_requests(&mut all);
    group_requests(&mut all);
    assert_eq!(
        all.tried,
        all.advertised.len(),
        "a request is advertised and not tried"
    );
}

fn admin_requests(all: &mut Try) {
    all.each(|_| DescribeLogDirsRequest::default().with_topics(None));
    all.each(|_| {
        let asked = describe_configs_request::DescribeConfigsResource::default().with_resource_type(2);
        DescribeConfigsRequest::default().with_resources(vec![asked.with_resource_name(text("t"))])
    });
    all.each(|_| DescribeClusterRequest::default());
    all.each(|_| {
        let asked = alter_configs_request::AlterConfigsResource::default().with_resource_type(2);
        AlterConfigsRequest::default().with_resources(vec![asked.with_resource_name(text("t"))])
    });
    all.each(|_| {
        let asked = incremental_alter_configs_request::AlterConfigsResource::default().with_resource_type(2);
        IncrementalAlterConfigsRequest::default().with_resources(vec![asked.with_resource_name(text("t"))])
    });
    all.each(|version| {
        let asked = create_partitions_request::CreatePartitionsTopic::default().with_name(topic("t"));
        let asked = asked.with_count(i32::from(version) + 2).with_assignments(None);
        CreatePartitionsRequest::default().with_topics(vec![asked])
    });
}

fn group_requests(all: &mut Try) {
    let group = || GroupId(text("g"));
    all.each(|version| {
        let request = FindCoordinatorRequest::default();
        if version >= 4 {
            request.with_coordinator_keys(vec![text("g")])
        } else {
            request.with_key(text("g"))
        }
    });
    all.each(|version| {
        let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
        JoinGroupRequest::default()
            .with_group_id(GroupId(text(&format!("join-{version}"))))
            .with_session_timeout_ms(6_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    });
    all.each(|_| SyncGroupRequest::default().with_group_id(GroupId(text("join-0"))));
    all.each(|_| HeartbeatRequest::default().with_group_id(group()));
    all.each(|version| {
        let member = leave_group_request::MemberIdentity::default().with_member_id(text("m"));
        let members = if version >= 3 { vec![member] } else { Vec::new() };
        LeaveGroupRequest::default()
            .with_group_id(group())
            .with_members(members)
    });
    all.each(|_| {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default();
        let topics = offset_commit_request::OffsetCommitRequestTopic::default().with_name(topic("t"));
        OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topics.with_partitions(vec![partition])])
    });
    all.each(|version| {
        let request = OffsetFetchRequest::default();
        if version >= 8 {
            let asked = offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group());
            return request.with_groups(vec![asked.with_topics(None)]);
        }
        let topics = offset_fetch_request::OffsetFetchRequestTopic::default().with_name(topic("t"));
        request
            .with_group_id(group())
            .with_topics(Some(vec![topics.with_partition_indexes(vec![0, 1])]))
    });
    all.each(|_| ListGroupsRequest::default());
    all.each(|_| OffsetDeleteRequest::default().with_group_id(group()));
    all.each(|_| DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(text("join-0"))]));
    all.each(|_| DeleteGroupsRequest::default().with_groups_names(vec![group()]));
}

#[test]
fn a_version_of_tomorrow_is_told_ours() {
    let served = Served::start();
    let mut client = served.client();
    client
        .send_frame(&[0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff])
        .unwrap();
    let answer = client.receive_frame().unwrap();
    assert_eq!(answer[..6], [0, 0, 0, 5, 0, 35]);
    let mut body = bytes::Bytes::copy_from_slice(&answer[4..]);
    let response =
        <ApiVersionsResponse as kafka_protocol::protocol::Decodable>::decode(&mut body, 0).unwrap();
    assert!(response.api_keys.len() > 20);
    assert_eq!(
        client.call(3, &ApiVersionsRequest::default()).error_code,
        0,
        "the connection goes on"
    );
}

/// As librdkafka 2 asks for all topics: three bytes follow the end, which Apache Kafka does not look at.
#[test]
fn bytes_behind_a_request_are_not_looked_at() {
    let served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[]);
    let mut request = vec![0, 3, 0, 13, 0, 0, 0, 3, 0xff, 0xff, 0];
    request.extend([0, 0, 0, 0, 1, 0, 0]);
    client.send_frame(&request).unwrap();
    let answer = client.receive_frame().unwrap();
    let mut body = bytes::Bytes::copy_from_slice(&answer[5..]);
    let response = <MetadataResponse as kafka_protocol::protocol::Decodable>::decode(&mut body, 13).unwrap();
    assert_eq!(response.topics.len(), 1);
}

#[test]
fn what_is_not_advertised_closes_the_connection() {
    let served = Served::start();
    let mut client = served.client();
    assert!(client.try_call(0, &AddOffsetsToTxnRequest::default()).is_err());
    assert!(
        served
            .client()
            .try_call(3, &ApiVersionsRequest::default())
            .is_ok()
    );
}
