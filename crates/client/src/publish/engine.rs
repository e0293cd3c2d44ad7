//! The one task that owns everything about sending: it tells the machines in `flow` what happened and carries out what
//! they order.
//!
//! ```text
//!   fronts ──batches──> lines (one per partition) ──orders──> send, append, store stamps, read, remove, search, letters
//!                         ^                                        │
//!                         └───────────────── what became of it ────┘
//! ```
//!
//! The rules it keeps: a machine is told one thing at a time; what it orders is begun in its order; what is under way
//! is in `work`, and ends there alone.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_broker::{Cluster, Metadata};
use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_flow::diversion;
use evenkeel_flow::session::{Input, Now, Outcome, Settings};
use evenkeel_store::{Place, PlaceStats, Standby};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};

use super::alarm::Book;
use super::aside::Aside;
use super::done::Done;
use super::fleet::Fleet;
use super::hold::Held;
use super::line::Line;
use super::producer::Producer;
use super::pulse::{Pulse, boot_time};
use super::send::Sends;
use super::shared::Shared;
use super::ticket::Tickets;
use super::topic_line::TopicLine;
use super::turns::Turns;
use crate::config::{self, NewTopics};
use crate::failpoint::{Point, pass};

/// Wait before the cluster is asked again how long it remembers producers.
const EXPIRY_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// A cluster that has answered nothing for so long after the start counts as out for who closes the publisher.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// Longest time to go on after the publisher was dropped without being closed.
const DROPPED_LIMIT: Duration = Duration::from_secs(10);

/// Something that is under way.
pub(super) type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What the publisher asks of the engine.
#[derive(Debug)]
pub(super) enum Command {
    /// Take nothing more, finish what is there, at most for so long; says whether all was finished.
    Close {
        limit: Duration,
        finished: oneshot::Sender<bool>,
    },
}

/// What the engine is made with.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) cluster: Cluster,
    pub(super) store: Arc<dyn Standby>,
    pub(super) settings: Settings,
    pub(super) new_topics: Option<NewTopics>,
    pub(super) send_timeout: Duration,
    pub(super) letters: TopicName,
    pub(super) application: String,
    pub(super) held: Held,
    pub(super) book: Book,
    pub(super) events_per_second: Option<NonZeroU32>,
    /// What the store held at the start.
    pub(super) recovered: HashMap<Place, PlaceStats>,
    /// Other processes share the store.
    pub(super) fleet: Option<config::Fleet>,
    pub(super) commands: mpsc::Receiver<Command>,
}

pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) cluster: Cluster,
    pub(super) store: Arc<dyn Standby>,
    pub(super) settings: Settings,
    pub(super) expiry: Expiry,
    pub(super) new_topics: Option<NewTopics>,
    pub(super) letters: TopicName,
    pub(super) application: String,
    pub(super) recovered: HashMap<Place, PlaceStats>,
    pub(super) held: Held,
    pub(super) turns: Turns,
    pub(super) book: Book,
    pub(super) aside: Aside,
    /// Names this process in appends.
    pub(super) process: u128,
    pub(super) fleet: Option<Fleet>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) refusal: Option<Arc<super::fate::Refusal>>,
    pub(super) lines: HashMap<u32, Line>,
    pub(super) line_ids: HashMap<TopicPartition, u32>,
    pub(super) topics: HashMap<u32, TopicLine>,
    pub(super) topic_ids: HashMap<TopicName, u32>,
    pub(super) tickets: Tickets,
    pub(super) producer: Producer,
    pub(super) sends: Sends,
    pub(super) metadata: Arc<Metadata>,
    pub(super) work: FuturesUnordered<Work>,
    /// What is to be told to lines next.
    pub(super) inbox: VecDeque<(u32, Input<super::batch::Batch>)>,
    pub(super) timers: BinaryHeap<Reverse<(Duration, u32)>>,
    commands: mpsc::Receiver<Command>,
    changes: watch::Receiver<Arc<Metadata>>,
    pub(super) ending: Option<Ending>,
}

