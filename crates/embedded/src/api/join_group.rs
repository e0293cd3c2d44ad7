//! Joins a group and waits for the end of its rebalance.

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember},
    protocol::StrBytes,
};
use tokio_util::sync::CancellationToken;

use super::{Call, text};
use crate::{
    groups::machine::{Denied, Join, Joined},
    node::Node,
};

/// How long a session may be, in milliseconds, as Kafka has it by default.
const SESSION_MS_MAX: i32 = 1_800_000;
/// Bytes of metadata that a member may bring.
const METADATA_BYTES_MAX: usize = 1024 * 1024;

pub(super) async fn answer(
    node: &Node,
    call: &Call,
    request: JoinGroupRequest,
    closed: &CancellationToken,
) -> JoinGroupResponse {
    let member = request.member_id.to_string();
    let joined = match check(&request) {
        Ok(()) => {
            let group = request.group_id.to_string();
            node.groups.join(&group, join(node, call, request), closed).await
        }
        Err(error) => Some(Err(Denied {
            error,
            member: member.clone(),
        })),
    };
    let given_up = Denied {
        error: ResponseError::NotCoordinator,
        member,
    };
    match joined.unwrap_or(Err(given_up)) {
        Ok(joined) => on_wire(call, joined),
        Err(denied) => JoinGroupResponse::default()
            .with_error_code(denied.error.code())
            .with_generation_id(-1)
            .with_protocol_name(name(call, String::new()))
            .with_member_id(StrBytes::from_string(denied.member)),
    }
}

fn check(request: &JoinGroupRequest) -> Result<(), ResponseError> {
    if request.group_id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    if !(1..=SESSION_MS_MAX).contains(&request.session_timeout_ms) {
        return Err(ResponseError::InvalidSessionTimeout);
    }
    let bytes: usize = request
        .protocols
        .iter()
        .map(|protocol| protocol.metadata.len())
        .sum();
    if bytes > METADATA_BYTES_MAX {
        Err(ResponseError::InvalidRequest)
    } else {
        Ok(())
    }
}

fn join(node: &Node, call: &Call, request: JoinGroupRequest) -> Join {
    let session = u64::try_from(request.session_timeout_ms).unwrap_or(0);
    // Version 0 has no rebalance timeout: the session's stands for it.
    let rebalance = u64::try_from(request.rebalance_timeout_ms).unwrap_or(session);
    // What is kept is copied, so that it does not hold the request's memory.
    let protocols = request.protocols.iter();
    let protocols = protocols.map(|one| (one.name.to_string(), Bytes::copy_from_slice(&one.metadata)));
    Join {
        ticket: 0,
        member: request.member_id.to_string(),
        fresh: String::new(),
        instance: request.group_instance_id.map(|instance| instance.to_string()),
        client: call.client.to_string(),
        host: format!("/{}", node.address.ip()),
        session,
        rebalance,
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.collect(),
        must_return: call.version >= 4,
        may_skip: call.version >= 9,
    }
}

/// Before version 7 an absent name is an empty one.
fn name(call: &Call, name: String) -> Option<StrBytes> {
    if name.is_empty() && call.version >= 7 {
        None
    } else {
        text(name)
    }
}

fn on_wire(call: &Call, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(StrBytes::from_string(id))
            .with_group_instance_id(instance.map(StrBytes::from_string).filter(|_| call.version >= 5))
            .with_metadata(metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(text(joined.protocol_type))
        .with_protocol_name(name(call, joined.protocol))
        .with_leader(StrBytes::from_string(joined.leader))
        .with_member_id(StrBytes::from_string(joined.member))
        .with_members(members.collect())
        .with_skip_assignment(joined.skip_assignment)
}
