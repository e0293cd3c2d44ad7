//! Takes members out of a group.

use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse, leave_group_response::MemberResponse};

use super::Call;
use crate::node::Node;

/// Before version 3 one member leaves, then a list.
pub(super) fn answer(node: &Node, call: &Call, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let code =
        |result: Result<(), kafka_protocol::ResponseError>| result.err().map_or(0, |error| error.code());
    if call.version < 3 {
        let left = node.groups.leave(&request.group_id, &request.member_id, None);
        return LeaveGroupResponse::default().with_error_code(code(left));
    }
    let members = request.members.into_iter().map(|member| {
        let left = node.groups.leave(
            &request.group_id,
            &member.member_id,
            member.group_instance_id.as_deref(),
        );
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code(left))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
