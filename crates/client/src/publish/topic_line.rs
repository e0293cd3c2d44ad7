//! A topic whose partitions are looked up, created where that is allowed, and placed into.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_broker::admin::NewTopic;
use evenkeel_broker::{Error, Topic as KafkaTopic};
use evenkeel_event::backoff::Backoff;
use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_flow::Trouble;
use evenkeel_flow::session::{Input as LineInput, Outcome, Payload as _, Ticket};
use evenkeel_flow::unplaced::{Input, Order, Unplaced};
use evenkeel_store::{AlarmKind, AppendIn, Place, Span};

use super::alarm::of_trouble;
use super::batch::{Batch, Gathering};
use super::done::Done;
use super::engine::Engine;
use super::front::{Front, Ready};
use super::intake::Intake;
use super::line::Appends;
use super::placing::{Placed, place_some};
use super::store_step::{Failure, row};
use super::topic::Topic;
use crate::config::NewTopics;

/// Wait between look-ups of a topic that cannot be had.
const LOOK_UP_AGAIN: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
};
/// Wait before placing is tried again.
const PLACE_AGAIN: Duration = Duration::from_millis(200);
/// `max.message.bytes` of a dead-letter topic: a letter carries what was too large for its topic.
const LETTER_BYTES_MAX: usize = 20 << 20;

/// Alarms that a successful look-up ends.
const STANDING_AGAINST_LOOK_UPS: [AlarmKind; 3] = [
    AlarmKind::TopicMissing,
    AlarmKind::AuthenticationRefused,
    AlarmKind::PermissionRefused,
];

/// A topic that is published to.
pub(super) struct TopicLine {
    topic: Arc<Topic>,
    pub(super) intake: Intake,
    machine: Unplaced<Batch>,
    /// Partitions that events are spread over.
    partitions: usize,
    appends: Appends,
    wake: Option<Duration>,
    failures: u32,
    is_looking: bool,
    /// The cluster was asked for it, and answered or did not.
    pub(super) is_answered: bool,
    placed: bool,
    closed: bool,
}

impl Engine {
    /// The line of a topic, made and looked up when it is not there.
    pub(super) fn topic_line(&mut self, name: &TopicName) -> u32 {
        if let Some(id) = self.topic_ids.get(name) {
            return *id;
        }
        let topic = self.shared.topic(name);
        let front = topic.unplaced();
        let id = front.id;
        let held = self.recovered.remove(&front.place);
        let line = TopicLine {
            topic,
            intake: Intake::new(front),
            machine: Unplaced::new(self.settings_under_topics()),
            partitions: 0,
            appends: Appends::default(),
            wake: None,
            failures: 0,
            is_looking: false,
            is_answered: false,
            placed: false,
            closed: false,
        };
        self.topics.insert(id, line);
        self.topic_ids.insert(name.clone(), id);
        if let Some(held) = held {
            let (head, tail) = (held.span.head, held.span.tail);
            self.topic_step(id, Input::Recovered { head, tail });
        }
        self.tell_topic_hold(id);
        self.look_up(id);
        self.ask_record(id);
        id
    }

