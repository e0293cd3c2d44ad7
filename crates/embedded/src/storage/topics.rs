//! The topics that exist, as every request looks them up.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use uuid::Uuid;

use super::{
    batch::Rules,
    partition::Partition,
    topic_config::{Given, Obeyed},
};

/// One topic. It is replaced as a whole when something of it changes.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) given: Given,
    pub(crate) obeyed: Obeyed,
    pub(crate) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub(crate) fn partition(&self, number: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(number).ok()?)
    }

    /// What the topic demands of a batch at this time.
    pub(crate) fn rules(&self, now_ms: i64) -> Rules {
        Rules {
            message_bytes_max: self.obeyed.message_bytes_max,
            keys_required: self.obeyed.is_compacted,
            timestamp_before_ms: self.obeyed.timestamp_before_ms,
            timestamp_after_ms: self.obeyed.timestamp_after_ms,
            now_ms,
        }
    }
}

/// All topics, by name and by id. Only the log's thread changes them.
#[derive(Debug, Default)]
pub(crate) struct Topics(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl Topics {
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().by_name.get(name).cloned()
    }

    pub(crate) fn with_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.read().by_id.get(&id).cloned()
    }

    /// All of them, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.read().by_name.values().cloned().collect()
    }

    pub(crate) fn partitions(&self) -> usize {
        self.read()
            .by_name
            .values()
            .map(|topic| topic.partitions.len())
            .sum()
    }

    pub(super) fn put(&self, topic: Arc<Topic>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.by_id.insert(topic.id, Arc::clone(&topic));
        known.by_name.insert(topic.name.clone(), topic);
    }

    pub(super) fn remove(&self, topic: &Topic) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.by_id.remove(&topic.id);
        known.by_name.remove(&topic.name);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a name that Kafka refuses: 1 to 249 of `a-z A-Z 0-9 . _ -`, neither `.` nor `..`.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal) {
        return Ok(());
    }
    Err("a topic's name is 1 to 249 of a-z A-Z 0-9 . _ - and neither . nor ..".into())
}
