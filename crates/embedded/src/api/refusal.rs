//! The answers by which a fault refuses a whole request. Where a request names topics or partitions, its own file
//! refuses them one by one.

use std::io;

use bytes::Bytes;
use kafka_protocol::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, ApiKey, ApiVersionsRequest, DeleteGroupsRequest,
        DeleteGroupsResponse, DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest,
        DescribeConfigsResponse, DescribeGroupsRequest, DescribeGroupsResponse, DescribeLogDirsRequest,
        DescribeLogDirsResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest,
        HeartbeatResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        InitProducerIdRequest, InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse,
        LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest,
        OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, ProducerId, SyncGroupRequest,
        SyncGroupResponse, alter_configs_response, delete_groups_response::DeletableGroupResult,
        describe_configs_response::DescribeConfigsResult, describe_groups_response::DescribedGroup,
        find_coordinator_response::Coordinator, incremental_alter_configs_response,
        offset_fetch_response::OffsetFetchResponseGroup,
    },
};

use super::{Answer, Call, api_versions, encode, read};

/// Refuses the request; `None` where its own file does.
pub(super) fn answer(call: &Call, body: Bytes, error: ResponseError) -> io::Result<Option<Answer>> {
    let code = error.code();
    let answer = match call.key {
        ApiKey::ApiVersions => {
            encode::<ApiVersionsRequest>(call, &api_versions::answer().with_error_code(code))
        }
        ApiKey::InitProducerId => encode::<InitProducerIdRequest>(
            call,
            &InitProducerIdResponse::default()
                .with_error_code(code)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        ),
        ApiKey::DescribeCluster => {
            encode::<DescribeClusterRequest>(call, &DescribeClusterResponse::default().with_error_code(code))
        }
        ApiKey::DescribeLogDirs => {
            encode::<DescribeLogDirsRequest>(call, &DescribeLogDirsResponse::default().with_error_code(code))
        }
        ApiKey::DescribeConfigs => {
            let request: DescribeConfigsRequest = read(call, body)?;
            let results = request.resources.into_iter().map(|resource| {
                DescribeConfigsResult::default()
                    .with_error_code(code)
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name)
            });
            let response = DescribeConfigsResponse::default().with_results(results.collect());
            encode::<DescribeConfigsRequest>(call, &response)
        }
        ApiKey::AlterConfigs => {
            let request: AlterConfigsRequest = read(call, body)?;
            let responses = request.resources.into_iter().map(|resource| {
                alter_configs_response::AlterConfigsResourceResponse::default()
                    .with_error_code(code)
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name)
            });
            let response = AlterConfigsResponse::default().with_responses(responses.collect());
            encode::<AlterConfigsRequest>(call, &response)
        }
        ApiKey::IncrementalAlterConfigs => {
            let request: IncrementalAlterConfigsRequest = read(call, body)?;
            let responses = request.resources.into_iter().map(|resource| {
                incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                    .with_error_code(code)
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name)
            });
            let response = IncrementalAlterConfigsResponse::default().with_responses(responses.collect());
            encode::<IncrementalAlterConfigsRequest>(call, &response)
        }
        _ => return of_group(call, body, code),
    };
    answer.map(Some)
}

fn of_group(call: &Call, body: Bytes, code: i16) -> io::Result<Option<Answer>> {
    let answer = match call.key {
        ApiKey::FindCoordinator => {
            encode::<FindCoordinatorRequest>(call, &find_coordinator(read(call, body)?, code))
        }
        ApiKey::JoinGroup => {
            let request: JoinGroupRequest = read(call, body)?;
            let response = JoinGroupResponse::default()
                .with_error_code(code)
                .with_generation_id(-1)
                .with_protocol_name(super::text(""))
                .with_member_id(request.member_id);
            encode::<JoinGroupRequest>(call, &response)
        }
        ApiKey::SyncGroup => {
            encode::<SyncGroupRequest>(call, &SyncGroupResponse::default().with_error_code(code))
        }
        ApiKey::Heartbeat => {
            encode::<HeartbeatRequest>(call, &HeartbeatResponse::default().with_error_code(code))
        }
        ApiKey::LeaveGroup => {
            encode::<LeaveGroupRequest>(call, &LeaveGroupResponse::default().with_error_code(code))
        }
        // The first versions have no place for it but the partitions.
        ApiKey::OffsetFetch if call.version >= 2 => {
            encode::<OffsetFetchRequest>(call, &offset_fetch(call, read(call, body)?, code))
        }
        ApiKey::OffsetDelete => {
            encode::<OffsetDeleteRequest>(call, &OffsetDeleteResponse::default().with_error_code(code))
        }
        ApiKey::ListGroups => {
            encode::<ListGroupsRequest>(call, &ListGroupsResponse::default().with_error_code(code))
        }
        ApiKey::DescribeGroups => {
            let request: DescribeGroupsRequest = read(call, body)?;
            let groups = request.groups.into_iter().map(|group| {
                DescribedGroup::default()
                    .with_error_code(code)
                    .with_group_id(group)
            });
            let response = DescribeGroupsResponse::default().with_groups(groups.collect());
            encode::<DescribeGroupsRequest>(call, &response)
        }
        ApiKey::DeleteGroups => {
            let request: DeleteGroupsRequest = read(call, body)?;
            let results = request.groups_names.into_iter().map(|group| {
                DeletableGroupResult::default()
                    .with_error_code(code)
                    .with_group_id(group)
            });
            let response = DeleteGroupsResponse::default().with_results(results.collect());
            encode::<DeleteGroupsRequest>(call, &response)
        }
        _ => return Ok(None),
    };
    answer.map(Some)
}

fn find_coordinator(request: FindCoordinatorRequest, code: i16) -> FindCoordinatorResponse {
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(code)
            .with_node_id((-1).into())
            .with_port(-1)
    });
    let coordinators: Vec<Coordinator> = coordinators.collect();
    if !coordinators.is_empty() {
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    FindCoordinatorResponse::default()
        .with_error_code(code)
        .with_node_id((-1).into())
        .with_port(-1)
}

fn offset_fetch(call: &Call, request: OffsetFetchRequest, code: i16) -> OffsetFetchResponse {
    if call.version < 8 {
        return OffsetFetchResponse::default().with_error_code(code);
    }
    let groups = request.groups.into_iter().map(|group| {
        OffsetFetchResponseGroup::default()
            .with_group_id(group.group_id)
            .with_error_code(code)
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}
