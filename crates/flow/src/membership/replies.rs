//! What each answer makes of the member.

use std::collections::BTreeMap;

use evenkeel_event::{TopicName, TopicPartition};

use super::machine::{Coordinator, Held, HeldState, Member, Phase, Watch, wanted_topics};
use super::verdicts::{Verdict, verdict};
use super::{
    Assignment, Assignor, Candidate, Claim, CommitTrouble, Error, JoinedMember, Order, Reply, Subscription,
};

impl Member {
    /// Gives an answer to whatever waits for it. Nothing waits for the answer of a request that was given up.
    pub(super) fn answered(&mut self, request: u64, reply: Reply) {
        if self.coordinator == (Coordinator::Finding { request }) {
            return self.found(reply);
        }
        if self
            .pulse
            .in_flight
            .as_ref()
            .is_some_and(|beat| beat.request == request)
        {
            return self.beaten(&reply);
        }
        if self.commits.sent_as(request) {
            return self.committed(reply);
        }
        if self
            .watch
            .as_ref()
            .is_some_and(|watch| watch.request == Some(request))
        {
            return self.looked(reply);
        }
        match &self.phase {
            Phase::Joining { request: sent } if *sent == request => self.joined(reply),
            Phase::Describing { request: sent, .. } if *sent == Some(request) => self.described(reply),
            Phase::Syncing { request: sent, .. } if *sent == Some(request) => self.synced(reply),
            Phase::Leaving { request: sent } if *sent == Some(request) => self.left(&reply),
            _ => {}
        }
    }

    fn found(&mut self, reply: Reply) {
        match reply {
            Reply::Coordinator(node) => {
                self.coordinator = Coordinator::Known { node };
                self.pulse.due = self.now;
            }
            Reply::Refused(code) => {
                self.coordinator = Coordinator::Unknown;
                self.back_off();
                match verdict(code) {
                    Verdict::Hopeless => self.end(Some(self.hopeless(code))),
                    Verdict::Alarm => self.alarm(code),
                    _ => {}
                }
            }
            _ => {
                self.coordinator = Coordinator::Unknown;
                self.back_off();
            }
        }
    }

    /// The coordinator must be found again. What it was asked is asked anew; its late answers change nothing.
    fn coordinator_gone(&mut self) {
        if matches!(self.coordinator, Coordinator::Known { .. }) {
            self.coordinator = Coordinator::Unknown;
            self.back_off();
        }
        self.pulse.in_flight = None;
        match &mut self.phase {
            Phase::Joining { .. } => self.phase = Phase::Unjoined,
            Phase::Syncing { request, .. } | Phase::Leaving { request } => *request = None,
            _ => {}
        }
    }

    fn joined(&mut self, reply: Reply) {
        self.phase = Phase::Unjoined;
        match reply {
            Reply::MemberIdRequired(member_id) => {
                self.identity.member_id = member_id;
                self.succeeded();
            }
            Reply::Joined {
                generation,
                protocol,
                leader,
                member_id,
                members,
                skip_assignment,
            } => {
                let Some(assignor) = self.assignor_named(&protocol) else {
                    return self.end(Some(self.no_common_assignor()));
                };
                let leads = leader == member_id && !skip_assignment;
                self.identity.member_id = member_id;
                self.identity.generation = Some(generation);
                self.pulse.due = self.now + self.settings.heartbeat_interval;
                self.watch = None;
                self.succeeded();
                self.phase = if leads {
                    Phase::Describing {
                        request: None,
                        assignor,
                        members,
                    }
                } else {
                    self.syncing(assignor, Vec::new())
                };
            }
            Reply::Refused(code) => self.join_refused(code),
            _ => self.coordinator_gone(),
        }
    }

    fn join_refused(&mut self, code: i16) {
        match verdict(code) {
            Verdict::CoordinatorGone => self.coordinator_gone(),
            Verdict::Later | Verdict::Rebalance => self.back_off(),
            Verdict::UnknownMember => self.lose(true),
            Verdict::Outdated => self.lose(false),
            Verdict::Fenced => self.end(Some(self.fenced())),
            Verdict::Hopeless => self.end(Some(self.hopeless(code))),
            Verdict::Alarm => {
                self.back_off();
                self.alarm(code);
            }
        }
    }

    const fn syncing(&self, assignor: Assignor, plan: Vec<(String, Vec<u8>)>) -> Phase {
        let node = match self.coordinator {
            Coordinator::Known { node } => node,
            _ => -1,
        };
        Phase::Syncing {
            request: None,
            node,
            assignor,
            plan,
        }
    }

