//! What is known of the cluster: nodes, topics, leaders.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use evenkeel_event::{TopicId, TopicName, TopicPartition};
use kafka_protocol::messages::MetadataResponse;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id, from 0.
    pub id: i32,
    /// `host:port` as it is advertised.
    pub address: String,
    /// The rack it stands in, when it says so.
    pub rack: Option<String>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its identity; a topic that is deleted and created again has another.
    pub id: TopicId,
    /// True for Kafka's own topics.
    pub internal: bool,
    /// Its partitions by index, from 0 without gap.
    pub partitions: Vec<Partition>,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// The node that leads it, when one does.
    pub leader: Option<i32>,
    /// How often the leader has changed; -1 when not known.
    pub leader_epoch: i32,
    /// Nodes that hold a copy.
    pub replicas: Vec<i32>,
    /// Those of them that keep up.
    pub in_sync: Vec<i32>,
}

/// Where a partition's leader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leader {
    /// Nothing is known of the partition.
    Unknown,
    /// It has none, or its node is known not to answer.
    Gone,
    /// It is at `node`.
    At {
        /// The node's id.
        node: i32,
        /// The leader epoch.
        epoch: i32,
    },
}

/// What is known of the cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The cluster's id, when it was told.
    pub cluster_id: Option<String>,
    /// The node that takes changes to topics.
    pub controller: Option<i32>,
    /// The nodes that are there, by id.
    pub nodes: BTreeMap<i32, Node>,
    /// Nodes to which no connection can be made at present.
    pub down: BTreeSet<i32>,
    pub(super) topics: HashMap<TopicName, Arc<Topic>>,
}

impl Metadata {
    /// A topic that was asked for before.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// Where the leader of `partition` is.
    #[must_use]
    pub fn leader(&self, partition: &TopicPartition) -> Leader {
        let index = usize::try_from(partition.partition).unwrap_or(usize::MAX);
        let known = self
            .topics
            .get(&partition.topic)
            .and_then(|topic| topic.partitions.get(index));
        match known {
            None => Leader::Unknown,
            Some(Partition {
                leader: Some(node),
                leader_epoch,
                ..
            }) if !self.down.contains(node) && self.nodes.contains_key(node) => Leader::At {
                node: *node,
                epoch: *leader_epoch,
            },
            Some(_) => Leader::Gone,
        }
    }

    /// Takes in an answer to a question about `asked`.
    pub(super) fn merge(&mut self, response: MetadataResponse) {
        self.cluster_id = response.cluster_id.map(|id| id.to_string());
        self.controller = (response.controller_id.0 >= 0).then_some(response.controller_id.0);
        self.nodes = response
            .brokers
            .iter()
            .map(|broker| {
                let node = Node {
                    id: broker.node_id.0,
                    address: address(&broker.host, broker.port),
                    rack: broker.rack.as_ref().map(ToString::to_string),
                };
                (node.id, node)
            })
            .collect();
        self.down.retain(|node| self.nodes.contains_key(node));
        for topic in response.topics {
            let Some(name) = topic.name.as_ref().and_then(|name| TopicName::new(&name.0).ok()) else {
                continue;
            };
            match topic.error_code {
                // 5: it is there, and no leader has been elected yet.
                0 | 5 => {
                    let topic = read(name.clone(), topic, self.topics.get(&name));
                    self.topics.insert(name, Arc::new(topic));
                }
                3 | 100 => {
                    self.topics.remove(&name);
                }
                // Another error says nothing about the topic: what is known stays.
                _ => {}
            }
        }
    }
}

/// Reads a topic of which nothing is known.
pub(crate) fn read_topic(name: TopicName, topic: MetadataResponseTopic) -> Topic {
    read(name, topic, None)
}

/// Reads a topic; a partition of an older leader epoch than the one known keeps what is known (KIP-320).
fn read(name: TopicName, topic: MetadataResponseTopic, known: Option<&Arc<Topic>>) -> Topic {
    let id = TopicId(topic.topic_id.into_bytes());
    let known = known.filter(|known| known.id == id);
    let mut partitions: Vec<Partition> = topic.partitions.into_iter().map(partition).collect();
    partitions.sort_by_key(|partition| partition.index);
    for (position, partition) in partitions.iter_mut().enumerate() {
        if let Some(known) = known.and_then(|known| known.partitions.get(position))
            && known.leader_epoch > partition.leader_epoch
            && partition.leader_epoch >= 0
        {
            *partition = known.clone();
        }
    }
    // A hole would shift what is looked up by index; a broker that leaves one is not believed beyond it.
    let whole = partitions
        .iter()
        .zip(0..)
        .take_while(|(partition, index)| partition.index == *index)
        .count();
    partitions.truncate(whole);
    Topic {
        name,
        id,
        internal: topic.is_internal,
        partitions,
    }
}

fn partition(partition: MetadataResponsePartition) -> Partition {
    let ids = |list: Vec<kafka_protocol::messages::BrokerId>| list.into_iter().map(|id| id.0).collect();
    Partition {
        index: partition.partition_index,
        leader: (partition.leader_id.0 >= 0).then_some(partition.leader_id.0),
        leader_epoch: partition.leader_epoch,
        replicas: ids(partition.replica_nodes),
        in_sync: ids(partition.isr_nodes),
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn address(host: &str, port: i32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(epoch: i32, leader: i32) -> MetadataResponseTopic {
        MetadataResponseTopic::default().with_partitions(vec![
            MetadataResponsePartition::default()
                .with_leader_id(leader.into())
                .with_leader_epoch(epoch),
        ])
    }

    #[test]
    fn older_leader_epochs_are_not_believed() {
        let name = TopicName::new("orders").unwrap();
        let known = Arc::new(read(name.clone(), topic(5, 1), None));
        for (epoch, leader, expected) in [(4, 2, Some(1)), (5, 2, Some(2)), (6, -1, None)] {
            let read = read(name.clone(), topic(epoch, leader), Some(&known));
            assert_eq!(read.partitions[0].leader, expected, "epoch {epoch}");
        }
    }

    #[test]
    fn a_leader_on_a_node_that_is_down_is_gone() {
        let name = TopicName::new("orders").unwrap();
        let partition = TopicPartition::new(name.clone(), 0);
        let mut metadata = Metadata::default();
        assert_eq!(metadata.leader(&partition), Leader::Unknown);
        metadata
            .topics
            .insert(name.clone(), Arc::new(read(name, topic(3, 1), None)));
        assert_eq!(metadata.leader(&partition), Leader::Gone, "the node is not there");
        metadata.nodes.insert(
            1,
            Node {
                id: 1,
                address: address("::1", 9092),
                rack: None,
            },
        );
        assert_eq!(metadata.leader(&partition), Leader::At { node: 1, epoch: 3 });
        metadata.down.insert(1);
        assert_eq!(metadata.leader(&partition), Leader::Gone);
    }
}
