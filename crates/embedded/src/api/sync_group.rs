//! Brings the leader's assignment, and waits for one's own part of it.

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{SyncGroupRequest, SyncGroupResponse},
};
use tokio_util::sync::CancellationToken;

use super::text;
use crate::{
    groups::machine::{Speaker, Sync},
    node::Node,
};

/// Bytes of one assignment of a whole group.
const ASSIGNMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) async fn answer(
    node: &Node,
    request: SyncGroupRequest,
    closed: &CancellationToken,
) -> SyncGroupResponse {
    let bytes: usize = request
        .assignments
        .iter()
        .map(|assigned| assigned.assignment.len())
        .sum();
    let synced = if bytes > ASSIGNMENT_BYTES_MAX {
        Some(Err(ResponseError::InvalidRequest))
    } else {
        let assignments = request.assignments.iter();
        // What is kept is copied, so that it does not hold the request's memory.
        let assignments =
            assignments.map(|one| (one.member_id.to_string(), Bytes::copy_from_slice(&one.assignment)));
        let sync = Sync {
            ticket: 0,
            speaker: Speaker {
                member: &request.member_id,
                instance: request.group_instance_id.as_deref(),
                generation: request.generation_id,
            },
            protocol_type: request.protocol_type.as_deref(),
            protocol: request.protocol_name.as_deref(),
            assignments: assignments.collect(),
        };
        node.groups.sync(&request.group_id, sync, closed).await
    };
    match synced.unwrap_or(Err(ResponseError::NotCoordinator)) {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(text(synced.protocol_type))
            .with_protocol_name(text(synced.protocol))
            .with_assignment(synced.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}
