//! The state of one group and what each request does to it, without clock or I/O.
//!
//! Rules (Kafka's classic group coordinator):
//! - A new member, a leaver, an expired member and a changed subscription begin a rebalance; nothing else does.
//! - A rebalance ends when every member has joined and every id that was given out was used, or at its deadline,
//!   which drops the members that did not come.
//! - The leader's assignment makes the group stable; whoever has not synced by the deadline is dropped.
//! - A request of another generation or of an unknown member changes nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::member::{Member, Millis, Protocols, Ticket};

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    /// Members are joining until then.
    Preparing(Millis),
    /// The leader's assignment is awaited until then.
    Completing(Millis),
    Stable,
}

impl State {
    /// Its name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Preparing(_) => "PreparingRebalance",
            Self::Completing(_) => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) leader: String,
    pub(super) members: BTreeMap<String, Member>,
    /// Ids that were given out and not used yet, and until when they may be.
    pub(super) pending: BTreeMap<String, Millis>,
    pub(super) orders: Vec<Order>,
    /// How long the first rebalance of an empty group waits for more members.
    pub(super) first_wait: Millis,
    /// The first rebalance is under way, and waits for its deadline.
    pub(super) gathering: bool,
    members_max: usize,
    /// What is to be kept of it has changed.
    pub(super) is_news: bool,
}

/// An answer to somebody who waits.
#[derive(Debug, PartialEq)]
pub(crate) enum Order {
    Join(Ticket, Result<Joined, Denied>),
    Sync(Ticket, Result<Synced, ResponseError>),
}

/// The end of a rebalance, for one member. Only the leader is told of the others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member: String,
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
    /// A static leader came back and the assignment stands (KIP-814).
    pub(crate) skip_assignment: bool,
}

/// A join that was not taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Denied {
    pub(crate) error: ResponseError,
    /// The id to come back with, or the one that was sent.
    pub(crate) member: String,
}

/// A member's part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

/// A request to join.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    pub(crate) ticket: Ticket,
    /// Empty for a new member.
    pub(crate) member: String,
    /// The id that a new member gets.
    pub(crate) fresh: String,
    pub(crate) instance: Option<String>,
    pub(crate) client: String,
    pub(crate) host: String,
    pub(crate) session: Millis,
    pub(crate) rebalance: Millis,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Protocols,
    /// A new member must come again with the id it is given (KIP-394).
    pub(crate) must_return: bool,
    /// The client understands an assignment that is not asked for.
    pub(crate) may_skip: bool,
}

/// Who speaks, and of which generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speaker<'a> {
    pub(crate) member: &'a str,
    pub(crate) instance: Option<&'a str>,
    pub(crate) generation: i32,
}

/// A request for a member's part; the leader's brings everybody's.
#[derive(Debug)]
pub(crate) struct Sync<'a> {
    pub(crate) ticket: Ticket,
    pub(crate) speaker: Speaker<'a>,
    /// From version 5 on, what the client believes was chosen.
    pub(crate) protocol_type: Option<&'a str>,
    pub(crate) protocol: Option<&'a str>,
    pub(crate) assignments: BTreeMap<String, Bytes>,
}

impl Group {
    pub(crate) fn new(first_wait: Millis, members_max: usize) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            orders: Vec::new(),
            first_wait,
            gathering: false,
            members_max,
            is_news: false,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    pub(crate) fn protocol(&self) -> &str {
        &self.protocol
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members.iter().map(|(id, member)| (id.as_str(), member))
    }

    /// Whether nobody is in it or on the way into it.
    pub(crate) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// The answers since the last call.
    pub(crate) fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    pub(crate) fn join(&mut self, now: Millis, join: Join) {
        let (ticket, asked) = (join.ticket, join.member.clone());
        if let Err(denied) = self.try_join(now, join) {
            let member = if denied.member.is_empty() {
                asked
            } else {
                denied.member
            };
            self.orders.push(Order::Join(
                ticket,
                Err(Denied {
                    error: denied.error,
                    member,
                }),
            ));
        }
    }

