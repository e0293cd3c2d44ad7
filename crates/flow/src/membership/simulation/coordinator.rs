//! A group coordinator as Kafka's: what it answers, whom it lets wait, and what it forgets when it moves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_event::TopicPartition;

use crate::membership::{Identity, JoinedMember, Mark, Reply};

/// Whom to answer: a member's process and the number of its request.
pub(super) type Asker = (usize, u64);
/// Answers that go out now.
pub(super) type Answers = Vec<(Asker, Reply)>;

#[derive(Debug, Clone)]
struct Seat {
    metadata: Vec<u8>,
    expires: Duration,
    joining: Option<Asker>,
    syncing: Option<Asker>,
    assignment: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preparing { deadline: Duration },
    Completing,
    Stable,
}

#[derive(Debug, Clone)]
pub(super) struct Coordinator {
    pub(super) node: i32,
    pub(super) generation: i32,
    pub(super) offsets: BTreeMap<TopicPartition, i64>,
    protocol: &'static str,
    session: Duration,
    rebalance: Duration,
    state: State,
    seats: BTreeMap<String, Seat>,
    leader: String,
    expected: BTreeSet<String>,
    last_id: u32,
    /// What the next coordinator will know: the last generation that got its assignment.
    stored: Option<(i32, String, BTreeMap<String, Seat>)>,
}

impl Coordinator {
    pub(super) fn new(protocol: &'static str, session: Duration, rebalance: Duration) -> Self {
        Self {
            node: 1,
            generation: 0,
            offsets: BTreeMap::new(),
            protocol,
            session,
            rebalance,
            state: State::Stable,
            seats: BTreeMap::new(),
            leader: String::new(),
            expected: BTreeSet::new(),
            last_id: 0,
            stored: None,
        }
    }

    pub(super) fn is_stable(&self) -> bool {
        self.state == State::Stable
    }

    pub(super) fn join(&mut self, now: Duration, asker: Asker, id: &str, metadata: &[u8]) -> Answers {
        if id.is_empty() {
            self.last_id += 1;
            let id = format!("member-{}", self.last_id);
            self.expected.insert(id.clone());
            return vec![(asker, Reply::MemberIdRequired(id))];
        }
        let (known, leads) = (self.seats.contains_key(id), self.leader == id);
        if !self.expected.remove(id) && !known {
            return vec![(asker, Reply::Refused(25))];
        }
        let seat = self.seats.entry(id.to_owned()).or_insert_with(|| Seat {
            metadata: Vec::new(),
            expires: now,
            joining: None,
            syncing: None,
            assignment: Vec::new(),
        });
        let same = seat.metadata == metadata;
        seat.expires = now + self.session;
        let current = match self.state {
            State::Preparing { .. } => false,
            State::Completing => known && same,
            State::Stable => known && same && !leads,
        };
        if current {
            return vec![(asker, self.joined(id))];
        }
        seat.metadata = metadata.to_vec();
        seat.joining = Some(asker);
        let mut answers = self.prepare(now);
        answers.extend(self.complete_if_all_joined(now));
        answers
    }

    fn joined(&self, id: &str) -> Reply {
        let members = self.seats.iter().map(|(member_id, seat)| JoinedMember {
            member_id: member_id.clone(),
            instance: None,
            metadata: seat.metadata.clone(),
        });
        Reply::Joined {
            generation: self.generation,
            protocol: self.protocol.to_owned(),
            leader: self.leader.clone(),
            member_id: id.to_owned(),
            members: if self.leader == id {
                members.collect()
            } else {
                Vec::new()
            },
            skip_assignment: false,
        }
    }

    fn prepare(&mut self, now: Duration) -> Answers {
        if !matches!(self.state, State::Preparing { .. }) {
            self.state = State::Preparing {
                deadline: now + self.rebalance,
            };
        }
        let waiting = self.seats.values_mut().filter_map(|seat| seat.syncing.take());
        waiting.map(|asker| (asker, Reply::Refused(27))).collect()
    }

    fn complete_if_all_joined(&mut self, now: Duration) -> Answers {
        let State::Preparing { deadline } = self.state else {
            return Vec::new();
        };
        let all = self.expected.is_empty() && self.seats.values().all(|seat| seat.joining.is_some());
        if !all && now < deadline {
            return Vec::new();
        }
        self.expected.clear();
        self.seats.retain(|_, seat| seat.joining.is_some());
        if self.seats.is_empty() {
            self.state = State::Stable;
            return Vec::new();
        }
        if !self.seats.contains_key(&self.leader) {
            self.leader = self.seats.keys().next().cloned().unwrap();
        }
        self.generation += 1;
        self.state = State::Completing;
        let ids: Vec<String> = self.seats.keys().cloned().collect();
        let mut answers = Vec::new();
        for id in ids {
            let reply = self.joined(&id);
            let seat = self.seats.get_mut(&id).unwrap();
            seat.expires = now + self.session;
            answers.extend(seat.joining.take().map(|asker| (asker, reply)));
        }
        answers
    }

