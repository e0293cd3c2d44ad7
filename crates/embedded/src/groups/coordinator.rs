//! All groups of the node, the connections that wait for them, and their timer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    machine::{Denied, Group, Join, Joined, Order, Speaker, State, Sync, Synced},
    member::{Member, Millis, Ticket},
};
use crate::{
    Config,
    storage::{
        membership::Membership,
        offsets::{Fact, Offsets},
        partition::held,
        writer::Job,
    },
};

/// How long the timer sleeps when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

/// The groups of the node.
#[derive(Debug)]
pub(crate) struct Coordinator(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    /// Rung when a deadline may have come nearer.
    changed: Notify,
    began: Instant,
    first_wait: Millis,
    groups_max: usize,
    members_max: usize,
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug, Default)]
struct Table {
    groups: HashMap<String, Group>,
    waiting: HashMap<Ticket, Waiter>,
    tickets: Ticket,
}

/// What a group has decided.
#[derive(Debug)]
struct Outcome {
    orders: Vec<Order>,
    news: Option<Option<Membership>>,
}

#[derive(Debug)]
enum Waiter {
    Join(oneshot::Sender<Result<Joined, Denied>>),
    Sync(oneshot::Sender<Result<Synced, ResponseError>>),
}

/// A group as it is shown.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) state: State,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<(String, Member)>,
}

impl Coordinator {
    /// Goes on with the groups that were kept, and starts the timer.
    pub(crate) fn start(
        config: &Config,
        (kept, jobs): (&Offsets, mpsc::Sender<Job>),
        tasks: &TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared {
            table: Mutex::default(),
            changed: Notify::new(),
            began: Instant::now(),
            first_wait: u64::try_from(config.group_initial_rebalance_delay.as_millis()).unwrap_or(u64::MAX),
            groups_max: usize::try_from(config.limits.groups).unwrap_or(usize::MAX),
            members_max: usize::try_from(config.limits.group_members).unwrap_or(usize::MAX),
            jobs,
        });
        shared.revive(kept);
        tasks.spawn(run_timer(Arc::clone(&shared), stopping));
        Self(shared)
    }

    /// Joins, and waits for the rebalance to end; `None` when the wait was given up.
    pub(crate) async fn join(
        &self,
        group: &str,
        mut join: Join,
        closed: &CancellationToken,
    ) -> Option<Result<Joined, Denied>> {
        let (answer, receiver) = oneshot::channel();
        let decided = {
            let now = self.0.now();
            let mut table = held(&self.0.table);
            if let Err(error) = table.make_room(group, &self.0) {
                return Some(Err(Denied {
                    error,
                    member: join.member,
                }));
            }
            join.ticket = table.wait(Waiter::Join(answer));
            join.fresh = format!("{}-{}", join.client, Uuid::new_v4());
            table.decide(group, |group| group.join(now, join))
        };
        self.0.answer_when_kept(group, decided);
        self.0.changed.notify_one();
        wait(receiver, closed).await
    }

    /// Waits for a member's part; `None` when the wait was given up.
    pub(crate) async fn sync(
        &self,
        group: &str,
        mut sync: Sync<'_>,
        closed: &CancellationToken,
    ) -> Option<Result<Synced, ResponseError>> {
        let (answer, receiver) = oneshot::channel();
        let decided = {
            let now = self.0.now();
            let mut table = held(&self.0.table);
            if !table.groups.contains_key(group) {
                return Some(Err(ResponseError::UnknownMemberId));
            }
            sync.ticket = table.wait(Waiter::Sync(answer));
            table.decide(group, |group| group.sync(now, sync))
        };
        self.0.answer_when_kept(group, decided);
        self.0.changed.notify_one();
        wait(receiver, closed).await
    }

    pub(crate) fn heartbeat(&self, group: &str, speaker: Speaker<'_>) -> Result<(), ResponseError> {
        let now = self.0.now();
        let known = self.0.with(group, |group| group.heartbeat(now, speaker));
        known.unwrap_or(Err(ResponseError::UnknownMemberId))
    }

    pub(crate) fn leave(
        &self,
        group: &str,
        member: &str,
        instance: Option<&str>,
    ) -> Result<(), ResponseError> {
        let now = self.0.now();
        let known = self.0.with(group, |group| group.leave(now, member, instance));
        self.0.changed.notify_one();
        known.unwrap_or(Err(ResponseError::UnknownMemberId))
    }

    /// Whether a commit of offsets is taken. A group without members takes those of nobody's generation.
    pub(crate) fn check_commit(&self, group: &str, speaker: Speaker<'_>) -> Result<(), ResponseError> {
        let now = self.0.now();
        let known = self.0.with(group, |group| group.commit(now, speaker));
        known.unwrap_or(if speaker.generation < 0 {
            Ok(())
        } else {
            Err(ResponseError::IllegalGeneration)
        })
    }

    /// Every group that was ever joined, with its state and protocol type.
    pub(crate) fn list(&self) -> Vec<(String, State, String)> {
        let table = held(&self.0.table);
        let all = table.groups.iter().filter(|(_, group)| !group.is_idle());
        all.map(|(name, group)| (name.clone(), group.state(), group.protocol_type().to_owned()))
            .collect()
    }

    pub(crate) fn describe(&self, group: &str) -> Option<Described> {
        let table = held(&self.0.table);
        let group = table.groups.get(group)?;
        Some(Described {
            state: group.state(),
            protocol_type: group.protocol_type().to_owned(),
            protocol: group.protocol().to_owned(),
            members: group
                .members()
                .map(|(id, member)| (id.to_owned(), member.clone()))
                .collect(),
        })
    }

    /// Forgets a group that nobody is in; `false` when it was not known.
    pub(crate) fn forget(&self, group: &str) -> Result<bool, ResponseError> {
        let mut table = held(&self.0.table);
        match table.groups.get(group) {
            Some(known) if !known.is_idle() => Err(ResponseError::NonEmptyGroup),
            _ => Ok(table.groups.remove(group).is_some()),
        }
    }
}