    /// The leader knows the topics' sizes and divides their partitions. A member whose subscription cannot be read
    /// gets none, and does not hold up the others.
    fn described(&mut self, reply: Reply) {
        let Reply::Described(counts) = reply else {
            if let Phase::Describing { request, .. } = &mut self.phase {
                *request = None;
            }
            return self.back_off();
        };
        let Phase::Describing {
            assignor, members, ..
        } = std::mem::replace(&mut self.phase, Phase::Unjoined)
        else {
            return;
        };
        self.succeeded();
        let candidates: Vec<Candidate> = members
            .iter()
            .filter_map(|member| candidate(member, assignor))
            .collect();
        let plan = assignor
            .assign(&candidates, &counts)
            .into_iter()
            .map(|(member_id, partitions)| {
                (
                    member_id,
                    Assignment {
                        partitions,
                        user_data: None,
                    }
                    .encode(),
                )
            })
            .collect();
        self.watch = Some(Watch {
            topics: wanted_topics(&members),
            counts,
            due: self.now + self.settings.metadata_interval,
            request: None,
            shrunk: false,
        });
        self.phase = self.syncing(assignor, plan);
    }

    /// A topic has grown or come into being: the group divides anew. What is missing must be missing twice, because a
    /// broker that has just started may not know all topics yet.
    fn looked(&mut self, reply: Reply) {
        let due = self.now + self.settings.metadata_interval;
        let Some(watch) = &mut self.watch else { return };
        watch.request = None;
        watch.due = due;
        let Reply::Described(counts) = reply else { return };
        let size = |counts: &BTreeMap<TopicName, i32>, topic| counts.get(topic).copied().unwrap_or(0);
        let grown = watch
            .topics
            .iter()
            .any(|topic| size(&counts, topic) > size(&watch.counts, topic));
        let shrunk = watch
            .topics
            .iter()
            .any(|topic| size(&counts, topic) < size(&watch.counts, topic));
        let changed = grown || (shrunk && watch.shrunk);
        watch.shrunk = shrunk;
        if changed && self.is_stable() {
            self.prepare();
        }
    }

    fn synced(&mut self, reply: Reply) {
        if let Phase::Syncing { request, .. } = &mut self.phase {
            *request = None;
        }
        match reply {
            Reply::Synced(bytes) => {
                self.succeeded();
                // A leader that writes what cannot be read gives this member nothing to do.
                let assignment = Assignment::decode(&bytes).unwrap_or_default();
                self.take(assignment.partitions);
            }
            Reply::Refused(code) => match verdict(code) {
                Verdict::CoordinatorGone => self.coordinator_gone(),
                Verdict::Later => self.back_off(),
                Verdict::Rebalance => self.phase = Phase::Unjoined,
                Verdict::UnknownMember => self.lose(true),
                Verdict::Outdated => self.lose(false),
                Verdict::Fenced => self.end(Some(self.fenced())),
                Verdict::Hopeless => self.end(Some(self.hopeless(code))),
                Verdict::Alarm => {
                    self.back_off();
                    self.alarm(code);
                }
            },
            _ => self.coordinator_gone(),
        }
    }

    /// The assignment of a new generation. What is held and not in it is given back, and then the member joins again
    /// so that others may get it.
    fn take(&mut self, assigned: Vec<TopicPartition>) {
        self.phase = Phase::Stable;
        let generation = self.identity.generation.unwrap_or(-1);
        if self.closing.is_some() {
            return;
        }
        let wanted = &self.settings.topics;
        let assigned: Vec<TopicPartition> = assigned
            .into_iter()
            .filter(|partition| wanted.contains(&partition.topic))
            .collect();
        self.revoke(|partition| !assigned.contains(partition));
        if !self.has_given_back() {
            self.phase = Phase::Preparing;
        }
        let mut claims = Vec::new();
        for partition in assigned {
            if !self.held.contains_key(&partition) {
                self.last_claim += 1;
                let number = self.last_claim;
                self.held.insert(
                    partition.clone(),
                    Held {
                        number,
                        state: HeldState::Owned,
                    },
                );
                claims.push(Claim { partition, number });
            }
        }
        self.orders.push(Order::Assign { claims, generation });
    }

    /// A heartbeat's answer counts only for the identity that it was sent with, and while a join is under way only as
    /// a sign of life: the join's own answer decides.
    fn beaten(&mut self, reply: &Reply) {
        let Some(beat) = self.pulse.in_flight.take() else {
            return;
        };
        let code = match reply {
            Reply::Refused(code) => *code,
            Reply::Unreachable => return self.coordinator_gone(),
            _ => return,
        };
        let current = beat.identity == self.identity && !matches!(self.phase, Phase::Joining { .. });
        match verdict(code) {
            Verdict::CoordinatorGone => self.coordinator_gone(),
            Verdict::Rebalance if current && beat.stable && self.is_stable() => self.prepare(),
            Verdict::UnknownMember if current => self.lose(true),
            Verdict::Outdated if current => self.lose(false),
            Verdict::Fenced if current => self.end(Some(self.fenced())),
            Verdict::Alarm | Verdict::Hopeless if current => self.alarm(code),
            _ => {}
        }
    }