    fn try_join(&mut self, now: Millis, join: Join) -> Result<(), Denied> {
        let deny = |error| {
            Err(Denied {
                error,
                member: String::new(),
            })
        };
        if join.protocol_type.is_empty() || join.protocols.is_empty() || !self.suits(&join) {
            return deny(ResponseError::InconsistentGroupProtocol);
        }
        let holder = join
            .instance
            .as_deref()
            .and_then(|instance| self.holder_of(instance));
        if join.member.is_empty() {
            if let Some(holder) = holder {
                self.replace(now, &holder, join);
                return Ok(());
            }
            if self.members.len() + self.pending.len() >= self.members_max {
                return deny(ResponseError::GroupMaxSizeReached);
            }
            if join.must_return && join.instance.is_none() {
                self.pending
                    .insert(join.fresh.clone(), now.saturating_add(join.session));
                return Err(Denied {
                    error: ResponseError::MemberIdRequired,
                    member: join.fresh,
                });
            }
            let id = join.fresh.clone();
            self.add(now, id, join);
            return Ok(());
        }
        if holder.as_ref().is_some_and(|holder| *holder != join.member) {
            return deny(ResponseError::FencedInstanceId);
        }
        if self.pending.remove(&join.member).is_some() {
            let id = join.member.clone();
            self.add(now, id, join);
            return Ok(());
        }
        if !self.members.contains_key(&join.member) {
            return deny(ResponseError::UnknownMemberId);
        }
        self.rejoin(now, join);
        Ok(())
    }

    /// Whether the others would have a protocol in common with this one.
    fn suits(&self, join: &Join) -> bool {
        let mut others = self
            .members
            .iter()
            .filter(|(id, _)| **id != join.member)
            .peekable();
        if others.peek().is_none() {
            return true;
        }
        join.protocol_type == self.protocol_type
            && join
                .protocols
                .iter()
                .any(|(name, _)| others.clone().all(|(_, member)| member.knows(name)))
    }

    fn holder_of(&self, instance: &str) -> Option<String> {
        let holds = |member: &Member| member.instance.as_deref() == Some(instance);
        self.members
            .iter()
            .find(|(_, member)| holds(member))
            .map(|(id, _)| id.clone())
    }

    fn add(&mut self, now: Millis, id: String, join: Join) {
        let Join {
            ticket,
            instance,
            client,
            host,
            session,
            rebalance,
            protocol_type,
            protocols,
            ..
        } = join;
        if self.members.is_empty() {
            self.protocol_type = protocol_type;
        }
        let expires = now.saturating_add(session);
        let assignment = Bytes::new();
        let member = Member {
            instance,
            client,
            host,
            session,
            rebalance,
            protocols,
            assignment,
            joining: Some(ticket),
            syncing: None,
            expires,
        };
        self.members.insert(id, member);
        self.prepare(now);
    }

    /// A member that is known joins again.
    fn rejoin(&mut self, now: Millis, join: Join) {
        let is_leader = join.member == self.leader;
        let same = self
            .members
            .get(&join.member)
            .is_some_and(|member| member.protocols == join.protocols);
        let answered = match self.state {
            State::Completing(_) => same,
            State::Stable => same && !is_leader,
            State::Empty | State::Preparing(_) => false,
        };
        if answered {
            // Its answer was lost, or it only wants to know where the group stands.
            let joined = self.joined(&join.member);
            if let Some(member) = self.members.get_mut(&join.member) {
                member.heard(now);
            }
            self.orders.push(Order::Join(join.ticket, Ok(joined)));
            return;
        }
        if let Some(member) = self.members.get_mut(&join.member) {
            if let Some(older) = member.joining.replace(join.ticket) {
                let denied = Denied {
                    error: ResponseError::UnknownMemberId,
                    member: join.member.clone(),
                };
                self.orders.push(Order::Join(older, Err(denied)));
            }
            member.protocols = join.protocols;
            member.session = join.session;
            member.rebalance = join.rebalance;
            member.heard(now);
        }
        self.prepare(now);
    }

