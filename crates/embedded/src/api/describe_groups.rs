//! The members of groups.

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
    },
    protocol::StrBytes,
};

use super::{Call, text};
use crate::{
    groups::{coordinator::Described, machine::State, member::Member},
    node::Node,
};

pub(super) fn answer(node: &Node, call: &Call, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|group| one(node, call, group));
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn one(node: &Node, call: &Call, id: GroupId) -> DescribedGroup {
    let found = node.groups.describe(&id);
    let committed = node.offsets.knows(&id);
    let described = DescribedGroup::default().with_group_id(id);
    match found {
        Some(found) => known(described, found),
        None if committed => described.with_group_state(StrBytes::from_static_str(State::Empty.name())),
        // Version 6 says that there is none; before it, such a group is a dead one (KIP-1043).
        None if call.version >= 6 => described
            .with_group_state(StrBytes::from_static_str("Dead"))
            .with_error_code(ResponseError::GroupIdNotFound.code())
            .with_error_message(text("there is no such group")),
        None => described.with_group_state(StrBytes::from_static_str("Dead")),
    }
}

fn known(described: DescribedGroup, found: Described) -> DescribedGroup {
    let Described {
        state,
        protocol_type,
        protocol,
        members,
    } = found;
    let members = members
        .into_iter()
        .map(|(id, member)| on_wire(id, member, &protocol));
    let members = members.collect();
    described
        .with_group_state(StrBytes::from_static_str(state.name()))
        .with_protocol_type(StrBytes::from_string(protocol_type))
        .with_members(members)
        .with_protocol_data(StrBytes::from_string(protocol))
}

fn on_wire(id: String, member: Member, protocol: &str) -> DescribedGroupMember {
    let metadata = member.metadata(protocol);
    DescribedGroupMember::default()
        .with_member_id(StrBytes::from_string(id))
        .with_group_instance_id(member.instance.map(StrBytes::from_string))
        .with_client_id(StrBytes::from_string(member.client))
        .with_client_host(StrBytes::from_string(member.host))
        .with_member_metadata(metadata)
        .with_member_assignment(member.assignment)
}