/// Whether the cluster has said how long it remembers producers. Nothing is sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// It was asked for the first time.
    Asked,
    /// It did not answer, and is asked again and again.
    Unanswered,
    Known,
}

/// The publisher was closed.
pub(super) struct Ending {
    deadline: Duration,
    finished: Option<oneshot::Sender<bool>>,
}

impl Engine {
    pub(super) fn new(parts: Parts) -> Self {
        let changes = parts.cluster.watch();
        let process = rand::random();
        Self {
            metadata: parts.cluster.metadata(),
            sends: Sends::new(parts.send_timeout),
            shared: parts.shared,
            cluster: parts.cluster,
            store: parts.store,
            settings: parts.settings,
            expiry: Expiry::Asked,
            new_topics: parts.new_topics,
            letters: parts.letters,
            application: parts.application,
            recovered: parts.recovered,
            held: parts.held,
            turns: Turns::new(parts.events_per_second),
            book: parts.book,
            aside: Aside::new(),
            process,
            fleet: parts.fleet.map(|config| Fleet::new(&config, process)),
            refusal: None,
            pulse: Arc::new(Pulse::new(boot_time())),
            lines: HashMap::new(),
            line_ids: HashMap::new(),
            topics: HashMap::new(),
            topic_ids: HashMap::new(),
            tickets: Tickets::default(),
            producer: Producer::default(),
            work: FuturesUnordered::new(),
            inbox: VecDeque::new(),
            timers: BinaryHeap::new(),
            commands: parts.commands,
            changes,
            ending: None,
        }
    }

    /// Runs until the publisher is closed and all is finished, or time is over.
    pub(super) async fn run(mut self, topics: Vec<TopicName>) {
        self.recover_aside();
        self.tell_fleet(diversion::Input::Timer);
        for topic in topics {
            self.topic_line(&topic);
        }
        self.ask_expiry();
        self.doubt_later();
        self.look_at_holds(Duration::ZERO);
        loop {
            self.gather();
            self.tell();
            self.begin_sends();
            if self.has_ended() {
                self.close_book();
                self.leave_fleet().await;
                self.tell_closed();
                return;
            }
            self.wait().await;
            self.pulse.beat(boot_time());
        }
    }

