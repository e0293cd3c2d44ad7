//! Gives a producer its id. Without a transactional id it is always a new one, at epoch 0 (KIP-98, KIP-360).

use kafka_protocol::{
    ResponseError,
    messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};

use crate::{node::Node, storage::writer::Job};

pub(super) async fn answer(node: &Node, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |error: ResponseError| {
        let response = InitProducerIdResponse::default().with_error_code(error.code());
        response.with_producer_id(ProducerId(-1)).with_producer_epoch(-1)
    };
    if request.transactional_id.as_ref().is_some_and(|id| id.is_empty()) {
        return refused(ResponseError::InvalidRequest);
    }
    if request.transactional_id.is_some() {
        // Every client takes this as final, where others make it try for ever.
        return refused(ResponseError::TransactionalIdAuthorizationFailed);
    }
    match node.ask(|answer| Job::ProducerId { answer }).await {
        Some(Ok(id)) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(0),
        Some(Err(error)) => {
            tracing::error!(%error, "no producer id could be set aside");
            refused(ResponseError::KafkaStorageError)
        }
        None => refused(ResponseError::CoordinatorNotAvailable),
    }
}
