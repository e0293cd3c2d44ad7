//! The task behind a consumer: it alone owns the member and the cursors, and is told everything by messages.
//!
//! - The member decides about the group; its orders are carried out here, its answers come back as news.
//! - A partition is in one fetch at a time. Each leader has two connections: a fetch that waits long for new records,
//!   and one that waits shortly, for partitions that become ready meanwhile.
//! - What was asked for a claim that has ended, or for a place that was left, is dropped when it comes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_flow::membership::{Claim, CommitTrouble, Input, Mark, Member, Order, Reply};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::NotCommitted;
use super::command::Command;
use super::cursor::{Asked, CursorState, Cursors};
use super::event::{Event, MoveCause, Revoked};
use super::options::Options;
use super::requests::Courier;
use super::start::{go_on, locate};
use super::stream::{Item, Stream};
use crate::cluster::{Leader, Metadata};
use crate::error::Error;
use crate::fetch::{Fetched, Fetcher, Limits, Position, State};

/// Longest wait of the second fetch to a leader.
const QUICK_WAIT_MAX: Duration = Duration::from_millis(100);
/// Commits that wait for the coordinator.
const COMMITS_WAITING_MAX: usize = 10_000;
/// How long an abandoned consumer takes to leave its group.
const ABANDONED_WITHIN: Duration = Duration::from_secs(5);
/// How long a partition waits whose topic is not known.
const UNKNOWN_TOPIC_WAIT: Duration = Duration::from_secs(1);

pub(super) struct Engine {
    pub(super) member: Member,
    pub(super) options: Options,
    pub(super) courier: Arc<Courier>,
    pub(super) stream: Arc<Stream>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) own_commands: mpsc::UnboundedSender<Command>,
    metadata: watch::Receiver<Arc<Metadata>>,
    began: Instant,
    news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
    tasks: JoinSet<()>,
    cursors: Cursors,
    fetchers: [Arc<Fetcher>; 2],
    fetching: BTreeSet<(i32, usize)>,
    tickets: HashMap<u64, oneshot::Sender<Result<(), NotCommitted>>>,
    last_ticket: u64,
    turns_seen: u64,
    closing: bool,
    ended: bool,
}

/// What a task brings. One for each request under way, which the member and the cursors keep few.
enum News {
    Answered {
        request: u64,
        reply: Reply,
    },
    Located {
        asked: Vec<Claim>,
        found: Result<Vec<(Claim, Mark)>, Error>,
    },
    Fetched {
        node: i32,
        slot: usize,
        asked: Asked,
        outcome: Result<Vec<Fetched>, Error>,
    },
    Reset {
        claim: Claim,
        version: u64,
        offset: Result<i64, Error>,
    },
}

impl Engine {
    pub(super) fn new(
        member: Member,
        options: Options,
        courier: Arc<Courier>,
        stream: Arc<Stream>,
        (own_commands, commands): (mpsc::UnboundedSender<Command>, mpsc::UnboundedReceiver<Command>),
    ) -> Self {
        let cluster = courier.cluster();
        Self {
            metadata: cluster.watch(),
            fetchers: [0, 1].map(|_| Arc::new(Fetcher::new(cluster.clone()))),
            member,
            options,
            courier,
            stream,
            commands,
            own_commands,
            began: Instant::now(),
            news: mpsc::unbounded_channel(),
            tasks: JoinSet::new(),
            cursors: Cursors::default(),
            fetching: BTreeSet::new(),
            tickets: HashMap::new(),
            last_ticket: 0,
            turns_seen: 0,
            closing: false,
            ended: false,
        }
    }

    pub(super) async fn run(mut self) {
        self.feed(Input::Tick);
        while !self.ended {
            let wake = self.wake_at();
            tokio::select! {
                Some(command) = self.commands.recv() => self.command(command),
                Some(news) = self.news.1.recv() => self.take_in(news),
                () = tokio::time::sleep_until(wake) => self.feed(Input::Tick),
                () = self.stream.taken.notified() => {}
                // It never closes before the cluster is dropped, which this task holds.
                Ok(()) = self.metadata.changed() => {}
                Some(_) = self.tasks.join_next() => {}
            }
            self.notice_application();
            self.locate_new();
            self.fetch_ready();
        }
    }