    async fn wait(&mut self) {
        let shared = self.shared.clone();
        let next = self.timers.peek().map(|Reverse((at, _))| *at);
        let deadline = self.ending.as_ref().map(|ending| ending.deadline);
        let now = shared.clock.monotonic();
        let next = [next, deadline].into_iter().flatten().min();
        let sleep = next.map_or(Duration::from_secs(3_600), |at| at.saturating_sub(now));
        tokio::select! {
            () = shared.wake.notified() => {}
            Some(done) = self.work.next(), if !self.work.is_empty() => self.done(done),
            command = self.commands.recv(), if self.ending.is_none() => self.command(command),
            Ok(()) = self.changes.changed() => self.metadata_changed(),
            () = tokio::time::sleep(sleep) => self.time_passed(),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now::new(self.shared.clock.monotonic(), self.shared.clock.now())
    }

    /// Takes what the callers left.
    fn gather(&mut self) {
        for front in self.shared.take_dirty() {
            match front.place.partition {
                Some(_) => self.feed(front.id),
                None => {
                    let id = self.topic_line(&front.place.topic);
                    self.feed_topic(id);
                }
            }
        }
    }

    /// Tells the lines what is to be told until nothing is left.
    pub(super) fn tell(&mut self) {
        while let Some((id, input)) = self.inbox.pop_front() {
            self.step(id, input);
        }
    }

    fn time_passed(&mut self) {
        let now = self.shared.clock.monotonic();
        while let Some(Reverse((at, id))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            self.line_timer(id, at);
            self.topic_timer(id, at);
        }
    }

    /// Wakes the line or topic `id` at `at`.
    pub(super) fn wake_at(&mut self, id: u32, at: Duration) {
        self.timers.push(Reverse((at, id)));
    }

    fn metadata_changed(&mut self) {
        self.metadata = self.changes.borrow_and_update().clone();
        self.tell_leaders();
        self.adopt_partitions();
    }

    fn tell_leaders(&mut self) {
        let ids: Vec<u32> = self.lines.keys().copied().collect();
        for id in ids {
            self.tell_leader(id);
        }
    }

    fn command(&mut self, command: Option<Command>) {
        let (limit, finished) = match command {
            Some(Command::Close { limit, finished }) => (limit, Some(finished)),
            None => (DROPPED_LIMIT, None),
        };
        self.shared.close();
        let deadline = self.shared.clock.monotonic() + limit;
        self.ending = Some(Ending { deadline, finished });
        let lines: Vec<u32> = self.lines.keys().copied().collect();
        for id in lines {
            self.feed(id);
        }
        let topics: Vec<u32> = self.topics.keys().copied().collect();
        for id in topics {
            self.feed_topic(id);
        }
    }

    /// True when the publisher is closed and nothing is left to do, or time is over.
    fn has_ended(&mut self) -> bool {
        let Some(ending) = &self.ending else {
            return false;
        };
        let is_over = self.shared.clock.monotonic() >= ending.deadline;
        let mut is_done = || self.close_lines() && self.has_looked_around();
        if !is_over && !is_done() {
            return false;
        }
        true
    }

    /// Tells who closed the publisher whether all was finished.
    fn tell_closed(&mut self) {
        let all = self.tickets.is_empty();
        if let Some(finished) = self.ending.as_mut().and_then(|ending| ending.finished.take()) {
            // Whoever closed may have stopped waiting.
            finished.send(all).ok();
        }
    }

    /// True when it is known of all that the store holds whether it can be sent now: the cluster answers for each topic,
    /// or does not answer.
    fn has_looked_around(&self) -> bool {
        let is_parked = |line: &Line| !line.machine.parked().is_empty();
        let holds_nothing = self.recovered.is_empty() && !self.lines.values().any(is_parked);
        let is_out = self.expiry == Expiry::Unanswered;
        let is_known = self.expiry == Expiry::Known && self.topics.values().all(|topic| topic.is_answered);
        holds_nothing || is_out || is_known
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Sent(sent) => self.sent(sent),
            Done::Appended {
                line,
                append,
                epoch,
                result,
            } => self.appended(line, append, epoch, result),
            Done::Stored { line, step, input } => self.stored(line, &step, input),
            Done::Told { line, input } => self.inbox.push_back((line, input)),
            Done::Lettered { line, letter, at } => self.lettered(line, letter, at),
            Done::Producer(result) => self.producer_given(result),
            Done::ProducerAgain => self.ask_producer(),
            Done::OwnProducer { line, result } => self.own_producer_given(line, result),
            Done::Expiry(expiry) => self.expiry_told(expiry),
            Done::Doubt => self.doubt(),
            Done::Topic { topic, result } => self.topic_found(topic, result),
            Done::TopicAgain { topic } => self.look_up(topic),
            Done::TopicCreated { topic, result } => self.topic_created(topic, result),
            Done::TopicAppended {
                topic,
                append,
                result,
            } => self.topic_appended(topic, append, result),
            Done::Placed { topic, from, result } => self.placed(topic, from, result),
            Done::Fleet(asked) => self.fleet_answered(asked),
            Done::FleetTimer { at } => self.fleet_timer(at),
            Done::DrainOpened {
                place,
                term,
                span,
                stats,
            } => self.drain_opened(place, term, span, stats),
            Done::TopicRecord { topic, partitions } => self.record_told(topic, partitions),
            Done::TopicRemembered { topic, is_there } => self.topic_is_remembered(&topic, is_there),
            Done::Nothing => {}
            Done::Holds(holds) => self.holds_seen(holds),
            Done::Turn => self.turn_has_come(),
            Done::AlarmsWritten => self.alarms_written(),
            Done::SetAside { line, letter, result } => self.has_set_aside(line, letter, result),
            Done::AsideTried { topic, is_empty } => self.aside_tried(topic, is_empty),
        }
    }