    fn committed(&mut self, reply: Reply) {
        let codes: BTreeMap<TopicPartition, i16> = match reply {
            Reply::Committed(codes) => codes.into_iter().collect(),
            Reply::Refused(code) => return self.commit_refused(code, &BTreeMap::new()),
            _ => return self.commit_refused(7, &BTreeMap::new()),
        };
        // These concern the member or the coordinator, and so all partitions alike.
        let whole = codes.values().copied().find(|code| {
            !matches!(
                verdict(*code),
                Verdict::Alarm | Verdict::Later | Verdict::Hopeless
            ) && *code != 0
        });
        if let Some(code) = whole {
            return self.commit_refused(code, &codes);
        }
        let retried = codes.values().any(|code| is_passing(*code));
        self.commits.answered(
            |partition| match codes.get(partition) {
                Some(0) => Some(Ok(())),
                Some(code) if is_passing(*code) => None,
                code => Some(Err(CommitTrouble::Refused(code.copied().unwrap_or(-1)))),
            },
            &mut self.orders,
        );
        self.pause_commits(retried);
    }

    /// The whole request failed for `code`; what `codes` tells as committed is.
    fn commit_refused(&mut self, code: i16, codes: &BTreeMap<TopicPartition, i16>) {
        let current = self.commits.sent_by() == Some(&self.identity);
        let done = |partition: &TopicPartition| (codes.get(partition) == Some(&0)).then_some(Ok(()));
        let judged = verdict(code);
        let final_code = matches!(judged, Verdict::Hopeless | Verdict::Alarm);
        self.commits.answered(
            |partition| done(partition).or_else(|| final_code.then_some(Err(CommitTrouble::Refused(code)))),
            &mut self.orders,
        );
        self.pause_commits(true);
        match judged {
            Verdict::CoordinatorGone => self.coordinator_gone(),
            // An older identity's commit says nothing about the present one: it is sent again with that.
            Verdict::UnknownMember if current => self.lose(true),
            Verdict::Outdated if current => self.lose(false),
            Verdict::Fenced if current => self.end(Some(self.fenced())),
            Verdict::Alarm | Verdict::Hopeless => self.alarm(code),
            _ => {}
        }
    }

    fn pause_commits(&mut self, failed: bool) {
        self.commits.failures = if failed {
            self.commits.failures.saturating_add(1)
        } else {
            0
        };
        let jitter = self.jitter();
        let wait = self.settings.backoff.wait(self.commits.failures.max(1), jitter);
        self.commits.not_before = if failed { self.now + wait } else { self.now };
    }

    fn left(&mut self, reply: &Reply) {
        match reply {
            Reply::Refused(code) if matches!(verdict(*code), Verdict::CoordinatorGone) => {
                self.coordinator_gone()
            }
            Reply::Refused(14) => {
                self.phase = Phase::Leaving { request: None };
                self.back_off();
            }
            Reply::Unreachable => self.coordinator_gone(),
            _ => self.end(None),
        }
    }

    const fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = self.now;
        self.alarmed = None;
    }

    fn alarm(&mut self, code: i16) {
        if self.alarmed.replace(code) != Some(code) {
            self.orders.push(Order::Alarm { code });
        }
    }

    fn assignor_named(&self, name: &str) -> Option<Assignor> {
        self.settings
            .assignors
            .iter()
            .copied()
            .find(|assignor| assignor.name() == name)
    }

    fn no_common_assignor(&self) -> Error {
        let names: Vec<&str> = self
            .settings
            .assignors
            .iter()
            .map(|assignor| assignor.name())
            .collect();
        Error::NoCommonAssignor {
            group: self.settings.group.clone(),
            assignors: names.join(", "),
        }
    }

    fn fenced(&self) -> Error {
        Error::Fenced {
            group: self.settings.group.clone(),
            instance: self.settings.instance.clone().unwrap_or_default(),
        }
    }

    fn hopeless(&self, code: i16) -> Error {
        let group = self.settings.group.clone();
        match code {
            23 => self.no_common_assignor(),
            26 => Error::SessionTimeout {
                group,
                millis: self.settings.session_timeout.as_millis(),
            },
            _ => Error::Refused { group, code },
        }
    }
}

/// Codes of a single partition that pass: the coordinator loads, or a broker does not know the topic yet.
const fn is_passing(code: i16) -> bool {
    matches!(code, 3 | 14)
}

fn candidate(member: &JoinedMember, assignor: Assignor) -> Option<Candidate> {
    let subscription = Subscription::decode(&member.metadata).ok()?;
    let generation = subscription.generation_for(assignor);
    Some(Candidate {
        member_id: member.member_id.clone(),
        instance: member.instance.clone(),
        topics: subscription.topics.into_iter().collect(),
        owned: if assignor.is_cooperative() {
            subscription.owned
        } else {
            Vec::new()
        },
        generation,
    })
}
