//! Carries a member's orders to the coordinator and brings the answers back.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_flow::membership::{Identity, JoinedMember, Mark, Order, Reply, Settings};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest,
    OffsetCommitResponse, SyncGroupRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};

use crate::cluster::Cluster;
use crate::cluster::pool::Pool;
use crate::error::Error;

/// The protocol type of consumers in JoinGroup.
const PROTOCOL_TYPE: &str = "consumer";
/// How much later than the coordinator the answer to JoinGroup may come, as in the Java client.
const JOIN_GRACE: Duration = Duration::from_secs(5);

/// The way to the group's coordinator. It answers the requests of one connection in turn, so that JoinGroup, which may
/// wait for minutes, heartbeats and everything else have one each.
#[derive(Debug)]
pub(super) struct Courier {
    cluster: Cluster,
    settings: Settings,
    joins: Pool,
    heartbeats: Pool,
    rest: Pool,
}

impl Courier {
    pub(super) fn new(cluster: Cluster, settings: Settings) -> Self {
        Self {
            cluster,
            settings,
            joins: Pool::default(),
            heartbeats: Pool::default(),
            rest: Pool::default(),
        }
    }

    /// How long a coordinator may be silent before it is looked for anew: a third of the session leaves time to find
    /// another and to be heard there.
    fn patience(&self) -> Duration {
        (self.settings.session_timeout / 3).clamp(Duration::from_millis(500), Duration::from_secs(30))
    }

    /// Sends what `order` says and waits for the answer. Orders that are no requests have none.
    pub(super) async fn carry(&self, order: Order) -> Option<(u64, Reply)> {
        let (request, reply) = match order {
            Order::FindCoordinator { request } => {
                let found = self.cluster.coordinator(&self.settings.group).await;
                (request, found.map(Reply::Coordinator))
            }
            Order::Describe { request, topics } => (request, self.describe(&topics).await),
            Order::Join {
                request,
                node,
                member_id,
                protocols,
            } => (request, self.join(node, member_id, protocols).await),
            Order::Sync {
                request,
                node,
                identity,
                protocol,
                assignments,
            } => (request, self.sync(node, &identity, protocol, assignments).await),
            Order::Heartbeat {
                request,
                node,
                identity,
            } => (request, self.heartbeat(node, &identity).await),
            Order::Commit {
                request,
                node,
                identity,
                offsets,
            } => (request, self.commit(node, &identity, &offsets).await),
            Order::Leave {
                request,
                node,
                member_id,
            } => (request, self.leave(node, member_id).await),
            Order::Assign { .. }
            | Order::Revoke(_)
            | Order::Lose(_)
            | Order::CommitDone { .. }
            | Order::Alarm { .. }
            | Order::Closed(_) => return None,
        };
        Some((request, reply.unwrap_or_else(|error| failed(&error))))
    }

