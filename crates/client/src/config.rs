//! What an application tells the SDK.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_broker::Kafka;
use evenkeel_broker::batch::Compression;
use evenkeel_event::TopicName;
pub use evenkeel_flow::diversion::Mode;
use evenkeel_store::{Scope, SharedStandby};

use crate::schema_cache::Registry;

/// Settings of an application's publish side. [`Config::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The application's name; names its dead-letter topic.
    pub application: String,
    /// How to reach Kafka.
    pub kafka: Kafka,
    /// How to reach the registry; `None` uses what is kept on disk alone.
    pub registry: Option<Registry>,
    /// Where parked events and schemas are kept. One process at a time.
    pub directory: PathBuf,
    /// Where events are parked instead, when several processes publish the same keys.
    pub fleet: Option<Fleet>,
    /// The events that the application publishes. Their schemas are fetched at the start.
    pub event_types: Vec<EventType>,
    /// How missing topics are created; `None` leaves that to others: their events are parked until it is done.
    pub new_topics: Option<NewTopics>,
    /// Most bytes that parked events may take on disk.
    pub standby_bytes_max: u64,
    /// Most bytes of events that may wait in memory. Beyond it, publishing waits.
    pub buffer_bytes_max: usize,
    /// Longest wait for room in memory; then an event is refused as overloaded.
    pub room_wait_max: Duration,
    /// Longest time that an event waits for others to share its batch with, while batches of its partition are under
    /// way. An event that finds none under way is sent at once.
    pub linger: Duration,
    /// Bytes at which a batch is closed; an event that is larger goes alone.
    pub batch_bytes_max: usize,
    /// How batches are compressed.
    pub compression: Compression,
    /// A partition that answers nothing for this long is out: its events are parked.
    pub out_after: Duration,
    /// Longest wait for the answer to one attempt to send.
    pub send_timeout: Duration,
    /// Longest wait at the start while another process has the standby store open. A worker that sends on what an
    /// earlier process left lets go of it then.
    pub store_wait_max: Duration,
    /// How parked events are sent on.
    pub drain: Drain,
}

/// How parked events are sent on. The default sends on all of them, as fast as the cluster takes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drain {
    /// Only what these cover is sent on; empty for all. What an operator holds stays in any case.
    pub only: Vec<Scope>,
    /// Most events a second.
    pub events_per_second: Option<NonZeroU32>,
}

/// One kind of event that an application publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventType {
    /// Its CloudEvents type, for example `order.placed`.
    pub name: String,
    /// Its topic.
    pub topic: TopicName,
    /// Under which name its schema is registered.
    pub subject: Subject,
    /// Which version of the schema it obeys.
    pub version: Version,
}

/// How a schema's subject is named (Confluent's subject name strategies).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// `<topic>-value`.
    TopicName,
    /// The record's full name.
    RecordName(String),
    /// `<topic>-<record's full name>`.
    TopicRecordName(String),
}

/// Which version of a subject's schema is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// The newest at the start.
    Latest,
    /// The one with this number, from 1.
    Number(i32),
    /// The one with this text, which must be registered.
    Text(String),
}

/// A standby store that several processes share, and how this process is one of them.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// The store.
    pub store: Arc<dyn SharedStandby>,
    /// What this process does while it cannot reach the store.
    pub mode: Mode,
    /// How long others wait for this process after it died. The clocks of two machines may differ in speed by a tenth of
    /// it.
    pub lease: Duration,
    /// How often the store is asked what others do; below a third of the lease.
    pub poll_every: Duration,
}

impl Fleet {
    /// With the usual times: a lease of 5 s, a look every 250 ms, and publishing on its own without the store.
    #[must_use]
    pub fn new(store: Arc<dyn SharedStandby>) -> Self {
        let usual = evenkeel_flow::diversion::Settings::default();
        Self {
            store,
            mode: usual.mode,
            lease: usual.lease,
            poll_every: usual.poll_every,
        }
    }
}

/// How missing topics are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewTopics {
    /// Partitions, 1 or more; -1 takes the broker's default.
    pub partitions: i32,
    /// Copies, 1 or more; -1 takes the broker's default.
    pub replication: i16,
}

impl Config {
    /// An application with the default settings, which creates no topics and knows no registry.
    #[must_use]
    pub fn new(application: impl Into<String>, kafka: Kafka, directory: impl Into<PathBuf>) -> Self {
        Self {
            application: application.into(),
            kafka,
            registry: None,
            directory: directory.into(),
            fleet: None,
            event_types: Vec::new(),
            new_topics: None,
            standby_bytes_max: 10 << 30,
            buffer_bytes_max: 64 << 20,
            room_wait_max: Duration::from_secs(10),
            linger: Duration::from_millis(5),
            batch_bytes_max: 256 << 10,
            compression: Compression::None,
            out_after: Duration::from_millis(500),
            send_timeout: Duration::from_secs(10),
            store_wait_max: Duration::from_secs(5),
            drain: Drain::default(),
        }
    }
}

impl EventType {
    /// Events of the type `name` on `topic`, by the newest schema of `<topic>-value`.
    #[must_use]
    pub fn new(name: impl Into<String>, topic: TopicName) -> Self {
        Self {
            name: name.into(),
            topic,
            subject: Subject::TopicName,
            version: Version::Latest,
        }
    }
}

impl Subject {
    /// The subject's name for events of `topic`.
    #[must_use]
    pub fn name(&self, topic: &TopicName) -> String {
        match self {
            Self::TopicName => format!("{topic}-value"),
            Self::RecordName(record) => record.clone(),
            Self::TopicRecordName(record) => format!("{topic}-{record}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_follow_confluents_strategies() {
        let topic = TopicName::new("orders").unwrap();
        let record = || "shop.OrderPlaced".to_owned();
        for (subject, expected) in [
            (Subject::TopicName, "orders-value"),
            (Subject::RecordName(record()), "shop.OrderPlaced"),
            (Subject::TopicRecordName(record()), "orders-shop.OrderPlaced"),
        ] {
            assert_eq!(subject.name(&topic), expected);
        }
    }
}
