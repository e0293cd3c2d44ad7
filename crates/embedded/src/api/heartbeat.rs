//! Says that a member is alive, and hears whether it must join again.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::{groups::machine::Speaker, node::Node};

pub(super) fn answer(node: &Node, request: &HeartbeatRequest) -> HeartbeatResponse {
    let speaker = Speaker {
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let code = node
        .groups
        .heartbeat(&request.group_id, speaker)
        .err()
        .map_or(0, |error| error.code());
    HeartbeatResponse::default().with_error_code(code)
}