    fn check(&mut self, now: Duration, identity: &Identity) -> Result<(), Reply> {
        let seat = self
            .seats
            .get_mut(&identity.member_id)
            .ok_or(Reply::Refused(25))?;
        if identity.generation != Some(self.generation) {
            return Err(Reply::Refused(22));
        }
        seat.expires = now + self.session;
        Ok(())
    }

    pub(super) fn heartbeat(&mut self, now: Duration, identity: &Identity) -> Reply {
        match self.check(now, identity) {
            Err(refused) => refused,
            Ok(()) if matches!(self.state, State::Preparing { .. }) => Reply::Refused(27),
            Ok(()) => Reply::Done,
        }
    }

    pub(super) fn sync(
        &mut self,
        now: Duration,
        asker: Asker,
        identity: &Identity,
        plan: &[(String, Vec<u8>)],
    ) -> Answers {
        if let Err(refused) = self.check(now, identity) {
            return vec![(asker, refused)];
        }
        let leads = self.leader == identity.member_id;
        match self.state {
            State::Preparing { .. } => vec![(asker, Reply::Refused(27))],
            State::Stable => {
                let assignment = self.seats[&identity.member_id].assignment.clone();
                vec![(asker, Reply::Synced(assignment))]
            }
            State::Completing => {
                self.seats.get_mut(&identity.member_id).unwrap().syncing = Some(asker);
                if leads { self.assign(now, plan) } else { Vec::new() }
            }
        }
    }

    fn assign(&mut self, now: Duration, plan: &[(String, Vec<u8>)]) -> Answers {
        let plan: BTreeMap<&String, &Vec<u8>> = plan.iter().map(|(id, bytes)| (id, bytes)).collect();
        let mut answers = Vec::new();
        for (id, seat) in &mut self.seats {
            seat.assignment = plan.get(id).map(|bytes| (*bytes).clone()).unwrap_or_default();
            seat.expires = now + self.session;
            let waiting = seat.syncing.take();
            answers.extend(waiting.map(|asker| (asker, Reply::Synced(seat.assignment.clone()))));
        }
        self.state = State::Stable;
        self.stored = Some((self.generation, self.leader.clone(), self.seats.clone()));
        answers
    }

    pub(super) fn commit(
        &mut self,
        now: Duration,
        identity: &Identity,
        offsets: &[(TopicPartition, Mark)],
    ) -> Reply {
        match self.check(now, identity) {
            Err(refused) => refused,
            Ok(()) if self.state == State::Completing => Reply::Refused(27),
            Ok(()) => {
                self.offsets.extend(
                    offsets
                        .iter()
                        .map(|(partition, mark)| (partition.clone(), mark.offset)),
                );
                Reply::Committed(
                    offsets
                        .iter()
                        .map(|(partition, _)| (partition.clone(), 0))
                        .collect(),
                )
            }
        }
    }

    pub(super) fn leave(&mut self, now: Duration, id: &str) -> (Reply, Answers) {
        self.expected.remove(id);
        let Some(seat) = self.seats.remove(id) else {
            return (Reply::Refused(25), Vec::new());
        };
        let waiting = [seat.joining, seat.syncing].into_iter().flatten();
        let mut answers: Answers = waiting.map(|asker| (asker, Reply::Refused(25))).collect();
        answers.extend(self.without_a_member(now));
        (Reply::Done, answers)
    }

    fn without_a_member(&mut self, now: Duration) -> Answers {
        let mut answers = self.prepare(now);
        answers.extend(self.complete_if_all_joined(now));
        answers
    }

    /// Removes members that were silent for a session and ends a rebalance that took too long.
    pub(super) fn tick(&mut self, now: Duration) -> Answers {
        let before = self.seats.len();
        let mut answers = Vec::new();
        self.seats.retain(|_, seat| {
            let alive = seat.joining.is_some() || now < seat.expires;
            if !alive {
                answers.extend(seat.syncing.map(|asker| (asker, Reply::Refused(25))));
            }
            alive
        });
        if self.seats.len() < before {
            answers.extend(self.without_a_member(now));
        }
        answers.extend(self.complete_if_all_joined(now));
        answers
    }

    /// Another node takes over with what was stored. Whoever waits for an answer sees its connection close.
    pub(super) fn fail_over(&mut self, now: Duration) -> Answers {
        let waiting = self
            .seats
            .values()
            .flat_map(|seat| [seat.joining, seat.syncing])
            .flatten();
        let answers = waiting.map(|asker| (asker, Reply::Unreachable)).collect();
        self.node += 1;
        self.state = State::Stable;
        self.expected.clear();
        (self.generation, self.leader, self.seats) = self.stored.clone().unwrap_or_default();
        for seat in self.seats.values_mut() {
            seat.expires = now + self.session;
            seat.joining = None;
            seat.syncing = None;
        }
        answers
    }
}
