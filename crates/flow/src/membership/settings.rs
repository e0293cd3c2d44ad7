//! How a member behaves, and what ends it.

use std::time::Duration;

use evenkeel_event::backoff::Backoff;
use evenkeel_event::topic::TopicName;

use super::Assignor;

/// How a member joins its group and when it gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The group's id.
    pub group: String,
    /// The member's own name across restarts (KIP-345): a member that comes back under it within the session
    /// gets its partitions back without a rebalance. `None`: a dynamic member.
    pub instance: Option<String>,
    /// The topics to consume.
    pub topics: Vec<TopicName>,
    /// In order of preference. The group uses one that all members offer. Members keep their partitions while they
    /// join only if every assignor here is cooperative.
    pub assignors: Vec<Assignor>,
    /// Without a heartbeat for this long, the coordinator takes the member for dead. The broker bounds it
    /// (`group.min.session.timeout.ms`, 6 s by default, to 30 minutes).
    pub session_timeout: Duration,
    /// Time between heartbeats, at most a third of the session timeout.
    pub heartbeat_interval: Duration,
    /// How long the application may take between two looks at the stream, and so how long a rebalance waits for it.
    pub poll_interval_max: Duration,
    /// How long a commit is tried again.
    pub commit_timeout: Duration,
    /// How often the leader looks whether topics have grown.
    pub metadata_interval: Duration,
    /// The wait after failures.
    pub backoff: Backoff,
    /// The rack the member runs in, told to the leader.
    pub rack: Option<String>,
}

impl Settings {
    /// A dynamic member of `group` with the Java client's times (session 45 s, heartbeat 3 s, poll 5 minutes) and the
    /// cooperative-sticky assignor.
    #[must_use]
    pub fn new(group: impl Into<String>, topics: Vec<TopicName>) -> Self {
        Self {
            group: group.into(),
            instance: None,
            topics,
            assignors: vec![Assignor::CooperativeSticky],
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            poll_interval_max: Duration::from_secs(300),
            commit_timeout: Duration::from_secs(60),
            metadata_interval: Duration::from_secs(30),
            backoff: Backoff::RECONNECT,
            rack: None,
        }
    }

    /// True when the member keeps its partitions while it joins.
    #[must_use]
    pub fn is_cooperative(&self) -> bool {
        !self.assignors.is_empty() && self.assignors.iter().all(|assignor| assignor.is_cooperative())
    }
}

/// Why a member can never be in the group as it is set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 82: another process joined under the same instance name.
    #[error(
        "group {group}: another process runs as the static member \"{instance}\" and took its place; give each \
         process an instance name of its own"
    )]
    Fenced {
        /// The group.
        group: String,
        /// The instance name.
        instance: String,
    },
    /// 23: the group's members have no assignor in common with this one.
    #[error("group {group}: the other members support none of the assignors {assignors}")]
    NoCommonAssignor {
        /// The group.
        group: String,
        /// The assignors of this member, by name.
        assignors: String,
    },
    /// 26: the broker does not allow the session timeout.
    #[error(
        "group {group}: the broker does not allow a session timeout of {millis} ms; see its \
         group.min.session.timeout.ms and group.max.session.timeout.ms"
    )]
    SessionTimeout {
        /// The group.
        group: String,
        /// The session timeout that was asked for.
        millis: u128,
    },
    /// Any other code after which trying again cannot help (24 invalid group id, 35 unsupported version, 42 invalid
    /// request).
    #[error("group {group}: the broker refuses this member for good with error code {code}")]
    Refused {
        /// The group.
        group: String,
        /// Kafka's error code.
        code: i16,
    },
}
