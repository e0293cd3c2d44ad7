//! The member: what it is doing, and what each input makes it do.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_event::{TopicName, TopicPartition};

use super::commits::Commits;
use super::{Assignor, Claim, Identity, Input, JoinedMember, Order, Settings, Subscription};

/// One member of a group. Time is a monotonic clock's, from any start.
#[derive(Debug)]
pub struct Member {
    pub(super) settings: Settings,
    pub(super) now: Duration,
    pub(super) coordinator: Coordinator,
    pub(super) identity: Identity,
    pub(super) phase: Phase,
    pub(super) held: BTreeMap<TopicPartition, Held>,
    pub(super) commits: Commits,
    pub(super) pulse: Pulse,
    pub(super) watch: Option<Watch>,
    /// The application works on records since then; `None` while it waits for some.
    pub(super) busy_since: Option<Duration>,
    /// The topics changed while a rebalance was under way.
    pub(super) rejoin_wanted: bool,
    pub(super) closing: Option<Duration>,
    pub(super) failures: u32,
    pub(super) not_before: Duration,
    pub(super) alarmed: Option<i16>,
    pub(super) last_request: u64,
    pub(super) last_claim: u64,
    pub(super) orders: Vec<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coordinator {
    Unknown,
    Finding { request: u64 },
    Known { node: i32 },
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Joins as soon as the coordinator is known.
    Unjoined,
    /// In the generation, but gives partitions back in order to join again.
    Preparing,
    Joining {
        request: u64,
    },
    /// Leads the new generation and asks how many partitions there are.
    Describing {
        request: Option<u64>,
        assignor: Assignor,
        members: Vec<JoinedMember>,
    },
    /// Joined at `node` and waits for the assignment.
    Syncing {
        request: Option<u64>,
        node: i32,
        assignor: Assignor,
        plan: Vec<(String, Vec<u8>)>,
    },
    Stable,
    /// Left because the application did not look at the stream for too long.
    Resting,
    Leaving {
        request: Option<u64>,
    },
    Closed,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) number: u64,
    pub(super) state: HeldState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeldState {
    Owned,
    /// The application is finishing.
    Revoking,
    /// The application has finished; its last commits may be under way.
    Released,
}

/// The heartbeat.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    pub(super) in_flight: Option<Beat>,
    pub(super) due: Duration,
}

#[derive(Debug)]
pub(super) struct Beat {
    pub(super) request: u64,
    pub(super) identity: Identity,
    /// Sent as a stable member: only then does "rebalance in progress" tell anything new.
    pub(super) stable: bool,
}

/// The leader's eye on the topics' sizes.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) counts: BTreeMap<TopicName, i32>,
    pub(super) topics: Vec<TopicName>,
    pub(super) due: Duration,
    pub(super) request: Option<u64>,
    /// Something was missing at the last look. A broker that has just started may not know all topics yet.
    pub(super) shrunk: bool,
}

impl Member {
    /// A member that begins to join at the first input.
    #[must_use]
    pub fn new(settings: Settings, now: Duration) -> Self {
        Self {
            settings,
            now,
            coordinator: Coordinator::Unknown,
            identity: Identity::default(),
            phase: Phase::Unjoined,
            held: BTreeMap::new(),
            commits: Commits::default(),
            pulse: Pulse::default(),
            watch: None,
            busy_since: Some(now),
            rejoin_wanted: false,
            closing: None,
            failures: 0,
            not_before: now,
            alarmed: None,
            last_request: 0,
            last_claim: 0,
            orders: Vec::new(),
        }
    }

    /// Takes one input at the time `now` and says what to do, in order.
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Order> {
        self.now = self.now.max(now);
        match input {
            Input::Tick => {}
            Input::Answered { request, reply } => self.answered(request, reply),
            Input::Waiting => self.busy_since = None,
            Input::Busy => self.busy_since = Some(self.now),
            Input::Released(claims) => self.released(&claims),
            Input::Commit { ticket, offsets } => {
                let until = self.now + self.settings.commit_timeout;
                let held = &self.held;
                let is_held = |claim: &Claim| {
                    held.get(&claim.partition)
                        .is_some_and(|held| held.number == claim.number && held.state != HeldState::Released)
                };
                self.commits
                    .accept(ticket, offsets, until, is_held, &mut self.orders);
            }
            Input::Subscribe(topics) => {
                self.settings.topics = topics;
                self.rejoin_wanted = true;
            }
            Input::Close { within } => self.close(within),
        }
        self.advance();
        std::mem::take(&mut self.orders)
    }