    /// A static member came back under a new id: it takes its predecessor's place.
    fn replace(&mut self, now: Millis, holder: &str, join: Join) {
        let Some(mut member) = self.members.remove(holder) else {
            return;
        };
        let fenced = ResponseError::FencedInstanceId;
        if let Some(older) = member.joining.take() {
            self.orders.push(Order::Join(
                older,
                Err(Denied {
                    error: fenced,
                    member: holder.into(),
                }),
            ));
        }
        if let Some(older) = member.syncing.take() {
            self.orders.push(Order::Sync(older, Err(fenced)));
        }
        let was_leader = self.leader == holder;
        let id = join.fresh.clone();
        if was_leader {
            self.leader.clone_from(&id);
        }
        member.protocols = join.protocols;
        member.session = join.session;
        member.rebalance = join.rebalance;
        member.heard(now);
        self.members.insert(id.clone(), member);
        // What it says about itself may differ; the generation stands while the protocol would be chosen again.
        if self.state == State::Stable && self.choose() == self.protocol {
            self.is_news = true;
            let mut joined = self.joined(&id);
            joined.skip_assignment = was_leader && join.may_skip;
            if was_leader && !join.may_skip {
                // It would assign anew; as a follower it fetches what stands (what Kafka does before KIP-814).
                joined.leader = holder.into();
                joined.members.clear();
            }
            self.orders.push(Order::Join(join.ticket, Ok(joined)));
            return;
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.joining = Some(join.ticket);
        }
        self.prepare(now);
    }

    /// Who speaks must be a member of this generation.
    fn check(&self, speaker: Speaker<'_>) -> Result<(), ResponseError> {
        if let Some(holder) = speaker.instance.and_then(|instance| self.holder_of(instance))
            && holder != speaker.member
        {
            return Err(ResponseError::FencedInstanceId);
        }
        if !self.members.contains_key(speaker.member) {
            return Err(ResponseError::UnknownMemberId);
        }
        if speaker.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self, now: Millis, sync: Sync<'_>) {
        let ticket = sync.ticket;
        if let Err(error) = self.try_sync(now, sync) {
            self.orders.push(Order::Sync(ticket, Err(error)));
        }
    }

