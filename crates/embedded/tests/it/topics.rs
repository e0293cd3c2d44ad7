//! Topics: created, described, deleted, created again.

use kafka_protocol::messages::{
    DeleteTopicsRequest, DescribeConfigsRequest, MetadataRequest,
    describe_configs_request::DescribeConfigsResource, metadata_request::MetadataRequestTopic,
    metadata_response::MetadataResponseTopic,
};

use crate::{
    client::{Client, text, topic},
    produce::PLAIN,
    served::Served,
};

pub(crate) fn delete(client: &mut Client, name: &str) {
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic(name)])
        .with_timeout_ms(30_000);
    assert_eq!(client.call(5, &request).responses[0].error_code, 0);
}

fn metadata(client: &mut Client, name: &str) -> MetadataResponseTopic {
    let asked = MetadataRequestTopic::default().with_name(Some(topic(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(true);
    client.call(12, &request).topics[0].clone()
}

fn config(client: &mut Client, kind: i8, resource: &str, name: &str) -> Option<String> {
    let asked = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configuration_keys(Some(vec![text(name)]));
    let response = client.call(4, &DescribeConfigsRequest::default().with_resources(vec![asked]));
    assert_eq!(response.results[0].error_code, 0);
    response.results[0]
        .configs
        .first()?
        .value
        .as_ref()
        .map(ToString::to_string)
}

#[test]
fn a_topic_keeps_its_id_until_it_is_deleted() {
    let mut served = Served::start();
    let mut client = served.client();
    assert_eq!(client.create("t", 2, &[]), 0);
    assert_eq!(client.create("t", 2, &[]), 36);
    let first = metadata(&mut client, "t");
    client.produce("t", 0, PLAIN.of(&["old"]));
    served.restart();
    client = served.client();
    assert_eq!(metadata(&mut client, "t"), first);
    delete(&mut client, "t");
    assert_eq!(metadata(&mut client, "t").error_code, 3);
    assert_eq!(client.produce("t", 0, PLAIN.of(&["nowhere"])).error_code, 3);
    assert_eq!(client.create("t", 1, &[]), 0);
    let second = metadata(&mut client, "t");
    assert_ne!(second.topic_id, first.topic_id);
    assert_eq!(client.read("t", 0, 0), []);
    served.restart();
    client = served.client();
    assert_eq!(metadata(&mut client, "t"), second);
    let kept = std::fs::read_dir(served.directory.path().join("topics"))
        .unwrap()
        .count();
    assert_eq!(kept, 1, "the deleted topic's files are gone");
}

#[test]
fn settings_are_checked_kept_and_shown() {
    let mut served = Served::start();
    let mut client = served.client();
    assert_eq!(client.create("bad", 1, &[("no.such.setting", "1")]), 40);
    assert_eq!(client.create("bad", 0, &[]), 37);
    assert_eq!(client.create("bad/name", 1, &[]), 17);
    assert_eq!(client.create("t", -1, &[("max.message.bytes", "1234")]), 0);
    served.restart();
    client = served.client();
    assert_eq!(
        config(&mut client, 2, "t", "max.message.bytes").as_deref(),
        Some("1234")
    );
    assert_eq!(
        config(&mut client, 2, "t", "cleanup.policy").as_deref(),
        Some("delete")
    );
    assert_eq!(
        config(&mut client, 4, "1", "producer.id.expiration.ms").as_deref(),
        Some("86400000")
    );
}

#[test]
fn topics_are_created_by_asking_only_where_that_is_switched_on() {
    let served = Served::start();
    assert_eq!(metadata(&mut served.client(), "t").error_code, 3);
    let served = Served::with(|config| {
        config.auto_create_topics = true;
        config.default_partitions = 3;
    });
    let mut client = served.client();
    assert_eq!(metadata(&mut client, "t").partitions.len(), 3);
    assert_eq!(metadata(&mut client, "a b").error_code, 17);
}

#[test]
fn partitions_are_limited() {
    let served = Served::with(|config| config.limits.partitions = 3);
    let mut client = served.client();
    assert_eq!([client.create("a", 3, &[]), client.create("b", 1, &[])], [0, 44]);
}
