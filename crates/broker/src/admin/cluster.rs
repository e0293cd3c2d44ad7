//! The cluster as a whole.

use kafka_protocol::messages::{DescribeClusterRequest, DescribeLogDirsRequest};

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

/// A directory in which a node keeps partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir {
    /// The node.
    pub node: i32,
    /// Its path there.
    pub path: String,
    /// Kafka's error code when the node cannot use it: 56 when its disk fails or is full.
    pub error: Option<i16>,
    /// Bytes of its file system; `None` when the node does not tell (before Kafka 3.3).
    pub total_bytes: Option<u64>,
    /// Bytes that are free there for the node.
    pub usable_bytes: Option<u64>,
}

impl Cluster {
    /// The directories of all nodes that tell them (KIP-113, KIP-827). One that is silent for two seconds, and one that
    /// does not let us describe the cluster, is left out.
    pub async fn log_dirs(&self) -> Vec<LogDir> {
        let answered = self.of_each_node(|node| self.log_dirs_of(node)).await;
        answered.into_iter().flatten().flatten().collect()
    }

    async fn log_dirs_of(&self, node: i32) -> Result<Vec<LogDir>, Error> {
        // No topic: what each partition takes is not asked for.
        let request = DescribeLogDirsRequest::default().with_topics(Some(Vec::new()));
        let response = self.ask_node(node, &request).await?;
        Error::check(
            response.error_code,
            "DescribeLogDirs",
            format_args!("node {node}"),
            None,
        )?;
        let dirs = response.results.into_iter().map(|found| LogDir {
            node,
            path: found.log_dir.to_string(),
            error: (found.error_code != 0).then_some(found.error_code),
            total_bytes: u64::try_from(found.total_bytes).ok(),
            usable_bytes: u64::try_from(found.usable_bytes).ok(),
        });
        Ok(dirs.collect())
    }

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
