//! How a consumer behaves.

use std::time::Duration;

use evenkeel_event::TopicName;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::membership::{Assignor, Settings};

/// How a consumer joins its group, where it begins and how much it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The member's own name across restarts (KIP-345), unique in the group. Default: none.
    pub instance: Option<String>,
    /// In order of preference. Default: cooperative-sticky. A group whose members know `range` alone wants
    /// `[Range]` or `[CooperativeSticky, Range]`.
    pub assignors: Vec<Assignor>,
    /// Without a heartbeat for this long the member counts as dead. Default: 45 s.
    pub session_timeout: Duration,
    /// Time between heartbeats. Default: 3 s.
    pub heartbeat_interval: Duration,
    /// Longest time between two calls of [`next`](super::Consumer::next). Default: 5 minutes.
    pub poll_interval_max: Duration,
    /// Where a partition begins that has no committed position, or one that is no longer on the log.
    /// Default: [`Reset::Earliest`].
    pub reset: Reset,
    /// Only records of committed transactions. Default: true.
    pub committed: bool,
    /// Longest wait of a fetch at the broker for something to come. Default: 500 ms.
    pub fetch_wait: Duration,
    /// Bytes that are fetched ahead per partition, at least one batch. Default: 1 MiB.
    pub partition_bytes_max: usize,
    /// Bytes that are fetched ahead in all. Default: 32 MiB.
    pub buffer_bytes_max: usize,
    /// The rack of this process, told to the group's leader. Default: none.
    pub rack: Option<String>,
}

/// Where to begin without a committed position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// With the first record that is there.
    Earliest,
    /// Behind the last record.
    Latest,
    /// With the first record that is not older; behind the last if there is none.
    Time(Timestamp),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            instance: None,
            assignors: vec![Assignor::CooperativeSticky],
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            poll_interval_max: Duration::from_secs(300),
            reset: Reset::Earliest,
            committed: true,
            fetch_wait: Duration::from_millis(500),
            partition_bytes_max: 1 << 20,
            buffer_bytes_max: 32 << 20,
            rack: None,
        }
    }
}

impl Options {
    pub(super) fn settings(&self, group: &str, topics: Vec<TopicName>) -> Settings {
        Settings {
            instance: self.instance.clone(),
            assignors: self.assignors.clone(),
            session_timeout: self.session_timeout,
            heartbeat_interval: self.heartbeat_interval,
            poll_interval_max: self.poll_interval_max,
            rack: self.rack.clone(),
            ..Settings::new(group, topics)
        }
    }
}
