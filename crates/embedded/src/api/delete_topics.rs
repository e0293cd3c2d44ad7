//! Deletes topics, by name or by id.

use std::sync::Arc;

use kafka_protocol::{
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, TopicName, delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
    },
    protocol::StrBytes,
};

use super::{Call, text};
use crate::{
    node::{Node, stopping},
    storage::{batch::Refusal, topics::Topic, writer::Job},
};

/// Deletes each topic that exists.
pub(super) async fn answer(node: &Node, call: &Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = request
        .topic_names
        .into_iter()
        .map(|name| DeleteTopicState::default().with_name(Some(name)));
    let mut responses = Vec::new();
    for asked in request.topics.into_iter().chain(by_name) {
        responses.push(one(node, call, asked).await);
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

async fn one(node: &Node, call: &Call, asked: DeleteTopicState) -> DeletableTopicResult {
    let name = asked.name.as_ref().map_or("", |name| name.as_str());
    let found = node.topic(asked.topic_id, name);
    let result = DeletableTopicResult::default()
        .with_topic_id(asked.topic_id)
        .with_name(asked.name.clone());
    let deleted = match found {
        Ok(topic) => {
            let named = TopicName(StrBytes::from_string(topic.name.clone()));
            let result = result.clone().with_topic_id(topic.id).with_name(Some(named));
            delete(node, call, topic).await.map(|()| result)
        }
        Err(error) => Err(Refusal::new(error, "there is no such topic")),
    };
    deleted.unwrap_or_else(|refusal| {
        result
            .with_error_code(refusal.error.code())
            .with_error_message(text(refusal.reason))
    })
}

async fn delete(node: &Node, call: &Call, topic: Arc<Topic>) -> Result<(), Refusal> {
    if let Some(error) = call.refuses(&topic.name, None) {
        return Err(Refusal::new(error, "a fault refuses the topic"));
    }
    let deleted = node.ask(|answer| Job::DeleteTopic { topic, answer }).await;
    deleted.unwrap_or_else(|| Err(stopping()))
}
