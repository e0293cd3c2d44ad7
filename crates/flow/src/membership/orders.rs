//! What a member is told and what it orders.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_event::{TopicName, TopicPartition};

use super::{Claim, CommitTrouble, Error, Identity, Mark};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time has passed; see [`super::Member::deadline`].
    Tick,
    /// A request was answered, or failed.
    Answered {
        /// The number in the order.
        request: u64,
        /// What came back.
        reply: Reply,
    },
    /// The application waits for the stream.
    Waiting,
    /// The application took something from the stream and works on it.
    Busy,
    /// The application has let go of revoked partitions, after its last commit for them.
    Released(Vec<Claim>),
    /// The application has handled everything before these positions.
    Commit {
        /// Told back in [`Order::CommitDone`].
        ticket: u64,
        /// One position per claim.
        offsets: Vec<(Claim, Mark)>,
    },
    /// The application wants other topics.
    Subscribe(Vec<TopicName>),
    /// Give everything back and leave.
    Close {
        /// How long that may take.
        within: Duration,
    },
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// FindCoordinator: the coordinator's node id.
    Coordinator(i32),
    /// JoinGroup: a new generation.
    Joined {
        /// Its number.
        generation: i32,
        /// The assignor that the group uses, by name.
        protocol: String,
        /// The leader's member id.
        leader: String,
        /// This member's id.
        member_id: String,
        /// All members, for the leader alone.
        members: Vec<JoinedMember>,
        /// The leader must not assign anew (KIP-814).
        skip_assignment: bool,
    },
    /// JoinGroup, code 79: join again under this id (KIP-394).
    MemberIdRequired(String),
    /// SyncGroup: this member's assignment.
    Synced(Vec<u8>),
    /// Heartbeat or LeaveGroup, code 0.
    Done,
    /// OffsetCommit: an error code per partition, 0 where it was committed.
    Committed(Vec<(TopicPartition, i16)>),
    /// Metadata: the number of partitions of each topic that exists.
    Described(BTreeMap<TopicName, i32>),
    /// An error code for the whole request.
    Refused(i16),
    /// No connection, closed without an answer, or no answer in time.
    Unreachable,
}

/// A member as the coordinator tells the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: String,
    /// Its own name, if static.
    pub instance: Option<String>,
    /// Its [`super::Subscription`].
    pub metadata: Vec<u8>,
}

/// What to do. Requests carry a number that their answer brings back; requests to the coordinator name its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Ask any broker for the coordinator.
    FindCoordinator {
        /// Number of the request.
        request: u64,
    },
    /// Send JoinGroup. Its answer may take as long as the longest `poll_interval_max` in the group.
    Join {
        /// Number of the request.
        request: u64,
        /// The coordinator's node.
        node: i32,
        /// Empty at first.
        member_id: String,
        /// Assignors by name, with the subscription's bytes.
        protocols: Vec<(&'static str, Vec<u8>)>,
    },
    /// Ask for the number of partitions of these topics.
    Describe {
        /// Number of the request.
        request: u64,
        /// The topics.
        topics: Vec<TopicName>,
    },
    /// Send SyncGroup.
    Sync {
        /// Number of the request.
        request: u64,
        /// The coordinator's node.
        node: i32,
        /// Who asks.
        identity: Identity,
        /// The assignor, by name.
        protocol: &'static str,
        /// Assignments by member id, from the leader alone.
        assignments: Vec<(String, Vec<u8>)>,
    },
    /// Send Heartbeat, on a connection of its own.
    Heartbeat {
        /// Number of the request.
        request: u64,
        /// The coordinator's node.
        node: i32,
        /// Who asks.
        identity: Identity,
    },
    /// Send OffsetCommit, not behind a JoinGroup.
    Commit {
        /// Number of the request.
        request: u64,
        /// The coordinator's node.
        node: i32,
        /// Who asks.
        identity: Identity,
        /// The positions.
        offsets: Vec<(TopicPartition, Mark)>,
    },
    /// Send LeaveGroup, not behind a JoinGroup.
    Leave {
        /// Number of the request.
        request: u64,
        /// The coordinator's node.
        node: i32,
        /// Who leaves.
        member_id: String,
    },
    /// These partitions are the member's from now on. May be empty: the member is in the group and has none.
    Assign {
        /// The new ones.
        claims: Vec<Claim>,
        /// The generation.
        generation: i32,
    },
    /// Stop these partitions, let the application finish and commit, then say [`Input::Released`].
    Revoke(Vec<Claim>),
    /// These partitions are gone: stop at once, commit nothing.
    Lose(Vec<Claim>),
    /// A commit has ended.
    CommitDone {
        /// From [`Input::Commit`].
        ticket: u64,
        /// The positions that were not committed; empty when all were.
        refused: Vec<(TopicPartition, CommitTrouble)>,
    },
    /// The group cannot be joined now for a reason that somebody must mend (30 not authorised, 81 group full, or an
    /// unknown code); it is tried again.
    Alarm {
        /// Kafka's error code.
        code: i16,
    },
    /// The member is out of the group, for good.
    Closed(Option<Error>),
}
