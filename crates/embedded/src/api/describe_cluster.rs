//! The cluster: one node.

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeClusterRequest, DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker,
    },
    protocol::StrBytes,
};

use super::text;
use crate::node::{NODE, Node};

/// What clients ask for: brokers, not controllers.
const BROKERS: i8 = 1;

pub(super) fn answer(node: &Node, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_endpoint_type(request.endpoint_type)
        .with_cluster_id(StrBytes::from_string(node.cluster.clone()));
    if request.endpoint_type != BROKERS {
        return response
            .with_error_code(ResponseError::MismatchedEndpointType.code())
            .with_error_message(text("this is a broker"));
    }
    let broker = DescribeClusterBroker::default()
        .with_broker_id(NODE)
        .with_host(node.host())
        .with_port(node.port());
    response.with_controller_id(NODE).with_brokers(vec![broker])
}
