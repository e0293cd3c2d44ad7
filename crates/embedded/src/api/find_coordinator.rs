//! Who coordinates a group: the one node.

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator,
    },
    protocol::StrBytes,
};

use super::{Call, text};
use crate::node::{NODE, Node};

const GROUP: i8 = 0;
const NO_TRANSACTIONS: &str = "transactions are not supported by the embedded broker";

/// Before version 4 one key is asked for, then a list.
pub(super) fn answer(node: &Node, call: &Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let is_group = request.key_type == GROUP;
    if call.version >= 4 {
        let all = request
            .coordinator_keys
            .into_iter()
            .map(|key| one(node, key, is_group));
        return FindCoordinatorResponse::default().with_coordinators(all.collect());
    }
    let Coordinator {
        node_id,
        host,
        port,
        error_code,
        error_message,
        ..
    } = one(node, request.key, is_group);
    FindCoordinatorResponse::default()
        .with_error_code(error_code)
        .with_error_message(error_message)
        .with_node_id(node_id)
        .with_host(host)
        .with_port(port)
}

fn one(node: &Node, key: StrBytes, is_group: bool) -> Coordinator {
    let coordinator = Coordinator::default().with_key(key);
    if is_group {
        return coordinator
            .with_node_id(NODE)
            .with_host(node.host())
            .with_port(node.port());
    }
    // Every client takes this as final, where others make it try for ever.
    coordinator
        .with_node_id(BrokerId(-1))
        .with_port(-1)
        .with_error_code(ResponseError::TransactionalIdAuthorizationFailed.code())
        .with_error_message(text(NO_TRANSACTIONS))
}
