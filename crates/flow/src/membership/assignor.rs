//! How the leader divides the partitions among the members.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_event::{TopicName, TopicPartition};

use super::sticky;

/// A way to divide partitions, by the names that Java and librdkafka know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// `range`: per topic, each member a run of neighbouring partitions. Eager: at every change all members give all
    /// partitions back first, so that one new generation is enough.
    Range,
    /// `cooperative-sticky` (KIP-429): members keep what they have where balance allows, and only partitions that
    /// move stand still; a change takes two generations when partitions move between living members.
    CooperativeSticky,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The coordinator's name for it.
    pub member_id: String,
    /// Its own name, if it is a static member (KIP-345).
    pub instance: Option<String>,
    /// The topics it wants.
    pub topics: BTreeSet<TopicName>,
    /// What it holds while it joins.
    pub owned: Vec<TopicPartition>,
    /// The generation in which it got them; -1 when unknown.
    pub generation: i32,
}

/// Partitions by member id.
pub type Plan = BTreeMap<String, Vec<TopicPartition>>;

impl Assignor {
    /// The name in JoinGroup.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// True when members keep their partitions while they join again.
    #[must_use]
    pub const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// Divides the partitions of `counts` (topic to number of partitions) among `members`. Each partition goes to one
    /// member at most, and only to one that wants its topic. A topic that is missing in `counts` is not divided.
    #[must_use]
    pub fn assign(self, members: &[Candidate], counts: &BTreeMap<TopicName, i32>) -> Plan {
        match self {
            Self::Range => range(members, counts),
            Self::CooperativeSticky => sticky::assign(members, counts),
        }
    }
}

/// Per topic, members in order of their own name or else the coordinator's, static members first, as Java's
/// `RangeAssignor` without racks: the first members get one partition more where it does not come out even.
fn range(members: &[Candidate], counts: &BTreeMap<TopicName, i32>) -> Plan {
    let mut plan: Plan = members
        .iter()
        .map(|member| (member.member_id.clone(), Vec::new()))
        .collect();
    let mut ordered: Vec<&Candidate> = members.iter().collect();
    ordered.sort_by_key(|member| {
        (
            member.instance.is_none(),
            member.instance.as_deref(),
            member.member_id.as_str(),
        )
    });
    for (topic, count) in counts {
        let wanting: Vec<&&Candidate> = ordered
            .iter()
            .filter(|member| member.topics.contains(topic))
            .collect();
        let Ok(members) = i32::try_from(wanting.len()) else {
            continue;
        };
        if members == 0 {
            continue;
        }
        let (each, more) = (count / members, count % members);
        let mut next = 0;
        for (member, index) in wanting.iter().zip(0..) {
            let end = next + each + i32::from(index < more);
            let run = (next..end).map(|partition| TopicPartition {
                topic: topic.clone(),
                partition,
            });
            plan.entry(member.member_id.clone()).or_default().extend(run);
            next = end;
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, instance: Option<&str>, topics: &[&str]) -> Candidate {
        Candidate {
            member_id: id.to_owned(),
            instance: instance.map(str::to_owned),
            topics: topics.iter().map(|name| TopicName::new(name).unwrap()).collect(),
            owned: Vec::new(),
            generation: -1,
        }
    }

    fn show(plan: &Plan) -> Vec<String> {
        plan.iter()
            .map(|(member, partitions)| {
                let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
                format!("{member}: {}", names.join(" "))
            })
            .collect()
    }

    #[test]
    fn ranges_are_those_of_java() {
        let counts = BTreeMap::from([
            (TopicName::new("t").unwrap(), 5),
            (TopicName::new("u").unwrap(), 2),
        ]);
        let members = [
            candidate("c", None, &["t"]),
            candidate("a", None, &["t", "u"]),
            candidate("b", None, &["t"]),
        ];
        assert_eq!(
            show(&range(&members, &counts)),
            ["a: t-0 t-1 u-0 u-1", "b: t-2 t-3", "c: t-4"]
        );
    }

    #[test]
    fn static_members_come_first_by_their_own_names() {
        let counts = BTreeMap::from([(TopicName::new("t").unwrap(), 3)]);
        let members = [
            candidate("a", None, &["t"]),
            candidate("z", Some("i1"), &["t"]),
            candidate("b", Some("i2"), &["t"]),
        ];
        assert_eq!(show(&range(&members, &counts)), ["a: t-2", "b: t-1", "z: t-0"]);
    }
}