    fn try_sync(&mut self, now: Millis, sync: Sync<'_>) -> Result<(), ResponseError> {
        self.check(sync.speaker)?;
        let differs = |said: Option<&str>, is: &str| said.is_some_and(|said| said != is);
        if differs(sync.protocol_type, &self.protocol_type) || differs(sync.protocol, &self.protocol) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let synced = self.synced(sync.speaker.member);
        let is_leader = sync.speaker.member == self.leader;
        let Some(member) = self.members.get_mut(sync.speaker.member) else {
            return Err(ResponseError::UnknownMemberId);
        };
        match self.state {
            State::Empty => return Err(ResponseError::UnknownMemberId),
            State::Preparing(_) => return Err(ResponseError::RebalanceInProgress),
            State::Stable => {
                member.heard(now);
                self.orders.push(Order::Sync(sync.ticket, Ok(synced)));
            }
            State::Completing(_) => {
                member.heard(now);
                if let Some(older) = member.syncing.replace(sync.ticket) {
                    self.orders
                        .push(Order::Sync(older, Err(ResponseError::RebalanceInProgress)));
                }
                if is_leader {
                    self.assign(now, sync.assignments);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn heartbeat(&mut self, now: Millis, speaker: Speaker<'_>) -> Result<(), ResponseError> {
        self.check(speaker)?;
        if let Some(member) = self.members.get_mut(speaker.member) {
            member.heard(now);
        }
        match self.state {
            State::Preparing(_) => Err(ResponseError::RebalanceInProgress),
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::Completing(_) | State::Stable => Ok(()),
        }
    }

    /// A member goes; a static one may be named by its instance alone.
    pub(crate) fn leave(
        &mut self,
        now: Millis,
        id: &str,
        instance: Option<&str>,
    ) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            let holder = self.holder_of(instance).ok_or(ResponseError::UnknownMemberId)?;
            if !id.is_empty() && id != holder {
                return Err(ResponseError::FencedInstanceId);
            }
            self.remove(now, &holder);
            return Ok(());
        }
        if self.pending.remove(id).is_some() {
            self.complete_if_all_joined(now);
            return Ok(());
        }
        if !self.members.contains_key(id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.remove(now, id);
        Ok(())
    }

    /// Whether a commit of offsets is taken. Who is no member may commit only while the group is empty.
    pub(crate) fn commit(&mut self, now: Millis, speaker: Speaker<'_>) -> Result<(), ResponseError> {
        if speaker.generation < 0 && speaker.member.is_empty() && self.members.is_empty() {
            return Ok(());
        }
        self.check(speaker)?;
        if let Some(member) = self.members.get_mut(speaker.member) {
            member.heard(now);
        }
        match self.state {
            State::Completing(_) => Err(ResponseError::RebalanceInProgress),
            State::Empty | State::Preparing(_) | State::Stable => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Millis = 1_000;
    const REBALANCE: Millis = 5_000;

    /// A group and the tickets of its requests.
    struct Play {
        group: Group,
        ticket: Ticket,
    }

    fn play() -> Play {
        Play {
            group: Group::new(0, 3),
            ticket: 0,
        }
    }

    impl Play {
        fn join(&mut self, now: Millis, member: &str, fresh: &str, instance: Option<&str>) -> Vec<Order> {
            self.ticket += 1;
            let protocols = vec![("range".into(), Bytes::from_static(b"m"))];
            self.group.join(
                now,
                Join {
                    ticket: self.ticket,
                    member: member.into(),
                    fresh: fresh.into(),
                    instance: instance.map(Into::into),
                    client: "c".into(),
                    host: "h".into(),
                    session: SESSION,
                    rebalance: REBALANCE,
                    protocol_type: "consumer".into(),
                    protocols,
                    must_return: false,
                    may_skip: true,
                },
            );
            self.group.take_orders()
        }

        fn sync(&mut self, now: Millis, member: &str, generation: i32, parts: &[&str]) -> Vec<Order> {
            self.ticket += 1;
            let assignments = parts
                .iter()
                .map(|id| ((*id).to_owned(), Bytes::copy_from_slice(id.as_bytes())));
            let speaker = Speaker {
                member,
                instance: None,
                generation,
            };
            let assignments = assignments.collect();
            self.group.sync(
                now,
                Sync {
                    ticket: self.ticket,
                    speaker,
                    protocol_type: None,
                    protocol: None,
                    assignments,
                },
            );
            self.group.take_orders()
        }

        fn heartbeat(&mut self, now: Millis, member: &str, generation: i32) -> i16 {
            let speaker = Speaker {
                member,
                instance: None,
                generation,
            };
            self.group
                .heartbeat(now, speaker)
                .err()
                .map_or(0, |error| error.code())
        }

        fn tick(&mut self, now: Millis) -> Vec<Order> {
            self.group.tick(now);
            self.group.take_orders()
        }

        /// Two members, stable in generation 2.
        fn pair() -> Self {
            let mut play = play();
            play.join(0, "", "a", None);
            play.sync(0, "a", 1, &["a"]);
            play.join(0, "", "b", None);
            play.join(0, "a", "", None);
            play.sync(0, "b", 2, &[]);
            play.sync(0, "a", 2, &["a", "b"]);
            assert_eq!(play.group.state(), State::Stable);
            play
        }
    }

    /// Who was told of which generation, or the error code negated.
    fn told(orders: &[Order]) -> Vec<(&str, i32)> {
        let one = |order: &'_ Order| match order {
            Order::Join(_, Ok(joined)) => (joined.member.clone(), joined.generation),
            Order::Join(_, Err(denied)) => (denied.member.clone(), -i32::from(denied.error.code())),
            Order::Sync(_, Ok(synced)) => (String::from_utf8(synced.assignment.to_vec()).unwrap(), 0),
            Order::Sync(_, Err(error)) => (String::new(), -i32::from(error.code())),
        };
        let mut all: Vec<_> = orders.iter().map(one).collect();
        all.sort();
        all.into_iter()
            .map(|(member, number)| (&*member.leak(), number))
            .collect()
    }

    #[test]
    fn a_rebalance_ends_when_everybody_has_joined() {
        let mut play = play();
        assert_eq!(told(&play.join(0, "", "a", None)), [("a", 1)]);
        assert_eq!(told(&play.sync(0, "a", 1, &["a"])), [("a", 0)]);
        assert_eq!(told(&play.join(0, "", "b", None)), []);
        assert_eq!(play.heartbeat(0, "a", 1), 27);
        assert_eq!(told(&play.join(0, "a", "", None)), [("a", 2), ("b", 2)]);
        assert_eq!(told(&play.sync(0, "b", 2, &[])), []);
        assert_eq!(told(&play.sync(0, "a", 2, &["a", "b"])), [("a", 0), ("b", 0)]);
        assert_eq!((play.heartbeat(0, "a", 2), play.heartbeat(0, "a", 1)), (0, 22));
    }

    #[test]
    fn who_does_not_join_in_time_is_out() {
        let mut play = Play::pair();
        play.join(0, "a", "", None);
        play.heartbeat(REBALANCE - 1, "b", 2);
        assert_eq!(told(&play.tick(REBALANCE - 1)), []);
        assert_eq!(told(&play.tick(REBALANCE)), [("a", 3)]);
        assert_eq!(play.heartbeat(REBALANCE, "b", 2), 25);
    }

    #[test]
    fn who_is_not_heard_of_is_out_and_the_others_join_anew() {
        let mut play = Play::pair();
        play.heartbeat(SESSION / 2, "a", 2);
        assert_eq!(play.group.next_deadline(), Some(SESSION));
        assert_eq!(told(&play.tick(SESSION)), []);
        assert_eq!(play.heartbeat(SESSION, "a", 2), 27);
        assert_eq!(told(&play.join(SESSION, "a", "", None)), [("a", 3)]);
    }

    #[test]
    fn a_leader_that_never_assigns_holds_nobody_for_ever() {
        let mut play = play();
        play.join(0, "", "a", None);
        play.sync(0, "a", 1, &["a"]);
        play.join(0, "", "b", None);
        play.join(0, "a", "", None);
        play.sync(0, "b", 2, &[]);
        play.heartbeat(0, "a", 2);
        let later = play.group.next_deadline().unwrap();
        assert_eq!(
            told(&play.tick(later)),
            [("", -27)],
            "b is told to join again when a's session ends"
        );
        assert_eq!(told(&play.join(later, "b", "", None)), [("b", 3)]);
    }

    #[test]
    fn a_follower_that_joins_again_unchanged_disturbs_nobody() {
        let mut play = Play::pair();
        assert_eq!(told(&play.join(1, "b", "", None)), [("b", 2)]);
        assert_eq!(play.heartbeat(1, "a", 2), 0);
    }

    #[test]
    fn a_static_member_comes_back_without_a_rebalance_and_fences_its_predecessor() {
        let mut play = play();
        play.join(0, "", "a", Some("i"));
        play.sync(0, "a", 1, &["a"]);
        let orders = play.join(1, "", "a2", Some("i"));
        assert_eq!(told(&orders), [("a2", 1)]);
        assert!(
            matches!(&orders[0], Order::Join(_, Ok(joined)) if joined.skip_assignment && joined.leader == "a2")
        );
        assert_eq!(told(&play.sync(1, "a2", 1, &[])), [("a", 0)]);
        assert_eq!(told(&play.join(1, "a", "", Some("i"))), [("a", -82)]);
    }

    #[test]
    fn strangers_and_too_many_are_refused() {
        let mut play = Play::pair();
        assert_eq!(told(&play.join(0, "nobody", "", None)), [("nobody", -25)]);
        assert_eq!(told(&play.sync(0, "nobody", 2, &[])), [("", -25)]);
        play.join(0, "", "c", None);
        assert_eq!(told(&play.join(0, "", "d", None)), [("", -81)]);
    }

    #[test]
    fn leaving_ends_a_membership_at_once() {
        let mut play = Play::pair();
        assert_eq!(play.group.leave(0, "a", None), Ok(()));
        assert_eq!(
            play.group.leave(0, "a", None),
            Err(ResponseError::UnknownMemberId)
        );
        assert_eq!(told(&play.join(0, "b", "", None)), [("b", 3)]);
        assert_eq!(play.group.leave(0, "b", None), Ok(()));
        assert_eq!((play.group.state(), play.group.is_idle()), (State::Empty, true));
    }
}
