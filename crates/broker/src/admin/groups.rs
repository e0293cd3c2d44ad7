//! Consumer groups as the cluster sees them.

use evenkeel_event::TopicPartition;
use evenkeel_flow::membership::Assignment;
use kafka_protocol::messages::{DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::Cluster;
use crate::error::Error;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// `Empty`, `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Dead`.
    pub state: String,
    /// `consumer` for consumer groups.
    pub protocol_type: String,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Its state, as in [`Summary::state`].
    pub state: String,
    /// How partitions are shared out: `range`, `cooperative-sticky`.
    pub assignor: String,
    /// Its members.
    pub members: Vec<Member>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id that the coordinator gave it.
    pub id: String,
    /// Its own fixed id, for static members (KIP-345).
    pub instance: Option<String>,
    /// The client id.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// The partitions that it reads, in order; empty while the group rebalances and for groups that are not of consumers.
    pub partitions: Vec<TopicPartition>,
}

/// What a member's assignment says; members of other kinds of groups may have written anything there.
fn partitions(assignment: &[u8]) -> Vec<TopicPartition> {
    let mut partitions = Assignment::decode(assignment).unwrap_or_default().partitions;
    partitions.sort();
    partitions
}

impl Cluster {
    /// Every group on every node, by id.
    ///
    /// # Errors
    /// When a node gives no answer.
    pub async fn groups(&self) -> Result<Vec<Summary>, Error> {
        self.refresh().await?;
        let nodes: Vec<i32> = self.metadata().nodes.keys().copied().collect();
        let mut groups = Vec::new();
        for node in nodes {
            let response = self.ask_node(node, &ListGroupsRequest::default()).await?;
            Error::check(
                response.error_code,
                "ListGroups",
                format_args!("node {node}"),
                None,
            )?;
            groups.extend(response.groups.into_iter().map(|group| Summary {
                id: group.group_id.to_string(),
                state: group.group_state.to_string(),
                protocol_type: group.protocol_type.to_string(),
            }));
        }
        groups.sort_by(|left, right| left.id.cmp(&right.id));
        groups.dedup_by(|left, right| left.id == right.id);
        Ok(groups)
    }

    /// One group with its members. A group that does not exist is `Dead` (or refused with 69 by Kafka 4).
    ///
    /// # Errors
    /// When its coordinator gives no answer.
    pub async fn group(&self, id: &str) -> Result<Group, Error> {
        self.settled(|| self.group_once(id)).await
    }

    async fn group_once(&self, id: &str) -> Result<Group, Error> {
        let coordinator = self.coordinator(id).await?;
        let request =
            DescribeGroupsRequest::default().with_groups(vec![StrBytes::from_string(id.to_owned()).into()]);
        let response = self.ask_node(coordinator, &request).await?;
        let Some(group) = response.groups.into_iter().next() else {
            return Err(Error::Refused {
                request: "DescribeGroups",
                subject: format!("group {id}"),
                code: -1,
                message: "an empty answer".to_owned(),
            });
        };
        Error::check(
            group.error_code,
            "DescribeGroups",
            format_args!("group {id}"),
            group.error_message.as_deref(),
        )?;
        let members = group.members.into_iter().map(|member| Member {
            id: member.member_id.to_string(),
            instance: member.group_instance_id.map(|instance| instance.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            partitions: partitions(&member.member_assignment),
        });
        Ok(Group {
            id: group.group_id.to_string(),
            state: group.group_state.to_string(),
            assignor: group.protocol_data.to_string(),
            members: members.collect(),
        })
    }

    /// Deletes a group without members, its offsets with it.
    ///
    /// # Errors
    /// When it has members (68), does not exist (69), or no answer could be had.
    pub async fn delete_group(&self, id: &str) -> Result<(), Error> {
        self.settled(|| self.delete_group_once(id)).await
    }

    async fn delete_group_once(&self, id: &str) -> Result<(), Error> {
        let coordinator = self.coordinator(id).await?;
        let request = DeleteGroupsRequest::default()
            .with_groups_names(vec![StrBytes::from_string(id.to_owned()).into()]);
        let response = self.ask_node(coordinator, &request).await?;
        let code = response.results.first().map_or(-1, |result| result.error_code);
        Error::check(code, "DeleteGroups", format_args!("group {id}"), None)
    }
}
