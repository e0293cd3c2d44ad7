//! The cluster as a whole.

use kafka_protocol::messages::DescribeClusterRequest;

use crate::cluster::{Cluster, Node};
use crate::error::Error;

/// The cluster as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its id.
    pub id: String,
    /// The node that takes changes to topics; `None` while there is none.
    pub controller: Option<i32>,
    /// Its nodes, by id.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// The cluster as it describes itself now.
    ///
    /// # Errors
    /// Why no broker gave an answer.
    pub async fn describe(&self) -> Result<Description, Error> {
        let response = self.ask(&DescribeClusterRequest::default()).await?;
        Error::check(
            response.error_code,
            "DescribeCluster",
            "the cluster",
            response.error_message.as_deref(),
        )?;
        let mut nodes: Vec<Node> = response
            .brokers
            .into_iter()
            .map(|broker| Node {
                id: broker.broker_id.0,
                address: crate::cluster::address(&broker.host, broker.port),
                rack: broker.rack.map(|rack| rack.to_string()),
            })
            .collect();
        nodes.sort_by_key(|node| node.id);
        Ok(Description {
            id: response.cluster_id.to_string(),
            controller: (response.controller_id.0 >= 0).then_some(response.controller_id.0),
            nodes,
        })
    }
}
