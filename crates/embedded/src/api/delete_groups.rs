//! Deletes groups that nobody is in, and what they have committed.

use kafka_protocol::{
    ResponseError,
    messages::{DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult},
};

use crate::{
    node::Node,
    storage::{offsets::Fact, writer::Job},
};

pub(super) async fn answer(node: &Node, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group in request.groups_names {
        let code = one(node, &group).await.err().map_or(0, |error| error.code());
        results.push(
            DeletableGroupResult::default()
                .with_group_id(group)
                .with_error_code(code),
        );
    }
    DeleteGroupsResponse::default().with_results(results)
}

async fn one(node: &Node, group: &str) -> Result<(), ResponseError> {
    let joined = node.groups.forget(group)?;
    if !node.offsets.knows(group) {
        return if joined {
            Ok(())
        } else {
            Err(ResponseError::GroupIdNotFound)
        };
    }
    let facts = vec![Fact::GroupGone {
        group: group.to_owned(),
    }];
    match node.ask(|answer| Job::Commit { facts, answer }).await {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) => Err(ResponseError::CoordinatorNotAvailable),
        None => Err(ResponseError::NotCoordinator),
    }
}
