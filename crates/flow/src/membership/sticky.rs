//! The assignor `cooperative-sticky`: balance first, then as few moves as can be, and no partition handed over in the
//! generation in which its holder must still give it back (KIP-429).

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_event::{TopicName, TopicPartition};

use super::assignor::{Candidate, Plan};

/// Rounds of moving partitions from fuller members to emptier ones. Each move lowers the sum of squared loads, so that
/// rounds end by themselves; the limit bounds the time that absurd subscriptions can take.
const ROUNDS_MAX: usize = 64;

/// Divides the partitions. What moves from one member to another is left out: its holder sees that it lost it, joins
/// again without it, and the next generation hands it out.
pub(super) fn assign(members: &[Candidate], counts: &BTreeMap<TopicName, i32>) -> Plan {
    let mut balance = Balance::new(members, counts);
    balance.keep_what_is_owned();
    balance.hand_out_the_rest();
    balance.even_out();
    balance.without_handovers()
}

struct Balance<'a> {
    members: &'a [Candidate],
    counts: &'a BTreeMap<TopicName, i32>,
    /// Members (by index) that want a topic.
    wanting: BTreeMap<&'a TopicName, Vec<usize>>,
    /// The member that owns a partition when it joins, where one claim beats all others.
    rightful: BTreeMap<TopicPartition, usize>,
    holder: BTreeMap<TopicPartition, usize>,
    load: BTreeMap<usize, usize>,
}

impl<'a> Balance<'a> {
    fn new(members: &'a [Candidate], counts: &'a BTreeMap<TopicName, i32>) -> Self {
        let wanting = counts
            .keys()
            .map(|topic| {
                let indexes = members
                    .iter()
                    .enumerate()
                    .filter(|(_, member)| member.topics.contains(topic))
                    .map(|(index, _)| index)
                    .collect();
                (topic, indexes)
            })
            .collect();
        let load = (0..members.len()).map(|index| (index, 0)).collect();
        let (rightful, holder) = Default::default();
        Self {
            members,
            counts,
            wanting,
            rightful,
            holder,
            load,
        }
    }

    fn load_of(&self, member: usize) -> usize {
        self.load.get(&member).copied().unwrap_or(0)
    }

    fn exists(&self, partition: &TopicPartition) -> bool {
        self.counts
            .get(&partition.topic)
            .is_some_and(|count| (0..*count).contains(&partition.partition))
    }

    fn give(&mut self, partition: TopicPartition, to: usize) {
        if let Some(from) = self.holder.insert(partition, to)
            && let Some(load) = self.load.get_mut(&from)
        {
            *load = load.saturating_sub(1);
        }
        *self.load.entry(to).or_default() += 1;
    }

    /// A partition stays with the member that claims it with the highest generation. Two claims of one generation
    /// cannot both be right, so that neither counts.
    fn keep_what_is_owned(&mut self) {
        let mut claims: BTreeMap<&TopicPartition, (i32, Option<usize>)> = BTreeMap::new();
        for (index, member) in self.members.iter().enumerate() {
            let owned: BTreeSet<&TopicPartition> = member.owned.iter().collect();
            for partition in owned {
                let claim = claims.entry(partition).or_insert((i32::MIN, None));
                if member.generation > claim.0 {
                    *claim = (member.generation, Some(index));
                } else if member.generation == claim.0 {
                    claim.1 = None;
                }
            }
        }
        for (partition, (_, owner)) in claims {
            let Some(owner) = owner else { continue };
            self.rightful.insert(partition.clone(), owner);
            let wanted = self
                .members
                .get(owner)
                .is_some_and(|m| m.topics.contains(&partition.topic));
            if wanted && self.exists(partition) {
                self.give(partition.clone(), owner);
            }
        }
    }

    fn hand_out_the_rest(&mut self) {
        for (topic, count) in self.counts {
            for partition in 0..*count {
                let partition = TopicPartition {
                    topic: topic.clone(),
                    partition,
                };
                if !self.holder.contains_key(&partition)
                    && let Some(to) = self.emptiest(topic)
                {
                    self.give(partition, to);
                }
            }
        }
    }

    /// The member with the fewest partitions among those that want `topic`; among equals the first by member id.
    fn emptiest(&self, topic: &TopicName) -> Option<usize> {
        let wanting = self.wanting.get(topic)?;
        wanting.iter().copied().min_by_key(|index| {
            (
                self.load_of(*index),
                self.members.get(*index).map(|member| member.member_id.as_str()),
            )
        })
    }

