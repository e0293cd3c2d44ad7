//! A group as it outlives its broker: what is kept of it, and how it goes on after a restart.
//!
//! It is kept whenever its assignment has become known to its members' leader, before any member is told its part, and
//! forgotten when nobody is left. What happened since it was last stable is lost with the broker: its members, who know
//! an older or a newer generation, join again.

use super::{
    machine::{Group, State},
    member::{Member, Millis},
};
use crate::storage::membership::{Enrolled, Membership};

impl Group {
    /// What is to be kept now, if that has changed since the last call: `Some(None)` when nobody is left.
    pub(super) fn take_news(&mut self) -> Option<Option<Membership>> {
        if !std::mem::take(&mut self.is_news) {
            return None;
        }
        match self.state {
            State::Stable => Some(Some(self.membership())),
            State::Empty => Some(None),
            State::Preparing(_) | State::Completing(_) => None,
        }
    }

    fn membership(&self) -> Membership {
        let members = self.members.iter().map(|(id, member)| Enrolled {
            id: id.clone(),
            instance: member.instance.clone(),
            client: member.client.clone(),
            host: member.host.clone(),
            session: member.session,
            rebalance: member.rebalance,
            protocols: member
                .protocols
                .iter()
                .map(|(name, metadata)| (name.clone(), metadata.to_vec()))
                .collect(),
            assignment: member.assignment.to_vec(),
        });
        Membership {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: members.collect(),
        }
    }

    /// Goes on with what was kept: its members' sessions begin anew at `now`.
    pub(super) fn revive(&mut self, now: Millis, kept: Membership) {
        self.state = State::Stable;
        self.generation = kept.generation;
        self.protocol_type = kept.protocol_type;
        self.protocol = kept.protocol;
        self.leader = kept.leader;
        for enrolled in kept.members {
            let mut member = Member {
                instance: enrolled.instance,
                client: enrolled.client,
                host: enrolled.host,
                session: enrolled.session,
                rebalance: enrolled.rebalance,
                protocols: enrolled
                    .protocols
                    .into_iter()
                    .map(|(name, metadata)| (name, metadata.into()))
                    .collect(),
                assignment: enrolled.assignment.into(),
                joining: None,
                syncing: None,
                expires: 0,
            };
            member.heard(now);
            self.members.insert(enrolled.id, member);
        }
    }
}