    fn wake_at(&self) -> Instant {
        let idle = Instant::now() + Duration::from_secs(60);
        let member = self.member.deadline().map(|deadline| self.began + deadline);
        [member, self.cursors.wake_at()]
            .into_iter()
            .flatten()
            .min()
            .map_or(idle, |at| at.min(idle))
    }

    fn feed(&mut self, input: Input) {
        let orders = self.member.handle(self.began.elapsed(), input);
        for order in orders {
            self.obey(order);
        }
    }

    /// Tells the member whether the application is alive.
    fn notice_application(&mut self) {
        let turns = self.stream.turns();
        if turns != self.turns_seen {
            self.turns_seen = turns;
            self.feed(Input::Waiting);
            if turns.is_multiple_of(2) {
                self.feed(Input::Busy);
            }
        }
        if self.stream.is_abandoned() && !self.closing {
            self.close(ABANDONED_WITHIN);
        }
    }

    fn close(&mut self, within: Duration) {
        self.closing = true;
        self.feed(Input::Close { within });
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Assign { claims, generation } => {
                for claim in &claims {
                    self.cursors.open(claim.clone());
                    self.stream.open(claim.clone());
                }
                self.stream.tell(Event::Assigned { claims, generation });
            }
            Order::Revoke(claims) => {
                self.shut(&claims);
                let revoked = Revoked::new(claims, self.own_commands.clone());
                self.stream.tell(Event::Revoked(revoked));
            }
            Order::Lose(claims) => {
                self.shut(&claims);
                self.stream.tell(Event::Lost(claims));
            }
            Order::CommitDone { ticket, refused } => {
                if let Some(done) = self.tickets.remove(&ticket) {
                    let group = self.member.settings().group.clone();
                    let outcome = if refused.is_empty() {
                        Ok(())
                    } else {
                        Err(NotCommitted { group, refused })
                    };
                    // Who asked may have stopped waiting.
                    drop(done.send(outcome));
                }
            }
            Order::Alarm { code } => self.stream.tell(Event::Alarm { code }),
            Order::Closed(error) => {
                self.ended = true;
                self.stream.end(error);
            }
            request => {
                let (courier, news) = (self.courier.clone(), self.news.0.clone());
                self.tasks.spawn(async move {
                    if let Some((request, reply)) = courier.carry(request).await {
                        // The engine outlives its tasks.
                        drop(news.send(News::Answered { request, reply }));
                    }
                });
            }
        }
    }

    fn shut(&mut self, claims: &[Claim]) {
        for claim in claims {
            self.cursors.shut(claim);
            self.stream.shut(claim);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Commit { offsets, done } => self.commit(offsets, done),
            Command::Released(claims) => self.feed(Input::Released(claims)),
            Command::Seek(claim, offset) => {
                if let Some(cursor) = self.cursors.get_mut(&claim) {
                    let leader_epoch = -1;
                    cursor.place(Mark { offset, leader_epoch });
                    self.stream.clear(&claim);
                    self.stream.begin(&claim, offset);
                }
            }
            Command::Subscribe(topics) => self.feed(Input::Subscribe(topics)),
            Command::Close { within } => self.close(within),
        }
    }

    fn commit(&mut self, offsets: Vec<(Claim, Mark)>, done: oneshot::Sender<Result<(), NotCommitted>>) {
        if self.tickets.len() >= COMMITS_WAITING_MAX {
            let too_many = |(claim, _): (Claim, Mark)| (claim.partition, CommitTrouble::TooMany);
            let group = self.member.settings().group.clone();
            let refused = offsets.into_iter().map(too_many).collect();
            // Who asked may have stopped waiting.
            return drop(done.send(Err(NotCommitted { group, refused })));
        }
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.tickets.insert(ticket, done);
        self.feed(Input::Commit { ticket, offsets });
    }

    fn take_in(&mut self, news: News) {
        match news {
            News::Answered { request, reply } => self.feed(Input::Answered { request, reply }),
            News::Located { asked, found } => self.located(&asked, found),
            News::Fetched {
                node,
                slot,
                asked,
                outcome,
            } => {
                self.fetching.remove(&(node, slot));
                self.fetched(&asked, outcome);
            }
            News::Reset {
                claim,
                version,
                offset,
            } => self.reset(&claim, version, offset),
        }
    }

    /// Asks where the claims begin that were just assigned.
    fn locate_new(&mut self) {
        let Some(node) = self.member.coordinator() else {
            return;
        };
        let claims = self.cursors.due(CursorState::Placeless);
        if claims.is_empty() {
            return;
        }
        for claim in &claims {
            if let Some(cursor) = self.cursors.get_mut(claim) {
                cursor.state = CursorState::Asking;
            }
        }
        let (courier, news, reset) = (self.courier.clone(), self.news.0.clone(), self.options.reset);
        self.tasks.spawn(async move {
            let found = locate(courier, node, claims.clone(), reset).await;
            drop(news.send(News::Located { asked: claims, found }));
        });
    }

    fn located(&mut self, asked: &[Claim], found: Result<Vec<(Claim, Mark)>, Error>) {
        let found: BTreeMap<Claim, Mark> = found.unwrap_or_default().into_iter().collect();
        for claim in asked {
            let Some(cursor) = self.cursors.get_mut(claim) else {
                continue;
            };
            // The application may have sought another place meanwhile.
            if cursor.state != CursorState::Asking {
                continue;
            }
            if let Some(mark) = found.get(claim) {
                cursor.place(*mark);
                self.stream.begin(claim, mark.offset);
            } else {
                cursor.state = CursorState::Placeless;
                cursor.back_off();
            }
        }
    }

    /// Fetches what can be fetched, from each leader over the connection that is free.
    fn fetch_ready(&mut self) {
        let ready = self.stream.with_room(self.cursors.due(CursorState::Ready));
        if ready.is_empty() {
            return;
        }
        let metadata = self.metadata.borrow_and_update().clone();
        let mut by_node: BTreeMap<i32, Vec<(Claim, Position)>> = BTreeMap::new();
        for claim in ready {
            if let Some((node, position)) = self.position(&metadata, &claim) {
                by_node.entry(node).or_default().push((claim, position));
            }
        }
        for (node, wanted) in by_node {
            let free = [0, 1]
                .into_iter()
                .find(|slot| !self.fetching.contains(&(node, *slot)));
            if let Some(slot) = free {
                self.fetch(node, slot, wanted);
            }
        }
    }

    fn position(&mut self, metadata: &Metadata, claim: &Claim) -> Option<(i32, Position)> {
        let cluster = self.courier.cluster();
        let cursor = self.cursors.get_mut(claim)?;
        let topic = metadata.topic(&claim.partition.topic);
        match (topic, metadata.leader(&claim.partition)) {
            (Some(topic), Leader::At { node, epoch }) => {
                let position = Position {
                    partition: claim.partition.clone(),
                    topic_id: topic.id,
                    offset: cursor.next,
                    leader_epoch: epoch,
                    last_epoch: cursor.last_epoch,
                };
                return Some((node, position));
            }
            (_, Leader::Gone) => {
                // The cluster looks for the leader; a change wakes this task.
                cursor.back_off();
                cluster.suspect();
            }
            _ => {
                cursor.wait(UNKNOWN_TOPIC_WAIT);
                let (cluster, topic) = (cluster.clone(), claim.partition.topic.clone());
                // When it is known, metadata changes, which wakes this task.
                self.tasks
                    .spawn(async move { drop(cluster.topic_anew(&topic).await) });
            }
        }
        None
    }

    fn fetch(&mut self, node: i32, slot: usize, wanted: Vec<(Claim, Position)>) {
        let wait = if slot == 0 {
            self.options.fetch_wait
        } else {
            self.options.fetch_wait.min(QUICK_WAIT_MAX)
        };
        let bytes = i32::try_from(self.options.partition_bytes_max).unwrap_or(i32::MAX);
        let limits = Limits {
            wait,
            partition_bytes_max: bytes,
            committed: self.options.committed,
            ..Limits::default()
        };
        let mut asked = Asked { claims: Vec::new() };
        let mut positions = Vec::new();
        for (claim, position) in wanted {
            let Some(cursor) = self.cursors.get_mut(&claim) else {
                continue;
            };
            cursor.state = CursorState::Fetching;
            asked.claims.push((claim, cursor.version));
            positions.push(position);
        }
        let Some(fetcher) = self.fetchers.get(slot).cloned() else {
            return;
        };
        self.fetching.insert((node, slot));
        let news = self.news.0.clone();
        self.tasks.spawn(async move {
            let outcome = fetcher.fetch(node, &positions, &limits).await;
            drop(news.send(News::Fetched {
                node,
                slot,
                asked,
                outcome,
            }));
        });
    }

    fn fetched(&mut self, asked: &Asked, outcome: Result<Vec<Fetched>, Error>) {
        let mut answered = BTreeSet::new();
        for fetched in outcome.unwrap_or_default() {
            if let Some((claim, version)) = asked.on(&fetched.partition) {
                answered.insert(claim);
                self.fetched_one(claim, *version, fetched);
            }
        }
        for (claim, version) in &asked.claims {
            if !answered.contains(claim)
                && let Some(cursor) = self.cursors.current(claim, *version)
            {
                cursor.state = CursorState::Ready;
                cursor.back_off();
            }
        }
    }

    fn fetched_one(&mut self, claim: &Claim, version: u64, fetched: Fetched) {
        let Some(cursor) = self.cursors.current(claim, version) else {
            return;
        };
        cursor.state = CursorState::Ready;
        match fetched.state {
            State::Read => {
                let end = if self.options.committed {
                    fetched.last_stable_offset
                } else {
                    fetched.high_watermark
                };
                let items = cursor.read(fetched, self.options.committed);
                self.stream.push(claim, items, end);
            }
            State::Elsewhere => cursor.back_off(),
            State::Refused { code } => {
                cursor.back_off();
                if code == 29 && !std::mem::replace(&mut cursor.alarmed, true) {
                    self.stream.tell(Event::Alarm { code });
                }
            }
            State::Truncated { offset } => self.move_to(claim, offset, MoveCause::Truncated),
            State::OutOfRange => self.ask_where_to_go_on(claim, version),
        }
    }

    fn ask_where_to_go_on(&mut self, claim: &Claim, version: u64) {
        let Some(cursor) = self.cursors.get_mut(claim) else {
            return;
        };
        cursor.state = CursorState::Asking;
        let (cluster, news) = (self.courier.cluster().clone(), self.news.0.clone());
        let (claim, due, reset) = (claim.clone(), cursor.next, self.options.reset);
        self.tasks.spawn(async move {
            let offset = go_on(&cluster, &claim.partition, due, reset).await;
            drop(news.send(News::Reset {
                claim,
                version,
                offset,
            }));
        });
    }

    fn reset(&mut self, claim: &Claim, version: u64, offset: Result<i64, Error>) {
        let Some(cursor) = self.cursors.current(claim, version) else {
            return;
        };
        match offset {
            Ok(offset) => self.move_to(claim, offset, MoveCause::OutOfRange),
            Err(_) => {
                // The next fetch finds the same and asks again.
                cursor.state = CursorState::Ready;
                cursor.back_off();
            }
        }
    }

    /// Goes on at `to`, or earlier where something that was fetched was not taken yet, and says so.
    fn move_to(&mut self, claim: &Claim, to: i64, cause: MoveCause) {
        let Some(cursor) = self.cursors.get_mut(claim) else {
            return;
        };
        let from = cursor.next;
        let taken = self.stream.taken_until(claim).unwrap_or(from);
        let to = if cause == MoveCause::Truncated {
            to.min(taken)
        } else {
            to
        };
        cursor.place(Mark {
            offset: to,
            leader_epoch: -1,
        });
        if cause == MoveCause::Truncated {
            self.stream.clear(claim);
        }
        self.stream.push(claim, vec![Item::Moved { from, to, cause }], -1);
    }
}