    /// Asks the cluster for a topic.
    pub(super) fn look_up(&mut self, id: u32) {
        let Some(line) = self.topics.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut line.is_looking, true) {
            return;
        }
        let (cluster, name) = (self.cluster.clone(), line.topic.name.clone());
        self.work.push(Box::pin(async move {
            let result = cluster.topic_anew(&name).await;
            Done::Topic { topic: id, result }
        }));
    }

    pub(super) fn topic_found(&mut self, id: u32, result: Result<Arc<KafkaTopic>, Error>) {
        let Some(line) = self.topics.get_mut(&id) else {
            return;
        };
        (line.is_looking, line.is_answered) = (false, true);
        match result {
            Ok(found) if !found.partitions.is_empty() => {
                line.failures = 0;
                let name = line.topic.name.clone();
                self.clear(&name, None, &STANDING_AGAINST_LOOK_UPS);
                self.metadata = self.cluster.metadata();
                self.remember_record(&name, found.id, found.partitions.len());
                self.adopt(id, found.partitions.len());
            }
            Ok(_) => self.look_up_later(id),
            Err(error) if error.is_topic_missing() => self.topic_missing(id),
            Err(error) => {
                tracing::debug!(topic = %line.topic.name, %error, "the topic cannot be looked up yet");
                let name = line.topic.name.clone();
                self.raise_for(&name, &error);
                self.look_up_later(id);
            }
        }
    }

    fn look_up_later(&mut self, id: u32) {
        let Some(line) = self.topics.get_mut(&id) else {
            return;
        };
        line.failures = line.failures.saturating_add(1);
        let wait = LOOK_UP_AGAIN.wait(line.failures, rand::random());
        self.work.push(Box::pin(async move {
            tokio::time::sleep(wait).await;
            Done::TopicAgain { topic: id }
        }));
    }

    /// Creates the topic where that is allowed; else its events are parked until somebody does.
    fn topic_missing(&mut self, id: u32) {
        let Some(line) = self.topics.get_mut(&id) else {
            return;
        };
        let name = line.topic.name.clone();
        let Some(defaults) = self.new_topics else {
            let (kind, message) = of_trouble(Trouble::TopicMissing, &name);
            self.raise(kind, name, None, message);
            return self.look_up_later(id);
        };
        let configs = if name.is_dead_letter_topic() {
            vec![("max.message.bytes".to_owned(), LETTER_BYTES_MAX.to_string())]
        } else {
            Vec::new()
        };
        let cluster = self.cluster.clone();
        self.work.push(Box::pin(async move {
            let NewTopics {
                partitions,
                replication,
            } = defaults;
            let topic = NewTopic {
                name,
                partitions,
                replication,
                configs,
            };
            let result = cluster.create_topic(&topic).await.map(|_id| ());
            Done::TopicCreated { topic: id, result }
        }));
    }

    pub(super) fn topic_created(&mut self, id: u32, result: Result<(), Error>) {
        match result {
            Ok(()) => self.look_up(id),
            Err(error) if error.is_already_there() => self.look_up(id),
            Err(error) => {
                let name = self.topics.get(&id).map(|line| line.topic.name.clone());
                if let Some(name) = name.filter(|_| !error.is_outage()) {
                    let message = format!("topic {name} does not exist and cannot be created: {error}");
                    self.raise(AlarmKind::TopicMissing, name, None, message);
                }
                self.look_up_later(id);
            }
        }
    }

    /// Topics of whose partitions nothing is known yet.
    pub(super) fn unplaced_topics(&self) -> impl Iterator<Item = (u32, &TopicName)> {
        let unplaced = self.topics.iter().filter(|(_, line)| line.partitions == 0);
        unplaced.map(|(id, line)| (*id, &line.topic.name))
    }

    /// The partitions that the events of a topic are spread over; 0 when they are not known.
    pub(super) fn partitions_used(&self, topic: &TopicName) -> usize {
        let line = self.topic_ids.get(topic).and_then(|id| self.topics.get(id));
        line.map_or(0, |line| line.partitions)
    }

    /// Takes up the topic's partitions.
    pub(super) fn adopt(&mut self, id: u32, partitions: usize) {
        let Some(line) = self.topics.get_mut(&id) else {
            return;
        };
        line.partitions = partitions;
        let name = line.topic.name.clone();
        for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
            self.line(&TopicPartition::new(name.clone(), partition));
        }
        // What was parked under partitions that the topic no longer has stays parked, and is seen in the store.
        let ids: Vec<u32> = self.line_ids.values().copied().collect();
        for line in ids {
            self.tell_leader(line);
        }
        self.topic_step(id, Input::PartitionsKnown);
        self.place_way(id);
    }

    /// Adopts partitions that topics were given, once nothing of them is parked.
    pub(super) fn adopt_partitions(&mut self) {
        let grown: Vec<(u32, usize)> = self
            .topics
            .iter()
            .filter(|(_, line)| line.partitions > 0)
            .filter_map(|(id, line)| {
                let now = self.metadata.topic(&line.topic.name)?.partitions.len();
                (now > line.partitions && !self.is_parked(&line.topic.name)).then_some((*id, now))
            })
            .collect();
        for (id, partitions) in grown {
            self.place_anew(id, partitions);
        }
    }

    /// Spreads a topic's events over other partitions than before.
    pub(super) fn place_anew(&mut self, id: u32, partitions: usize) {
        if let Some(line) = self.topics.get_mut(&id) {
            line.placed = false;
        }
        self.adopt(id, partitions);
    }

    fn is_parked(&self, topic: &TopicName) -> bool {
        self.lines
            .values()
            .any(|line| line.partition.topic == *topic && !line.machine.parked().is_empty())
            || self.fleet.as_ref().is_some_and(|fleet| fleet.is_diverted(topic))
    }

    /// Lets a topic take what waits for it.
    pub(super) fn feed_topic(&mut self, id: u32) {
        let shared = self.shared.clone();
        loop {
            let now = self.now();
            let Some(line) = self.topics.get_mut(&id) else {
                return;
            };
            if !line.machine.can_take() {
                return;
            }
            let Some(ready) = line.intake.next(true, &shared) else {
                return self.place_way(id);
            };
            let count = ready.batch.count();
            let ticket = self.tickets.open(ready.who, count, ready.bytes);
            let mut orders = Vec::new();
            let joined = ready
                .join
                .is_some_and(|event| line.machine.join(ticket, event.as_str(), &mut orders));
            if !joined {
                let (payload, parks) = (ready.batch, ready.parks);
                let input = match parks {
                    false => Input::Published { ticket, payload },
                    true => Input::Park { ticket, payload },
                };
                line.machine.handle(now, input, &mut orders);
            }
            self.carry_out_topic(id, orders);
        }
    }

    /// The place that the topic `id` parks at.
    pub(super) fn topic_place(&self, id: u32) -> Option<Place> {
        Some(self.topics.get(&id)?.intake.front.place.clone())
    }

    pub(super) fn topic_step(&mut self, id: u32, input: Input<Batch>) {
        let now = self.now();
        let Some(line) = self.topics.get_mut(&id) else {
            return;
        };
        let mut orders = Vec::new();
        line.machine.handle(now, input, &mut orders);
        self.carry_out_topic(id, orders);
        self.feed_topic(id);
    }

    /// Lets events go straight to their partitions, once nothing is left under the topic.
    fn place_way(&mut self, id: u32) {
        let Some(line) = self.topics.get_mut(&id) else {
            return;
        };
        let is_open = line.machine.is_open() && line.intake.ready.is_empty();
        if line.placed || line.partitions == 0 || !is_open || !line.intake.front.retire() {
            return;
        }
        line.placed = true;
        let fronts: Vec<Arc<Front>> = (0..i32::try_from(line.partitions).unwrap_or(i32::MAX))
            .map(|partition| TopicPartition::new(line.topic.name.clone(), partition))
            .filter_map(|partition| self.line_ids.get(&partition))
            .filter_map(|id| self.lines.get(id))
            .map(|line| line.intake.front.clone())
            .collect();
        line.topic.place(fronts.into());
    }

    fn carry_out_topic(&mut self, id: u32, orders: Vec<Order<Batch>>) {
        for order in orders {
            match order {
                Order::Append { append, batches } => self.append_under_topic(id, append, &batches),
                Order::Place { from } => self.begin_place(id, from),
                Order::Release { ticket, payload } => self.release(id, ticket, &payload),
                Order::Acknowledge { claim, outcome } => {
                    self.note_joinable_topic(id, outcome);
                    self.acknowledge(claim, Self::fate(None, outcome, None));
                }
                Order::WakeAt(at) => {
                    if let Some(line) = self.topics.get_mut(&id) {
                        line.wake = Some(at);
                    }
                    self.wake_at(id, at);
                }
            }
        }
    }

    /// Lets retries look for what may be written under the topic, before anybody is told that it may.
    fn note_joinable_topic(&mut self, id: u32, outcome: Outcome) {
        let may_have_landed = matches!(
            outcome,
            Outcome::Failed {
                may_have_landed: true,
                ..
            }
        );
        let Some(topic) = self.topics.get(&id).filter(|_| may_have_landed) else {
            return;
        };
        topic.intake.front.joinable.store(true, Ordering::Release);
        for line in self.lines.values_mut() {
            if line.partition.topic == topic.topic.name {
                line.topic_has_joinable = true;
                line.intake.front.joinable.store(true, Ordering::Release);
            }
        }
    }

    pub(super) fn topic_has_joinable(&self, topic: &TopicName) -> bool {
        let topic = self.topic_ids.get(topic).and_then(|id| self.topics.get(id));
        topic.is_some_and(|topic| topic.intake.front.joinable.load(Ordering::Acquire))
    }

    /// Lets `ticket` share what became of the event `id` that was parked under the topic of the line `line`.
    pub(super) fn join_under_topic(&mut self, line: u32, ticket: Ticket, event: &str) -> bool {
        let topic = self.lines.get(&line).map(|line| &line.partition.topic);
        let Some(id) = topic.and_then(|topic| self.topic_ids.get(topic)).copied() else {
            return false;
        };
        let mut orders = Vec::new();
        let joined = self
            .topics
            .get_mut(&id)
            .is_some_and(|topic| topic.machine.join(ticket, event, &mut orders));
        self.carry_out_topic(id, orders);
        joined
    }

    pub(super) fn topic_timer(&mut self, id: u32, at: Duration) {
        let is_meant = |line: &mut TopicLine| line.wake.take_if(|wake| *wake == at).is_some();
        if self.topics.get_mut(&id).is_some_and(is_meant) {
            self.topic_step(id, Input::Timer);
        }
    }

    fn append_under_topic(&mut self, id: u32, append: u64, batches: &[Batch]) {
        let Some(line) = self.topics.get(&id) else {
            return;
        };
        let place = line.intake.front.place.clone();
        let appended_at = self.shared.clock.now();
        let rows = batches
            .iter()
            .map(|batch| row(batch, None, appended_at))
            .collect();
        let (store, append_id) = (self.store.clone(), self.append_id(id, append));
        let is_shared = self.fleet.is_some();
        self.work.push(Box::pin(async move {
            let result = match is_shared {
                false => store.append(&place, append_id, rows).await,
                // In a shared store lanes are partitions', and nobody knows to which one these belong.
                true => Err(unknown_partitions(&place)),
            };
            Done::TopicAppended {
                topic: id,
                append,
                result,
            }
        }));
    }

    pub(super) fn topic_appended(
        &mut self,
        id: u32,
        append: u64,
        result: Result<u64, evenkeel_store::Error>,
    ) {
        self.note_refusal(&result);
        if let Some(line) = self.topics.get_mut(&id) {
            let result = line.appends.result(append, result.map(AppendIn::Made));
            self.topic_step(id, Input::Appended { append, result });
        }
    }

    fn begin_place(&mut self, id: u32, from: u64) {
        let Some(line) = self.topics.get(&id) else {
            return;
        };
        let (store, topic, partitions) = (self.store.clone(), line.topic.clone(), line.partitions);
        let place = line.intake.front.place.clone();
        self.work.push(Box::pin(async move {
            let result = place_some(&*store, &topic, &place, partitions, from).await;
            if result.is_err() {
                tokio::time::sleep(PLACE_AGAIN).await;
            }
            Done::Placed {
                topic: id,
                from,
                result,
            }
        }));
    }

    pub(super) fn placed(&mut self, id: u32, from: u64, result: Result<Placed, Failure>) {
        let Some(name) = self.topics.get(&id).map(|line| line.topic.name.clone()) else {
            return;
        };
        let Placed { below, grown } = match result {
            Ok(placed) => placed,
            Err(failure) => {
                match failure {
                    Failure::Damaged(message) => self.raise(AlarmKind::DamagedRows, name, None, message),
                    Failure::TakenOver => {}
                    Failure::Store(
                        error @ (evenkeel_store::Error::Full { .. } | evenkeel_store::Error::DiskFull { .. }),
                    ) => {
                        let message = format!("parked events cannot be given to their partitions: {error}");
                        self.raise(AlarmKind::StandbyFull, name, None, message);
                    }
                    Failure::Store(error) => {
                        tracing::error!(topic = %name, %error, "parked events cannot be given to their partitions");
                    }
                }
                return self.begin_place(id, from);
            }
        };
        self.clear(&name, None, &[AlarmKind::DamagedRows, AlarmKind::StandbyFull]);
        for (partition, Span { head, tail }) in grown {
            let line = self.line(&TopicPartition::new(name.clone(), partition));
            self.inbox.push_back((line, LineInput::Grown { head, tail }));
        }
        self.tell();
        self.topic_step(id, Input::Placed { below });
    }

    /// Gives a batch that waited under the topic to its partitions; its callers wait on.
    fn release(&mut self, id: u32, ticket: Ticket, payload: &Batch) {
        let (Some((who, bytes)), Some(line)) = (self.tickets.take(ticket), self.topics.get(&id)) else {
            return;
        };
        self.shared.give_room(bytes);
        let (topic, partitions) = (line.topic.clone(), line.partitions);
        let parts = match part(&topic, partitions, payload) {
            Ok(parts) => parts,
            Err(error) => {
                // Our own bytes in memory: they were readable when they were made.
                tracing::error!(topic = %topic.name, %error, "a batch in memory cannot be read");
                return who.give_up();
            }
        };
        for (partition, (batch, indexes)) in parts {
            let line = self.line(&TopicPartition::new(topic.name.clone(), partition));
            let ready = Ready {
                batch,
                who: who.pick(&indexes),
                join: None,
                parks: false,
                bytes: 0,
            };
            if let Some(line) = self.lines.get_mut(&line) {
                line.intake.ready.push_back(ready);
            }
            self.feed(line);
        }
    }

    /// Tells every topic that nothing more comes. True when all have finished.
    pub(super) fn close_topics(&mut self) -> bool {
        let mut closing = Vec::new();
        for (id, line) in &mut self.topics {
            let is_taken = line.intake.ready.is_empty() && line.intake.front.retire();
            if is_taken && !line.closed {
                line.closed = true;
                closing.push(*id);
            }
        }
        for id in closing {
            self.topic_step(id, Input::Close);
        }
        self.topics
            .values()
            .all(|line| line.closed && line.machine.is_idle())
    }
}

