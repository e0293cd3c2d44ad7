//! Changes the settings of topics: all of one topic's at once, or one by one (KIP-339).

use kafka_protocol::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_response,
    },
};

use super::{describe_configs::TOPIC, text};
use crate::{
    node::Node,
    storage::{
        batch::Refusal,
        topic_change::{Change, Edit},
    },
};

/// Gives each topic the settings that are listed, and takes all others from it.
pub(super) async fn replace(node: &Node, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let settings = resource.configs.into_iter().map(|config| {
            let value = config.value.map(|value| value.to_string());
            (config.name.to_string(), value.unwrap_or_default())
        });
        let change = Change::Replace(settings.collect());
        let asked = (resource.resource_type, resource.resource_name.as_str());
        let (code, message) = parts(one(node, asked, change, request.validate_only).await);
        responses.push(
            alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(message.and_then(text))
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    AlterConfigsResponse::default().with_responses(responses)
}

/// Changes the settings that are listed and no others; all of a topic's, or none.
pub(super) async fn edit(
    node: &Node,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let edits = resource.configs.into_iter().map(|config| Edit {
            name: config.name.to_string(),
            operation: config.config_operation,
            value: config.value.map(|value| value.to_string()),
        });
        let change = Change::Edit(edits.collect());
        let asked = (resource.resource_type, resource.resource_name.as_str());
        let (code, message) = parts(one(node, asked, change, request.validate_only).await);
        responses.push(
            incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(message.and_then(text))
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn parts(changed: Result<(), Refusal>) -> (i16, Option<String>) {
    match changed {
        Ok(()) => (0, None),
        Err(refusal) => (refusal.error.code(), Some(refusal.reason)),
    }
}

async fn one(node: &Node, (kind, name): (i8, &str), change: Change, dry: bool) -> Result<(), Refusal> {
    if kind != TOPIC {
        let reason = "only topics' settings can be changed; the broker's are given when it starts";
        return Err(Refusal::new(ResponseError::InvalidRequest, reason));
    }
    node.change_topic(name, change, dry).await.map(drop)
}
