//! What groups leave on disk: the offsets that they have committed, and who was in them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};

use super::{membership::Membership, partition::held};

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
    /// A group became stable; `None` when nobody is left in it.
    Membership {
        group: String,
        membership: Option<Membership>,
    },
    /// The group was deleted.
    GroupGone { group: String },
    /// The topic was deleted.
    TopicGone { topic: String },
}

type OfGroup = BTreeMap<(String, i32), Committed>;

/// All committed offsets, and the memberships beside them. Only the log's thread changes them, after they are durable.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    committed: Mutex<HashMap<String, OfGroup>>,
    memberships: Mutex<HashMap<String, Membership>>,
}

impl Offsets {
    pub(crate) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        held(&self.committed)
            .get(group)?
            .get(&(topic.to_owned(), partition))
            .cloned()
    }

    /// Everything that a group has committed, by topic and partition.
    pub(crate) fn of_group(&self, group: &str) -> OfGroup {
        held(&self.committed).get(group).cloned().unwrap_or_default()
    }

    /// Every group that has committed something.
    pub(crate) fn groups(&self) -> Vec<String> {
        held(&self.committed).keys().cloned().collect()
    }

    pub(crate) fn knows(&self, group: &str) -> bool {
        held(&self.committed).contains_key(group)
    }

    /// The groups that were stable when they were last heard of.
    pub(crate) fn memberships(&self) -> HashMap<String, Membership> {
        held(&self.memberships).clone()
    }

    pub(super) fn take_in(&self, fact: Fact) {
        let mut known = held(&self.committed);
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
            Fact::Membership {
                group,
                membership: Some(membership),
            } => {
                held(&self.memberships).insert(group, membership);
            }
            Fact::Membership {
                group,
                membership: None,
            } => {
                held(&self.memberships).remove(&group);
            }
            Fact::GroupGone { group } => {
                known.remove(&group);
                held(&self.memberships).remove(&group);
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
        let known = held(&self.committed);
        let memberships = held(&self.memberships);
        let stable = memberships.iter().map(|(group, membership)| Fact::Membership {
            group: group.clone(),
            membership: Some(membership.clone()),
        });
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
        all.chain(stable).collect()
    }
}