fn unknown_partitions(place: &Place) -> evenkeel_store::Error {
    evenkeel_store::Error::Unreachable {
        server: "Kafka".to_owned(),
        action: "tell the partitions of a topic",
        reason: format!(
            "neither Kafka nor the shared store knows the partitions of {} yet, so that its events cannot be parked: a topic has \
             to be published to once while Kafka is there, by any process of the application",
            place.topic
        ),
        may_have_been_made: false,
    }
}

type Parts = BTreeMap<i32, (Batch, Vec<usize>)>;

/// Parts a batch by the partitions of its records, with the records' indexes in it.
fn part(topic: &Topic, partitions: usize, batch: &Batch) -> Result<Parts, evenkeel_broker::batch::Error> {
    let mut open = BTreeMap::<i32, (Gathering, Vec<usize>)>::new();
    for (index, record) in batch.open()?.iter().enumerate() {
        let partition = i32::try_from(topic.partition(record.key, partitions)).unwrap_or(0);
        let (gathering, indexes) = open
            .entry(partition)
            .or_insert_with(|| (Gathering::new(batch.kind()), Vec::new()));
        gathering.push(&record)?;
        indexes.push(index);
    }
    open.into_iter()
        .map(|(partition, (gathering, indexes))| Ok((partition, (gathering.close()?, indexes))))
        .collect()
}