    /// When [`Input::Tick`] is wanted next, if nothing else comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let node_known = matches!(self.coordinator, Coordinator::Known { .. });
        let waits = match &self.phase {
            Phase::Closed => return None,
            Phase::Unjoined
            | Phase::Describing { request: None, .. }
            | Phase::Syncing { request: None, .. } => Some(self.not_before),
            _ => (self.coordinator == Coordinator::Unknown).then_some(self.not_before),
        };
        let beat =
            (node_known && self.is_beating() && self.pulse.in_flight.is_none()).then_some(self.pulse.due);
        let commit =
            (node_known && self.may_commit() && self.commits.is_due()).then_some(self.commits.not_before);
        let look = self
            .watch
            .as_ref()
            .filter(|watch| watch.request.is_none() && self.is_stable() && node_known);
        [
            waits.filter(|at| *at > self.now),
            beat,
            commit.filter(|at| *at > self.now),
            look.map(|watch| watch.due),
            self.commits.expires_at(),
            self.closing,
            self.rests_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The generation that the member takes part in.
    #[must_use]
    pub const fn generation(&self) -> Option<i32> {
        self.identity.generation
    }

    /// The coordinator's name for the member; empty before it is known.
    #[must_use]
    pub fn member_id(&self) -> &str {
        &self.identity.member_id
    }

    /// The coordinator's node, while it is known. Positions are read from it.
    #[must_use]
    pub const fn coordinator(&self) -> Option<i32> {
        match self.coordinator {
            Coordinator::Known { node } => Some(node),
            _ => None,
        }
    }

    /// True while the member is in a generation that no rebalance has ended yet.
    #[must_use]
    pub const fn is_stable(&self) -> bool {
        matches!(self.phase, Phase::Stable)
    }

    /// How the member behaves.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) const fn number_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }

    /// Lets the next request to find, join or sync wait a little longer than the last time.
    pub(super) fn back_off(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = self.now + self.settings.backoff.wait(self.failures, self.jitter());
    }

    /// The members of a group should not come back in step; their member ids differ.
    pub(super) fn jitter(&self) -> u8 {
        let seed = u8::try_from(self.last_request & 0xff).unwrap_or_default();
        self.identity
            .member_id
            .bytes()
            .fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
    }

    /// Does whatever can be done now.
    fn advance(&mut self) {
        self.commits.expire(self.now, &mut self.orders);
        self.rest_if_too_slow();
        self.let_go_of_released();
        if self.rejoin_wanted && self.is_stable() {
            self.prepare();
        }
        self.leave_if_closing();
        if matches!(self.phase, Phase::Preparing) && self.closing.is_none() && self.has_given_back() {
            self.phase = Phase::Unjoined;
        }
        match self.coordinator {
            Coordinator::Known { node } => {
                self.join_or_sync(node);
                self.beat(node);
                self.commit(node);
                self.look();
            }
            Coordinator::Unknown if self.wants_coordinator() && self.now >= self.not_before => {
                let request = self.number_request();
                self.coordinator = Coordinator::Finding { request };
                self.orders.push(Order::FindCoordinator { request });
            }
            _ => {}
        }
    }

    const fn wants_coordinator(&self) -> bool {
        !matches!(self.phase, Phase::Resting | Phase::Closed)
    }

    fn join_or_sync(&mut self, node: i32) {
        if self.now < self.not_before {
            return;
        }
        match &self.phase {
            Phase::Unjoined => self.join(node),
            Phase::Describing { request: None, .. } => self.describe(),
            Phase::Syncing { request: None, .. } => self.sync(node),
            Phase::Leaving { request: None } => self.leave(node),
            _ => {}
        }
    }

    fn join(&mut self, node: i32) {
        let request = self.number_request();
        self.phase = Phase::Joining { request };
        self.rejoin_wanted = false;
        // The coordinator keeps a member alive while its JoinGroup waits; heartbeats only tell that it still runs.
        self.pulse.due = self.now + self.settings.heartbeat_interval;
        let metadata = self.subscription();
        let protocols = self
            .settings
            .assignors
            .iter()
            .map(|assignor| (assignor.name(), metadata.with_user_data_of(*assignor).encode()))
            .collect();
        let member_id = self.identity.member_id.clone();
        self.orders.push(Order::Join {
            request,
            node,
            member_id,
            protocols,
        });
    }

    fn subscription(&self) -> Subscription {
        let owned = self
            .held
            .iter()
            .filter(|(_, held)| held.state == HeldState::Owned);
        Subscription {
            topics: self.settings.topics.clone(),
            user_data: None,
            owned: owned.map(|(partition, _)| partition.clone()).collect(),
            generation: self.identity.generation.unwrap_or(-1),
            rack: self.settings.rack.clone(),
        }
    }

    fn describe(&mut self) {
        let number = self.number_request();
        if let Phase::Describing { request, members, .. } = &mut self.phase {
            *request = Some(number);
            let topics = wanted_topics(members);
            self.orders.push(Order::Describe {
                request: number,
                topics,
            });
        }
    }

    /// Sends SyncGroup again to the coordinator that formed the generation. Another one may not know of it: then the
    /// member joins again, and keeps what it holds.
    fn sync(&mut self, at: i32) {
        let number = self.number_request();
        let Phase::Syncing {
            request,
            node,
            assignor,
            plan,
        } = &mut self.phase
        else {
            return;
        };
        if *node != at {
            self.phase = Phase::Unjoined;
            return self.join(at);
        }
        *request = Some(number);
        self.orders.push(Order::Sync {
            request: number,
            node: at,
            identity: self.identity.clone(),
            protocol: assignor.name(),
            assignments: plan.clone(),
        });
    }

    /// True while heartbeats are sent: as a member, and as a probe of the coordinator while joining.
    const fn is_beating(&self) -> bool {
        match self.phase {
            Phase::Joining { .. }
            | Phase::Describing { .. }
            | Phase::Syncing { .. }
            | Phase::Stable
            | Phase::Preparing => true,
            Phase::Unjoined | Phase::Resting | Phase::Leaving { .. } | Phase::Closed => false,
        }
    }

    fn beat(&mut self, node: i32) {
        if !self.is_beating() || self.pulse.in_flight.is_some() || self.now < self.pulse.due {
            return;
        }
        let request = self.number_request();
        let identity = self.identity.clone();
        self.pulse.in_flight = Some(Beat {
            request,
            identity: identity.clone(),
            stable: matches!(self.phase, Phase::Stable),
        });
        self.pulse.due = self.now + self.settings.heartbeat_interval;
        self.orders.push(Order::Heartbeat {
            request,
            node,
            identity,
        });
    }

    /// Commits wait while the generation is changing. A closing member has no time for that, and a coordinator that
    /// still waits for members takes commits of the old generation.
    const fn may_commit(&self) -> bool {
        match self.phase {
            Phase::Stable | Phase::Preparing => true,
            Phase::Joining { .. } => self.closing.is_some() && self.identity.generation.is_some(),
            _ => false,
        }
    }

    fn commit(&mut self, node: i32) {
        if !self.may_commit() || self.now < self.commits.not_before || !self.commits.is_due() {
            return;
        }
        let request = self.number_request();
        if let Some(offsets) = self.commits.take(request, &self.identity) {
            let identity = self.identity.clone();
            self.orders.push(Order::Commit {
                request,
                node,
                identity,
                offsets,
            });
        }
    }

    fn look(&mut self) {
        let request = self.last_request + 1;
        let stable = self.is_stable();
        if let Some(watch) = &mut self.watch
            && stable
            && watch.request.is_none()
            && watch.due <= self.now
        {
            self.last_request = request;
            watch.request = Some(request);
            self.orders.push(Order::Describe {
                request,
                topics: watch.topics.clone(),
            });
        }
    }

    fn released(&mut self, claims: &[Claim]) {
        for claim in claims {
            if let Some(held) = self.held.get_mut(&claim.partition)
                && held.number == claim.number
                && held.state == HeldState::Revoking
            {
                held.state = HeldState::Released;
            }
        }
    }

    /// Partitions that the application has released stay the member's until their last commits are answered.
    fn let_go_of_released(&mut self) {
        let commits = &self.commits;
        self.held.retain(|partition, held| {
            let claim = Claim {
                partition: partition.clone(),
                number: held.number,
            };
            held.state != HeldState::Released || commits.concern(&claim)
        });
    }

    pub(super) fn has_given_back(&self) -> bool {
        self.held.values().all(|held| held.state == HeldState::Owned)
    }

    /// Begins to join again: gives back what must be given back before.
    pub(super) fn prepare(&mut self) {
        let cooperative = self.settings.is_cooperative();
        let wanted = self.settings.topics.clone();
        self.revoke(|partition| !cooperative || !wanted.contains(&partition.topic));
        self.rejoin_wanted = false;
        self.phase = Phase::Preparing;
    }

    pub(super) fn revoke(&mut self, which: impl Fn(&TopicPartition) -> bool) {
        let mut claims = Vec::new();
        for (partition, held) in &mut self.held {
            if held.state == HeldState::Owned && which(partition) {
                held.state = HeldState::Revoking;
                claims.push(Claim {
                    partition: partition.clone(),
                    number: held.number,
                });
            }
        }
        if !claims.is_empty() {
            self.orders.push(Order::Revoke(claims));
        }
    }

    /// Everything held is gone, and nothing is committed for it any more. The member id is forgotten too when the
    /// coordinator does not know it.
    pub(super) fn lose(&mut self, forget_id: bool) {
        let claims: Vec<Claim> = std::mem::take(&mut self.held)
            .into_iter()
            .map(|(partition, held)| Claim {
                partition,
                number: held.number,
            })
            .collect();
        self.commits.drop_claims(|_| true, &mut self.orders);
        if !claims.is_empty() {
            self.orders.push(Order::Lose(claims));
        }
        self.identity.generation = None;
        if forget_id {
            self.identity.member_id.clear();
        }
        self.pulse.in_flight = None;
        self.watch = None;
        self.phase = Phase::Unjoined;
    }
}

/// The topics that any member wants.
pub(super) fn wanted_topics(members: &[JoinedMember]) -> Vec<TopicName> {
    let mut topics: Vec<TopicName> = members
        .iter()
        .filter_map(|member| Subscription::decode(&member.metadata).ok())
        .flat_map(|subscription| subscription.topics)
        .collect();
    topics.sort();
    topics.dedup();
    topics
}
