//! Creates topics.

use kafka_protocol::{
    ResponseError,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Call, describe_configs, text};
use crate::{
    node::Node,
    storage::{
        batch::Refusal,
        topic_config::{self, Given},
        topics::check_name,
    },
};

/// Creates each topic that can be; the others are refused with the reason.
pub(super) async fn answer(node: &Node, call: &Call, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    for topic in request.topics {
        let repeated = names.iter().filter(|name| **name == topic.name).count() > 1;
        let broken = call.refuses(&topic.name, None);
        let created = match broken {
            Some(error) => Err(Refusal::new(error, "a fault refuses the topic")),
            None => create(node, &topic, request.validate_only, repeated).await,
        };
        results.push(on_wire(&topic, created));
    }
    CreateTopicsResponse::default().with_topics(results)
}

fn on_wire(asked: &CreatableTopic, created: Result<Created, Refusal>) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(asked.name.clone());
    match created {
        Ok(Created {
            id,
            partitions,
            given,
        }) => result
            .with_topic_id(id)
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(Some(configs(&given))),
        Err(refusal) => result
            .with_error_code(refusal.error.code())
            .with_error_message(text(refusal.reason))
            .with_num_partitions(-1)
            .with_replication_factor(-1),
    }
}

struct Created {
    id: Uuid,
    partitions: i32,
    given: Given,
}

async fn create(node: &Node, asked: &CreatableTopic, dry: bool, repeated: bool) -> Result<Created, Refusal> {
    if repeated {
        return Err(Refusal::new(
            ResponseError::InvalidRequest,
            "the request names the topic twice",
        ));
    }
    check_name(&asked.name).map_err(|reason| Refusal::new(ResponseError::InvalidTopicException, reason))?;
    if node.topics.named(&asked.name).is_some() {
        let reason = format!("topic {} exists", asked.name.as_str());
        return Err(Refusal::new(ResponseError::TopicAlreadyExists, reason));
    }
    let partitions = partitions(node, asked)?;
    let given = given(asked)?;
    if dry {
        return Ok(Created {
            id: Uuid::nil(),
            partitions,
            given,
        });
    }
    let topic = node.create_topic(&asked.name, partitions, given.clone()).await?;
    Ok(Created {
        id: topic.id,
        partitions,
        given,
    })
}

fn partitions(node: &Node, asked: &CreatableTopic) -> Result<i32, Refusal> {
    if !asked.assignments.is_empty() {
        let mut numbers: Vec<i32> = asked
            .assignments
            .iter()
            .map(|assigned| assigned.partition_index)
            .collect();
        numbers.sort_unstable();
        let complete = (0..).zip(&numbers).all(|(expected, number)| expected == *number);
        let ours = |assigned: &[_]| assigned == [crate::node::NODE];
        if !complete
            || !asked
                .assignments
                .iter()
                .all(|assigned| ours(&assigned.broker_ids))
        {
            let reason = "partitions count from 0 and each is assigned to broker 1 alone";
            return Err(Refusal::new(ResponseError::InvalidReplicaAssignment, reason));
        }
        return Ok(i32::try_from(numbers.len()).unwrap_or(i32::MAX));
    }
    if !matches!(asked.replication_factor, -1 | 1) {
        let reason = format!(
            "replication factor {}: there is one broker",
            asked.replication_factor
        );
        return Err(Refusal::new(ResponseError::InvalidReplicationFactor, reason));
    }
    match asked.num_partitions {
        -1 => Ok(node.config.default_partitions),
        count if count > 0 => Ok(count),
        count => Err(Refusal::new(
            ResponseError::InvalidPartitions,
            format!("{count} partitions cannot be"),
        )),
    }
}

fn given(asked: &CreatableTopic) -> Result<Given, Refusal> {
    let mut given = Given::new();
    for config in &asked.configs {
        let Some(value) = &config.value else {
            let reason = format!("topic setting {} has no value", config.name.as_str());
            return Err(Refusal::new(ResponseError::InvalidConfig, reason));
        };
        topic_config::check(&config.name, value)
            .map_err(|reason| Refusal::new(ResponseError::InvalidConfig, reason))?;
        given.insert(config.name.to_string(), value.to_string());
    }
    Ok(given)
}

fn configs(given: &Given) -> Vec<CreatableTopicConfigs> {
    let all = topic_config::SETTINGS.iter().map(|setting| {
        let (value, source) = describe_configs::value_and_source(setting, given);
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(setting.name))
            .with_value(text(value))
            .with_config_source(source)
    });
    all.collect()
}