    fn even_out(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if !self.even_out_once() {
                return;
            }
        }
    }

    /// What nobody owned yet moves first, so that the owned stay where they are.
    fn even_out_once(&mut self) -> bool {
        let mut moved = false;
        let (new, owned): (Vec<_>, Vec<_>) = self
            .holder
            .iter()
            .map(|(partition, from)| (partition.clone(), *from))
            .partition(|(partition, from)| self.rightful.get(partition) != Some(from));
        for (partition, from) in new.into_iter().chain(owned) {
            if let Some(to) = self.emptiest(&partition.topic)
                && self.load_of(to) + 2 <= self.load_of(from)
            {
                self.give(partition, to);
                moved = true;
            }
        }
        moved
    }

    /// Leaves out each partition that moves while another member than its new one claims it, whatever the generation
    /// of the claim: that member learns from its assignment that it must give it back.
    fn without_handovers(self) -> Plan {
        let mut claimants: BTreeMap<&TopicPartition, BTreeSet<usize>> = BTreeMap::new();
        for (index, member) in self.members.iter().enumerate() {
            for partition in &member.owned {
                claimants.entry(partition).or_default().insert(index);
            }
        }
        let mut plan: Plan = self
            .members
            .iter()
            .map(|member| (member.member_id.clone(), Vec::new()))
            .collect();
        for (partition, holder) in &self.holder {
            let stays = self.rightful.get(partition) == Some(holder);
            let claimed = claimants
                .get(partition)
                .is_some_and(|claimants| claimants.iter().any(|claimant| claimant != holder));
            if let (true, Some(member)) = (stays || !claimed, self.members.get(*holder)) {
                plan.entry(member.member_id.clone())
                    .or_default()
                    .push(partition.clone());
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    fn owned(names: &[&str]) -> Vec<TopicPartition> {
        names
            .iter()
            .map(|name| {
                let (name, partition) = name.rsplit_once('-').unwrap();
                TopicPartition {
                    topic: topic(name),
                    partition: partition.parse().unwrap(),
                }
            })
            .collect()
    }

    fn member(id: &str, generation: i32, partitions: &[&str]) -> Candidate {
        Candidate {
            member_id: id.to_owned(),
            instance: None,
            topics: BTreeSet::from([topic("t")]),
            owned: owned(partitions),
            generation,
        }
    }

    fn check(members: &[Candidate], count: i32, expected: &[&[&str]]) {
        let plan = assign(members, &BTreeMap::from([(topic("t"), count)]));
        let got: Vec<Vec<TopicPartition>> = plan.into_values().collect();
        let expected: Vec<Vec<TopicPartition>> = expected.iter().map(|names| owned(names)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_newcomer_waits_until_its_partitions_are_given_back() {
        let old = member("a", 1, &["t-0", "t-1", "t-2", "t-3"]);
        check(&[old, member("b", -1, &[])], 4, &[&["t-2", "t-3"], &[]]);
        let after = member("a", 2, &["t-2", "t-3"]);
        check(
            &[after, member("b", 2, &[])],
            4,
            &[&["t-2", "t-3"], &["t-0", "t-1"]],
        );
    }

    #[test]
    fn what_a_dead_member_held_is_handed_out_at_once() {
        check(
            &[member("a", 3, &["t-0", "t-1"]), member("b", 3, &["t-2", "t-3"])],
            6,
            &[&["t-0", "t-1", "t-4"], &["t-2", "t-3", "t-5"]],
        );
    }

    #[test]
    fn the_younger_of_two_claims_wins_and_equal_ones_both_lose() {
        check(
            &[member("a", 5, &["t-0"]), member("b", 3, &["t-0"])],
            1,
            &[&["t-0"], &[]],
        );
        check(
            &[member("a", 5, &["t-0"]), member("b", 5, &["t-0"])],
            1,
            &[&[], &[]],
        );
    }

    #[test]
    fn partitions_that_are_gone_are_forgotten() {
        check(&[member("a", 5, &["t-0", "t-7", "u-0"])], 1, &[&["t-0"]]);
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (
            proptest::collection::btree_set(0..3_usize, 1..=3),
            proptest::collection::vec((0..4_usize, -1..9_i32), 0..8),
            -1..4_i32,
        );
        proptest::collection::vec(one, 1..6).prop_map(|members| {
            let names = ["t", "u", "v", "gone"].map(topic);
            members
                .into_iter()
                .enumerate()
                .map(|(index, (topics, owned, generation))| Candidate {
                    member_id: format!("m{index}"),
                    instance: None,
                    topics: topics.into_iter().map(|at| names[at].clone()).collect(),
                    owned: owned
                        .into_iter()
                        .map(|(at, partition)| TopicPartition {
                            topic: names[at].clone(),
                            partition,
                        })
                        .collect(),
                    generation,
                })
                .collect()
        })
    }

    proptest! {
        /// Whatever members claim: no partition twice or to one that does not want it. When all do what they are
        /// told, members with the same topics have everything handed out in the second plan, members that differ a
        /// little later, and then nothing moves any more.
        #[test]
        fn plans_settle(mut members in candidates(), same in any::<bool>()) {
            if same {
                let topics = members[0].topics.clone();
                members.iter_mut().for_each(|member| member.topics = topics.clone());
            }
            let counts = BTreeMap::from([(topic("t"), 5), (topic("u"), 3), (topic("v"), 0)]);
            let mut plans = Vec::new();
            for generation in 10..16 {
                let plan = assign(&members, &counts);
                let mut seen = BTreeSet::new();
                for member in &mut members {
                    for partition in &plan[&member.member_id] {
                        prop_assert!(member.topics.contains(&partition.topic));
                        prop_assert!(seen.insert(partition.clone()));
                    }
                    member.owned = plan[&member.member_id].clone();
                    member.generation = generation;
                }
                plans.push((plan, seen.len()));
            }
            let wanted: i32 = counts
                .iter()
                .filter(|(topic, _)| members.iter().any(|member| member.topics.contains(*topic)))
                .map(|(_, count)| count)
                .sum();
            let settled = if same { 1 } else { 4 };
            prop_assert_eq!(plans[settled].1, usize::try_from(wanted).unwrap());
            prop_assert_eq!(&plans[settled].0, &plans[5].0);
        }
    }
}
