//! The groups that have members or committed offsets.

use std::collections::BTreeMap;

use kafka_protocol::{
    messages::{GroupId, ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup},
    protocol::StrBytes,
};

use crate::{groups::machine::State, node::Node};

const CLASSIC: &str = "classic";

pub(super) fn answer(node: &Node, request: &ListGroupsRequest) -> ListGroupsResponse {
    let committed = node
        .offsets
        .groups()
        .into_iter()
        .map(|name| (name, (State::Empty, String::new())));
    let mut known: BTreeMap<String, (State, String)> = committed.collect();
    known.extend(
        node.groups
            .list()
            .into_iter()
            .map(|(name, state, protocol)| (name, (state, protocol))),
    );
    let wanted = |filter: &[StrBytes], is: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(is))
    };
    let listed = known
        .into_iter()
        .filter(|(_, (state, _))| wanted(&request.states_filter, state.name()))
        .filter(|_| wanted(&request.types_filter, CLASSIC))
        .map(|(name, (state, protocol))| {
            ListedGroup::default()
                .with_group_id(GroupId(StrBytes::from_string(name)))
                .with_protocol_type(StrBytes::from_string(protocol))
                .with_group_state(StrBytes::from_static_str(state.name()))
                .with_group_type(StrBytes::from_static_str(CLASSIC))
        });
    ListGroupsResponse::default().with_groups(listed.collect())
}