    async fn call<R: Request>(
        &self,
        pool: &Pool,
        node: i32,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, Error> {
        let connection = self.cluster.connection(pool, node).await?;
        connection.call(request, timeout).await
    }

    /// The sizes of those of `topics` that exist.
    async fn describe(&self, topics: &[TopicName]) -> Result<Reply, Error> {
        let mut counts = BTreeMap::new();
        self.cluster.refresh().await?;
        for name in topics {
            match self.cluster.topic(name).await {
                Ok(topic) => {
                    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                    counts.insert(name.clone(), count);
                }
                Err(error) if error.is_topic_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Reply::Described(counts))
    }

    async fn join(
        &self,
        node: i32,
        member_id: String,
        protocols: Vec<(&'static str, Vec<u8>)>,
    ) -> Result<Reply, Error> {
        let protocols = protocols.into_iter().map(|(name, metadata)| {
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(name))
                .with_metadata(metadata.into())
        });
        let rebalance = self.settings.poll_interval_max;
        let request = JoinGroupRequest::default()
            .with_group_id(text(&self.settings.group).into())
            .with_session_timeout_ms(millis(self.settings.session_timeout))
            .with_rebalance_timeout_ms(millis(rebalance))
            .with_member_id(StrBytes::from_string(member_id))
            .with_group_instance_id(self.instance())
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(protocols.collect());
        let response = self
            .call(&self.joins, node, &request, rebalance + JOIN_GRACE)
            .await?;
        Ok(joined(response))
    }

    async fn sync(
        &self,
        node: i32,
        identity: &Identity,
        protocol: &'static str,
        assignments: Vec<(String, Vec<u8>)>,
    ) -> Result<Reply, Error> {
        let assignments = assignments.into_iter().map(|(member_id, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(StrBytes::from_string(member_id))
                .with_assignment(assignment.into())
        });
        let request = SyncGroupRequest::default()
            .with_group_id(text(&self.settings.group).into())
            .with_generation_id(generation(identity))
            .with_member_id(text(&identity.member_id))
            .with_group_instance_id(self.instance())
            .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
            .with_protocol_name(Some(StrBytes::from_static_str(protocol)))
            .with_assignments(assignments.collect());
        let timeout = self.cluster.request_timeout();
        let response = self.call(&self.joins, node, &request, timeout).await?;
        Ok(match response.error_code {
            0 => Reply::Synced(response.assignment.to_vec()),
            code => Reply::Refused(code),
        })
    }

    async fn heartbeat(&self, node: i32, identity: &Identity) -> Result<Reply, Error> {
        let request = HeartbeatRequest::default()
            .with_group_id(text(&self.settings.group).into())
            .with_generation_id(generation(identity))
            .with_member_id(text(&identity.member_id))
            .with_group_instance_id(self.instance());
        let response = self
            .call(&self.heartbeats, node, &request, self.patience())
            .await?;
        Ok(done(response.error_code))
    }

    async fn leave(&self, node: i32, member_id: String) -> Result<Reply, Error> {
        let member = MemberIdentity::default()
            .with_member_id(StrBytes::from_string(member_id))
            .with_reason(Some(StrBytes::from_static_str("the consumer closes")));
        let request = LeaveGroupRequest::default()
            .with_group_id(text(&self.settings.group).into())
            .with_members(vec![member]);
        let response = self.call(&self.rest, node, &request, self.patience()).await?;
        let refused = response.members.first().map_or(0, |member| member.error_code);
        Ok(done(if response.error_code == 0 {
            refused
        } else {
            response.error_code
        }))
    }

    async fn commit(
        &self,
        node: i32,
        identity: &Identity,
        offsets: &[(TopicPartition, Mark)],
    ) -> Result<Reply, Error> {
        let mut topics: BTreeMap<&TopicName, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (partition, mark) in offsets {
            let position = OffsetCommitRequestPartition::default()
                .with_partition_index(partition.partition)
                .with_committed_offset(mark.offset)
                .with_committed_leader_epoch(mark.leader_epoch)
                .with_committed_metadata(Some(StrBytes::default()));
            topics.entry(&partition.topic).or_default().push(position);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            OffsetCommitRequestTopic::default()
                .with_name(text(name.as_str()).into())
                .with_partitions(partitions)
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(text(&self.settings.group).into())
            .with_generation_id_or_member_epoch(generation(identity))
            .with_member_id(text(&identity.member_id))
            .with_group_instance_id(self.instance())
            .with_topics(topics.collect());
        let response = self.call(&self.rest, node, &request, self.patience()).await?;
        Ok(committed(&response))
    }

    /// The connections for everything that is answered at once: positions are read over them too.
    pub(super) const fn rest(&self) -> &Pool {
        &self.rest
    }

    pub(super) const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn group(&self) -> &str {
        &self.settings.group
    }

    fn instance(&self) -> Option<StrBytes> {
        self.settings.instance.as_deref().map(text)
    }
}

fn joined(response: JoinGroupResponse) -> Reply {
    match response.error_code {
        0 => {}
        79 => return Reply::MemberIdRequired(response.member_id.to_string()),
        code => return Reply::Refused(code),
    }
    let members = response.members.into_iter().map(|member| JoinedMember {
        member_id: member.member_id.to_string(),
        instance: member.group_instance_id.map(|instance| instance.to_string()),
        metadata: member.metadata.to_vec(),
    });
    Reply::Joined {
        generation: response.generation_id,
        protocol: response
            .protocol_name
            .map_or_else(String::new, |name| name.to_string()),
        leader: response.leader.to_string(),
        member_id: response.member_id.to_string(),
        members: members.collect(),
        skip_assignment: response.skip_assignment,
    }
}

fn committed(response: &OffsetCommitResponse) -> Reply {
    let codes = response.topics.iter().flat_map(|topic| {
        let name = TopicName::new(&topic.name.0).ok();
        topic.partitions.iter().filter_map(move |partition| {
            let partition_of = TopicPartition::new(name.clone()?, partition.partition_index);
            Some((partition_of, partition.error_code))
        })
    });
    Reply::Committed(codes.collect())
}

/// What a request that brought no answer means to the member. Only what the broker refuses for our credentials is more
/// than "not reached".
fn failed(error: &Error) -> Reply {
    match error.code() {
        Some(code) => Reply::Refused(code),
        None if error.is_access_refused() => Reply::Refused(58),
        None => Reply::Unreachable,
    }
}

const fn done(code: i16) -> Reply {
    match code {
        0 => Reply::Done,
        code => Reply::Refused(code),
    }
}

fn generation(identity: &Identity) -> i32 {
    identity.generation.unwrap_or(-1)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
