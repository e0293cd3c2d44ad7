//! The settings of topics, and those of the broker that clients ask for.

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
    },
    protocol::StrBytes,
};

use super::text;
use crate::{
    Config,
    node::{NODE, Node},
    storage::{
        batch::Refusal,
        topic_config::{Given, SETTINGS, Setting, Type},
    },
};

pub(super) const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const FROM_TOPIC: i8 = 1;
const FROM_BROKER_FILE: i8 = 4;
const FROM_DEFAULT: i8 = 5;

/// Answers each resource with the settings asked for, all when none is named.
pub(super) fn answer(node: &Node, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let explain = request.include_documentation;
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match settings(node, resource) {
            Ok(all) => result.with_configs(
                all.into_iter()
                    .filter(asked(resource))
                    .map(on_wire(explain))
                    .collect(),
            ),
            Err(refusal) => result
                .with_error_code(refusal.error.code())
                .with_error_message(text(refusal.reason)),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// One setting with its value.
struct Shown {
    name: &'static str,
    kind: Type,
    meaning: &'static str,
    value: String,
    source: i8,
    read_only: bool,
}

fn asked(resource: &DescribeConfigsResource) -> impl Fn(&Shown) -> bool + '_ {
    let names = resource.configuration_keys.as_deref().unwrap_or_default();
    move |shown| names.is_empty() || names.iter().any(|name| name.as_str() == shown.name)
}

fn on_wire(explain: bool) -> impl Fn(Shown) -> DescribeConfigsResourceResult {
    move |shown| {
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(shown.name))
            .with_value(text(shown.value))
            .with_read_only(shown.read_only)
            .with_config_source(shown.source)
            .with_config_type(shown.kind.code())
            .with_documentation(explain.then(|| StrBytes::from_static_str(shown.meaning)))
    }
}

fn settings(node: &Node, resource: &DescribeConfigsResource) -> Result<Vec<Shown>, Refusal> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => match node.topics.named(name) {
            Some(topic) => Ok(of_topic(&topic.given)),
            None => Err(Refusal::new(
                ResponseError::UnknownTopicOrPartition,
                format!("there is no topic {name}"),
            )),
        },
        BROKER if name.is_empty() || name == NODE.0.to_string() => Ok(of_broker(node)),
        BROKER => Err(Refusal::new(
            ResponseError::InvalidRequest,
            format!("there is no broker {name}, only 1"),
        )),
        other => Err(Refusal::new(
            ResponseError::InvalidRequest,
            format!("resource type {other} has no settings here"),
        )),
    }
}

fn of_topic(given: &Given) -> Vec<Shown> {
    let all = SETTINGS.iter().map(|setting| {
        let (value, source) = value_and_source(setting, given);
        let Setting {
            name, kind, meaning, ..
        } = *setting;
        Shown {
            name,
            kind,
            meaning,
            value,
            source,
            read_only: false,
        }
    });
    all.collect()
}

/// A topic setting's value, and where it comes from.
pub(super) fn value_and_source(setting: &Setting, given: &Given) -> (String, i8) {
    match given.get(setting.name) {
        Some(value) => (value.clone(), FROM_TOPIC),
        None => (setting.default.to_owned(), FROM_DEFAULT),
    }
}

/// A setting of the broker: name, type, meaning, value.
type OfBroker = (&'static str, Type, &'static str, fn(&Config) -> String);

const OF_BROKER: &[OfBroker] = &[
    ("broker.id", Type::Int, "The one node.", |_| NODE.0.to_string()),
    ("num.partitions", Type::Int, "Partitions by default.", |config| {
        config.default_partitions.to_string()
    }),
    (
        "default.replication.factor",
        Type::Int,
        "There is one node.",
        |_| "1".into(),
    ),
    (
        "auto.create.topics.enable",
        Type::Boolean,
        "Whether asking for a topic creates it.",
        |config| config.auto_create_topics.to_string(),
    ),
    (
        "producer.id.expiration.ms",
        Type::Int,
        "How long a producer is remembered.",
        |config| config.producer_id_expiration.as_millis().to_string(),
    ),
    (
        "socket.request.max.bytes",
        Type::Int,
        "The largest request.",
        |config| config.limits.request_bytes.to_string(),
    ),
    (
        "fetch.max.bytes",
        Type::Int,
        "The largest fetch answer.",
        |config| config.limits.fetch_bytes.to_string(),
    ),
    ("max.connections", Type::Int, "Connections at a time.", |config| {
        config.limits.connections.to_string()
    }),
    (
        "log.cleaner.backoff.ms",
        Type::Long,
        "How often there is a look for what to clean.",
        |config| config.cleanup_interval.as_millis().to_string(),
    ),
    ("log.segment.bytes", Type::Int, "Bytes of a segment.", |config| {
        config.segment_bytes.to_string()
    }),
    (
        "group.initial.rebalance.delay.ms",
        Type::Int,
        "How long a new group waits for members.",
        |config| config.group_initial_rebalance_delay.as_millis().to_string(),
    ),
];

/// Settings of the broker that are a topic setting's default.
const TOPIC_DEFAULTS: &[(&str, &str)] = &[
    ("message.max.bytes", "max.message.bytes"),
    ("log.cleanup.policy", "cleanup.policy"),
    ("log.retention.ms", "retention.ms"),
    ("min.insync.replicas", "min.insync.replicas"),
];

fn of_broker(node: &Node) -> Vec<Shown> {
    let shown = |name, kind, meaning, value| Shown {
        name,
        kind,
        meaning,
        value,
        source: FROM_BROKER_FILE,
        read_only: true,
    };
    let own = OF_BROKER
        .iter()
        .map(|(name, kind, meaning, value)| shown(name, *kind, meaning, value(&node.config)));
    let defaults = TOPIC_DEFAULTS.iter().filter_map(|(name, of)| {
        let setting = SETTINGS.iter().find(|setting| setting.name == *of)?;
        Some(shown(
            name,
            setting.kind,
            setting.meaning,
            setting.default.to_owned(),
        ))
    });
    own.chain(defaults).collect()
}