    /// Lets `Settings::producer_expiry` follow the cluster's.
    fn ask_expiry(&mut self) {
        let cluster = self.cluster.clone();
        let wait = match self.expiry {
            Expiry::Asked => Duration::ZERO,
            Expiry::Unanswered | Expiry::Known => EXPIRY_AGAIN_AFTER,
        };
        self.work.push(Box::pin(async move {
            tokio::time::sleep(wait).await;
            let is_known = !cluster.metadata().nodes.is_empty() || cluster.refresh().await.is_ok();
            Done::Expiry(if is_known {
                cluster.producer_expiry().await
            } else {
                None
            })
        }));
    }

    /// Brokers that are silent take long to give up on; whoever closes meanwhile does not wait for that.
    fn doubt_later(&self) {
        self.work.push(Box::pin(async {
            tokio::time::sleep(SILENT_AFTER).await;
            Done::Doubt
        }));
    }

    fn doubt(&mut self) {
        if self.expiry == Expiry::Asked {
            self.expiry = Expiry::Unanswered;
        }
    }

    /// Stamps are trusted for as long as this cluster remembers, and lines may send. `None`: it gave no answer yet.
    fn expiry_told(&mut self, expiry: Option<Duration>) {
        let Some(expiry) = expiry else {
            self.expiry = Expiry::Unanswered;
            self.ask_expiry();
            return;
        };
        self.settings.producer_expiry = expiry;
        self.expiry = Expiry::Known;
        for line in self.lines.values_mut() {
            line.machine.set_producer_expiry(expiry);
        }
        self.tell_leaders();
    }

    /// What the machines said to callers.
    pub(super) fn acknowledge(&mut self, claim: evenkeel_flow::session::Claim, mut fate: super::fate::Fate) {
        pass(Point::Acknowledge);
        if let super::fate::Fate::Failed { reason, refusal, .. } = &mut fate {
            if *reason == evenkeel_flow::session::Reason::StandbyRefused {
                let trouble = self.fleet.as_ref().and_then(Fleet::trouble);
                *refusal = trouble.or_else(|| self.refusal.clone());
            }
            let is_full = refusal.as_ref().is_some_and(|refusal| refusal.is_full);
            self.count_refused(*reason, is_full, claim.count);
        }
        let bytes = self.tickets.tell(claim, fate);
        self.shared.give_room(bytes);
    }

    /// A machine's outcome as its callers are told it.
    pub(super) fn fate(
        partition: Option<i32>,
        outcome: Outcome,
        letter: Option<(evenkeel_event::Code, String, super::LetterPlace)>,
    ) -> super::fate::Fate {
        use super::fate::Fate;
        match outcome {
            Outcome::Published { offset } => Fate::Published {
                partition: partition.unwrap_or(0),
                offset,
            },
            Outcome::Parked { position } => Fate::Parked { partition, position },
            Outcome::DeadLettered { .. } => match letter {
                Some((code, cause, at)) => Fate::DeadLettered { code, cause, at },
                None => Fate::Failed {
                    reason: evenkeel_flow::session::Reason::LetterLost,
                    may_have_landed: false,
                    refusal: None,
                },
            },
            Outcome::Failed {
                may_have_landed,
                reason,
            } => Fate::Failed {
                reason,
                may_have_landed,
                refusal: None,
            },
        }
    }

    /// Keeps what the store said last to an append, for those whom it refuses.
    pub(super) fn note_refusal<T>(&mut self, result: &Result<T, evenkeel_store::Error>) {
        self.refusal = match result {
            Ok(_) => None,
            Err(error) => Some(Arc::new(super::fate::Refusal {
                is_full: error.code() == evenkeel_event::Code::StandbyFull,
                cause: format!("Kafka cannot take the event, and the standby store refused it: {error}"),
            })),
        };
    }
}

impl Drop for Engine {
    /// Whoever still waits is told that nothing more will be known here.
    fn drop(&mut self) {
        self.shared.close();
        self.tickets.give_up();
        for line in self.lines.values_mut() {
            line.intake.give_up(&self.shared);
        }
        for topic in self.topics.values_mut() {
            topic.intake.give_up(&self.shared);
        }
    }
}