/// Waits for the group's answer; the machine bounds that wait by its deadlines.
async fn wait<T>(receiver: oneshot::Receiver<T>, closed: &CancellationToken) -> Option<T> {
    tokio::select! {
        answer = receiver => answer.ok(),
        () = closed.cancelled() => None,
    }
}

impl Shared {
    fn now(&self) -> Millis {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn revive(&self, kept: &Offsets) {
        let now = self.now();
        let mut table = held(&self.table);
        for (name, membership) in kept.memberships() {
            let mut group = Group::new(self.first_wait, self.members_max);
            group.revive(now, membership);
            table.groups.insert(name, group);
        }
    }

    /// Lets the group decide, and hands out its answers; what is to be kept of it is kept meanwhile.
    fn with<T>(&self, name: &str, decide: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let mut table = held(&self.table);
        let mut decided = None;
        let outcome = table.decide(name, |group| decided = Some(decide(group)))?;
        self.keep(name, outcome.news);
        table.hand_out(outcome.orders);
        decided
    }

    /// Hands out the answers of a group when what is to be kept of it is durable. Where it cannot be kept, its members
    /// will have to join anew after a restart: they lose nothing by that.
    fn answer_when_kept(self: &Arc<Self>, name: &str, decided: Option<Outcome>) {
        let Some(Outcome { orders, news }) = decided else {
            return;
        };
        let Some(kept) = self.keep(name, news) else {
            held(&self.table).hand_out(orders);
            return;
        };
        let shared = Arc::clone(self);
        // In a task of its own: a connection that closes meanwhile takes nobody else's answer with it.
        tokio::spawn(async move {
            drop(kept.await);
            held(&shared.table).hand_out(orders);
        });
    }

    fn keep(
        &self,
        name: &str,
        news: Option<Option<Membership>>,
    ) -> Option<oneshot::Receiver<std::io::Result<()>>> {
        let fact = Fact::Membership {
            group: name.to_owned(),
            membership: news?,
        };
        let (answer, kept) = oneshot::channel();
        let facts = vec![fact];
        self.jobs.send(Job::Commit { facts, answer }).ok()?;
        Some(kept)
    }
}

impl Table {
    fn wait(&mut self, waiter: Waiter) -> Ticket {
        self.tickets += 1;
        self.waiting.insert(self.tickets, waiter);
        self.tickets
    }

    /// Makes sure that the group is there; groups that nobody is in make room for it.
    fn make_room(&mut self, group: &str, shared: &Shared) -> Result<(), ResponseError> {
        if !self.groups.contains_key(group) {
            if self.groups.len() >= shared.groups_max {
                self.groups.retain(|_, group| !group.is_idle());
            }
            if self.groups.len() >= shared.groups_max {
                return Err(ResponseError::PolicyViolation);
            }
            self.groups.insert(
                group.to_owned(),
                Group::new(shared.first_wait, shared.members_max),
            );
        }
        Ok(())
    }

    /// Lets the group decide.
    fn decide(&mut self, group: &str, decide: impl FnOnce(&mut Group)) -> Option<Outcome> {
        let group = self.groups.get_mut(group)?;
        decide(group);
        Some(Outcome {
            orders: group.take_orders(),
            news: group.take_news(),
        })
    }

    /// The groups for which something is due.
    fn due(&self, now: Millis) -> Vec<String> {
        let is_due = |group: &Group| group.next_deadline().is_some_and(|deadline| deadline <= now);
        let due = self.groups.iter().filter(|(_, group)| is_due(group));
        due.map(|(name, _)| name.clone()).collect()
    }

    /// A waiter that is gone closed its connection; its session will end by itself.
    fn hand_out(&mut self, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Join(ticket, joined) => {
                    if let Some(Waiter::Join(answer)) = self.waiting.remove(&ticket) {
                        drop(answer.send(joined));
                    }
                }
                Order::Sync(ticket, synced) => {
                    if let Some(Waiter::Sync(answer)) = self.waiting.remove(&ticket) {
                        drop(answer.send(synced));
                    }
                }
            }
        }
    }
}

async fn run_timer(shared: Arc<Shared>, stopping: CancellationToken) {
    loop {
        let next = held(&shared.table)
            .groups
            .values()
            .filter_map(Group::next_deadline)
            .min();
        let due = match next {
            Some(next) => shared.began + Duration::from_millis(next),
            None => Instant::now() + IDLE,
        };
        tokio::select! {
            () = sleep_until(due) => {
                let now = shared.now();
                let due = held(&shared.table).due(now);
                for group in due {
                    shared.with(&group, |group| group.tick(now));
                }
            }
            () = shared.changed.notified() => {}
            () = stopping.cancelled() => return,
        }
    }
}
