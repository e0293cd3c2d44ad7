//! How a rebalance begins and ends, and what time does to a group.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::{
    machine::{Denied, Group, Joined, Order, State, Synced},
    member::{Member, Millis},
};

impl Group {
    /// Begins a rebalance, or goes on with the one under way.
    pub(super) fn prepare(&mut self, now: Millis) {
        let wait = match self.state {
            State::Empty => self.first_wait,
            _ => self.longest(),
        };
        if !matches!(self.state, State::Preparing(_)) {
            for member in self.members.values_mut() {
                if let Some(ticket) = member.syncing.take() {
                    self.orders
                        .push(Order::Sync(ticket, Err(ResponseError::RebalanceInProgress)));
                }
            }
            self.gathering = self.state == State::Empty && self.first_wait > 0;
            self.state = State::Preparing(now.saturating_add(wait));
        }
        self.complete_if_all_joined(now);
    }

    /// The longest time that a member may take to join.
    fn longest(&self) -> Millis {
        self.members
            .values()
            .map(|member| member.rebalance)
            .max()
            .unwrap_or(0)
    }

    pub(super) fn complete_if_all_joined(&mut self, now: Millis) {
        let all = self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some());
        if all && !self.gathering && matches!(self.state, State::Preparing(_)) {
            self.complete(now);
        }
    }

    /// Ends the joining: who did not come is out, but for static members, which have until their session ends.
    fn complete(&mut self, now: Millis) {
        self.gathering = false;
        self.members
            .retain(|_, member| member.joining.is_some() || member.instance.is_some());
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.state = State::Empty;
            self.is_news = true;
            self.leader.clear();
            self.protocol.clear();
            return;
        }
        let here = |member: &Member| member.joining.is_some();
        if !self.members.get(&self.leader).is_some_and(here) {
            let next = self
                .members
                .iter()
                .find(|(_, member)| here(member))
                .map(|(id, _)| id.clone());
            let Some(next) = next else {
                self.state = State::Preparing(now.saturating_add(self.longest()));
                return;
            };
            self.leader = next;
        }
        self.protocol = self.choose();
        self.state = State::Completing(now.saturating_add(self.longest()));
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = Bytes::new();
                member.heard(now);
                if let Some(ticket) = member.joining.take() {
                    self.orders.push(Order::Join(ticket, Ok(joined)));
                }
            }
        }
    }

    /// The protocol that everybody knows and most like best; of equals, the leader's first.
    pub(super) fn choose(&self) -> String {
        let Some(leader) = self.members.get(&self.leader) else {
            return String::new();
        };
        let common = |name: &str| self.members.values().all(|member| member.knows(name));
        let candidates = leader
            .protocols
            .iter()
            .map(|(name, _)| name)
            .filter(|name| common(name));
        let votes = |candidate: &str| {
            let first = |member: &Member| {
                member
                    .protocols
                    .iter()
                    .find(|(name, _)| common(name))
                    .is_some_and(|(name, _)| name == candidate)
            };
            self.members.values().filter(|member| first(member)).count()
        };
        let mut best: Option<(&String, usize)> = None;
        for candidate in candidates {
            let count = votes(candidate);
            if best.is_none_or(|(_, most)| count > most) {
                best = Some((candidate, count));
            }
        }
        best.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// Where the group stands, as a member is told.
    pub(super) fn joined(&self, id: &str) -> Joined {
        let all = self.members.iter().map(|(id, member)| {
            (
                id.clone(),
                member.instance.clone(),
                member.metadata(&self.protocol),
            )
        });
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member: id.to_owned(),
            members: if id == self.leader {
                all.collect()
            } else {
                Vec::new()
            },
            skip_assignment: false,
        }
    }

    pub(super) fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self
                .members
                .get(id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }

    /// The leader's word makes the group stable.
    pub(super) fn assign(&mut self, now: Millis, mut assignments: BTreeMap<String, Bytes>) {
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        self.state = State::Stable;
        self.is_news = true;
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let synced = self.synced(&id);
            if let Some(member) = self.members.get_mut(&id)
                && let Some(ticket) = member.syncing.take()
            {
                member.heard(now);
                self.orders.push(Order::Sync(ticket, Ok(synced)));
            }
        }
    }

    /// Takes a member out, and tells it if it waits.
    pub(super) fn remove(&mut self, now: Millis, id: &str) {
        let Some(member) = self.members.remove(id) else {
            return;
        };
        let error = ResponseError::UnknownMemberId;
        if let Some(ticket) = member.joining {
            self.orders.push(Order::Join(
                ticket,
                Err(Denied {
                    error,
                    member: id.into(),
                }),
            ));
        }
        if let Some(ticket) = member.syncing {
            self.orders.push(Order::Sync(ticket, Err(error)));
        }
        match self.state {
            State::Stable | State::Completing(_) => self.prepare(now),
            State::Preparing(_) => self.complete_if_all_joined(now),
            State::Empty => {}
        }
    }

    /// When the next thing happens by itself.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let own = match self.state {
            State::Preparing(deadline) | State::Completing(deadline) => Some(deadline),
            State::Empty | State::Stable => None,
        };
        let sessions = self
            .members
            .values()
            .filter(|member| !member.is_waiting())
            .map(|member| member.expires);
        own.into_iter()
            .chain(sessions)
            .chain(self.pending.values().copied())
            .min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Millis) {
        let before = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        if self.pending.len() < before {
            self.complete_if_all_joined(now);
        }
        let dead = |member: &Member| !member.is_waiting() && member.expires <= now;
        let expired: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| dead(member))
            .map(|(id, _)| id.clone())
            .collect();
        for id in expired {
            tracing::info!(
                member = id,
                "a group member was not heard of within its session and is out"
            );
            self.remove(now, &id);
        }
        match self.state {
            State::Preparing(deadline) if deadline <= now => {
                self.pending.clear();
                self.complete(now);
            }
            State::Completing(deadline) if deadline <= now => self.drop_unsynced(now),
            _ => {}
        }
    }

    /// The assignment did not come in time: who has not asked for its part is out.
    fn drop_unsynced(&mut self, now: Millis) {
        let absent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.syncing.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in absent {
            self.remove(now, &id);
        }
    }
}
