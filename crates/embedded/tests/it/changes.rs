//! Topics that change: more partitions, other settings. And what is refused for good.

use kafka_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, DescribeConfigsRequest, FindCoordinatorRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, MetadataRequest, TransactionalId,
    alter_configs_request, create_partitions_request::CreatePartitionsTopic,
    describe_configs_request::DescribeConfigsResource, incremental_alter_configs_request,
};

use crate::{
    client::{Client, text, topic},
    produce::PLAIN,
    served::Served,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const UNKNOWN_TOPIC: i16 = 3;

fn grow(client: &mut Client, name: &str, count: i32, dry: bool) -> i16 {
    let asked = CreatePartitionsTopic::default()
        .with_name(topic(name))
        .with_count(count)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![asked])
        .with_validate_only(dry);
    client.call(3, &request).results[0].error_code
}

fn edit(client: &mut Client, kind: i8, name: &str, edits: &[(&str, i8, Option<&str>)]) -> (i16, String) {
    let configs = edits.iter().map(|(name, operation, value)| {
        incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = client.call(1, &request).responses[0].clone();
    let message = answer.error_message.as_ref().map(ToString::to_string);
    (answer.error_code, message.unwrap_or_default())
}

fn replace(client: &mut Client, name: &str, settings: &[(&str, &str)]) -> i16 {
    let configs = settings.iter().map(|(name, value)| {
        alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    });
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    client.call(2, &request).responses[0].error_code
}

/// Values of settings, and whether they are the topic's own.
fn settings(client: &mut Client, name: &str, names: &[&str]) -> Vec<(String, bool)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(name))
        .with_configuration_keys(Some(names.iter().map(|name| text(name)).collect()));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let configs = client.call(4, &request).results[0].configs.clone();
    let find = |name: &&str| {
        let found = configs
            .iter()
            .find(|config| config.name.as_str() == *name)
            .unwrap();
        (
            found.value.as_ref().unwrap().to_string(),
            found.config_source == 1,
        )
    };
    names.iter().map(find).collect()
}

fn partitions(client: &mut Client) -> usize {
    let metadata = client.call(12, &MetadataRequest::default().with_topics(None));
    metadata.topics[0].partitions.len()
}

#[test]
fn partitions_are_added_and_stay() {
    let mut served = Served::start();
    let mut client = served.client();
    client.create("t", 2, &[("retention.ms", "77")]);
    client.produce("t", 1, PLAIN.of(&["old"]));
    assert_eq!(grow(&mut client, "t", 5, true), 0);
    assert_eq!(partitions(&mut client), 2, "only asked whether it could be");
    assert_eq!(grow(&mut client, "t", 5, false), 0);
    assert_eq!(partitions(&mut client), 5);
    assert_eq!(client.produce("t", 4, PLAIN.of(&["new"])).error_code, 0);
    assert_eq!(grow(&mut client, "t", 5, false), INVALID_PARTITIONS);
    assert_eq!(grow(&mut client, "t", 4, false), INVALID_PARTITIONS);
    assert_eq!(grow(&mut client, "u", 4, false), UNKNOWN_TOPIC);
    assert_eq!(grow(&mut client, "t", 20_000, false), 44, "the broker's limit");
    served.restart();
    let mut client = served.client();
    assert_eq!(partitions(&mut client), 5);
    assert_eq!(client.read("t", 1, 0), [(0, "old".into())]);
    assert_eq!(client.read("t", 4, 0), [(0, "new".into())]);
    assert_eq!(
        settings(&mut client, "t", &["retention.ms"]),
        [("77".into(), true)]
    );
}

#[test]
fn a_topic_that_grew_is_deleted_whole() {
    let mut served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[]);
    assert_eq!(grow(&mut client, "t", 3, false), 0);
    client.produce("t", 2, PLAIN.of(&["a"]));
    crate::topics::delete(&mut client, "t");
    client.create("t", 3, &[]);
    assert_eq!(client.read("t", 2, 0), []);
    served.restart();
    assert_eq!(served.client().read("t", 2, 0), []);
}

#[test]
fn settings_are_edited_obeyed_and_stay() {
    let mut served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[("segment.ms", "9")]);
    let long = "x".repeat(500);
    assert_eq!(client.produce("t", 0, PLAIN.of(&[&long])).error_code, 0);
    let edits = [
        ("max.message.bytes", 0, Some("300")),
        ("segment.ms", 1, None),
        ("cleanup.policy", 2, Some("compact")),
    ];
    assert_eq!(edit(&mut client, TOPIC, "t", &edits).0, 0);
    assert_eq!(
        client.produce("t", 0, PLAIN.of(&[&long])).error_code,
        10,
        "obeyed"
    );
    let names = ["max.message.bytes", "segment.ms", "cleanup.policy"];
    let expected = [
        ("300".into(), true),
        ("604800000".into(), false),
        ("delete,compact".into(), true),
    ];
    assert_eq!(settings(&mut client, "t", &names), expected);
    served.restart();
    assert_eq!(settings(&mut served.client(), "t", &names), expected);
}

#[test]
fn settings_are_replaced_as_a_whole() {
    let served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[("segment.ms", "9"), ("retention.ms", "9")]);
    assert_eq!(replace(&mut client, "t", &[("retention.ms", "8")]), 0);
    let names = ["segment.ms", "retention.ms"];
    let expected = [("604800000".into(), false), ("8".into(), true)];
    assert_eq!(settings(&mut client, "t", &names), expected);
    assert_eq!(
        replace(&mut client, "t", &[("retention.ms", "soon")]),
        INVALID_CONFIG
    );
    assert_eq!(settings(&mut client, "t", &names), expected);
}

#[test]
fn what_cannot_be_changed_says_why() {
    let served = Served::start();
    let mut client = served.client();
    client.create("t", 1, &[]);
    let unknown = [("no.such", 0, Some("1"))];
    let (code, reason) = edit(&mut client, TOPIC, "t", &unknown);
    assert_eq!(
        (code, reason.as_str()),
        (INVALID_CONFIG, "the embedded broker has no topic setting no.such")
    );
    let any = [("retention.ms", 0, Some("1"))];
    assert_eq!(edit(&mut client, TOPIC, "u", &any).0, UNKNOWN_TOPIC);
    let (code, reason) = edit(&mut client, BROKER, "1", &any);
    assert_eq!(code, INVALID_REQUEST);
    assert!(reason.contains("given when it starts"), "{reason}");
}

#[test]
fn transactions_are_refused_for_good() {
    let served = Served::start();
    let mut client = served.client();
    let coordinator = FindCoordinatorRequest::default()
        .with_key_type(1)
        .with_coordinator_keys(vec![text("tx")]);
    let found = client.call(4, &coordinator).coordinators[0].clone();
    let reason = found.error_message.unwrap().to_string();
    assert_eq!(
        (found.error_code, reason.as_str()),
        (53, "transactions are not supported by the embedded broker")
    );
    let id = TransactionalId(text("tx"));
    let init = InitProducerIdRequest::default().with_transactional_id(Some(id));
    assert_eq!(client.call(4, &init).error_code, 53);
}
