//! The offsets that groups have committed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};

use super::partition::held;

/// One partition's committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// One fact of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fact {
    Committed {
        group: String,
        topic: String,
        partition: i32,
        committed: Committed,
    },
    /// One offset was deleted.
    Gone {
        group: String,
        topic: String,
        partition: i32,
    },
    /// The group was deleted.
    GroupGone { group: String },
    /// The topic was deleted.
    TopicGone { topic: String },
}

type OfGroup = BTreeMap<(String, i32), Committed>;

/// All committed offsets. Only the log's thread changes them, after they are durable.
#[derive(Debug, Default)]
pub(crate) struct Offsets(Mutex<HashMap<String, OfGroup>>);

impl Offsets {
    pub(crate) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        held(&self.0)
            .get(group)?
            .get(&(topic.to_owned(), partition))
            .cloned()
    }

    /// Everything that a group has committed, by topic and partition.
    pub(crate) fn of_group(&self, group: &str) -> OfGroup {
        held(&self.0).get(group).cloned().unwrap_or_default()
    }

    /// Every group that has committed something.
    pub(crate) fn groups(&self) -> Vec<String> {
        held(&self.0).keys().cloned().collect()
    }

    pub(crate) fn knows(&self, group: &str) -> bool {
        held(&self.0).contains_key(group)
    }

    pub(super) fn take_in(&self, fact: Fact) {
        let mut known = held(&self.0);
        match fact {
            Fact::Committed {
                group,
                topic,
                partition,
                committed,
            } => {
                known
                    .entry(group)
                    .or_default()
                    .insert((topic, partition), committed);
            }
            Fact::Gone {
                group,
                topic,
                partition,
            } => {
                let Some(offsets) = known.get_mut(&group) else {
                    return;
                };
                offsets.remove(&(topic, partition));
                if offsets.is_empty() {
                    known.remove(&group);
                }
            }
            Fact::GroupGone { group } => {
                known.remove(&group);
            }
            Fact::TopicGone { topic } => {
                for offsets in known.values_mut() {
                    offsets.retain(|(name, _), _| *name != topic);
                }
                known.retain(|_, offsets| !offsets.is_empty());
            }
        }
    }

    /// The fewest facts that say the same.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let known = held(&self.0);
        let all = known.iter().flat_map(|(group, offsets)| {
            offsets
                .iter()
                .map(|((topic, partition), committed)| Fact::Committed {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    committed: committed.clone(),
                })
        });
        all.collect()
    }
}
