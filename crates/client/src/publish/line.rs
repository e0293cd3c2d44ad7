//! One partition's machine, and what it orders.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_broker::Leader;
use evenkeel_event::{EventId, TopicId, TopicPartition};
use evenkeel_flow::Trouble;
use evenkeel_flow::session::{Input, Order, Partition, Payload as _, Settings, StoreResult};
use evenkeel_store::{AppendId, AppendIn, BoxFuture, Error, Place, PlaceStats};

use super::alarm::of_trouble;
use super::batch::Batch;
use super::done::Done;
use super::engine::Engine;
use super::fleet::{Fleet, Role};
use super::front::Front;
use super::intake::Intake;
use super::pulse::boot_time;
use super::receipt::LetterPlace;
use super::store_step::{StoreStep, row};
use crate::failpoint::{Point, pass};

/// A partition that is published to.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) partition: TopicPartition,
    pub(super) intake: Intake,
    pub(super) machine: Partition<Batch>,
    pub(super) role: Role,
    /// Attempts that are not answered, and the nodes that they went to.
    pub(super) attempts: HashMap<u64, i32>,
    /// What the machine was told last.
    pub(super) leader: Leader,
    pub(super) topic_id: TopicId,
    /// Steps in the store, made one by one; the first is under way.
    pub(super) steps: VecDeque<StoreStep>,
    wake: Option<Duration>,
    pub(super) appends: Appends,
    /// What became of the letter that is being told.
    pub(super) letter: Option<(evenkeel_event::Code, String, LetterPlace)>,
    pub(super) letters: HashMap<u64, (evenkeel_event::Code, String)>,
    /// An alarm stands against this partition.
    pub(super) is_alarmed: bool,
    /// Everything below left the store, as far as it is counted.
    pub(super) drained_to: u64,
    closed: bool,
    /// Callers were told that events may be written under the topic.
    pub(super) topic_has_joinable: bool,
}

impl Line {
    /// A line that was told nothing yet.
    pub(super) fn new(partition: TopicPartition, front: Arc<Front>, role: Role, settings: Settings) -> Self {
        Self {
            partition,
            intake: Intake::new(front),
            machine: role.machine(settings),
            role,
            attempts: HashMap::new(),
            leader: Leader::Unknown,
            topic_id: TopicId::UNKNOWN,
            steps: VecDeque::new(),
            wake: None,
            appends: Appends::default(),
            letter: None,
            letters: HashMap::new(),
            is_alarmed: false,
            drained_to: 0,
            closed: false,
            topic_has_joinable: false,
        }
    }

    /// Lets callers know whether retries must look for what may have landed, before anybody is told that it may.
    fn note_joinable(&self) {
        let joinable = self.machine.has_joinable() || self.topic_has_joinable;
        self.intake.front.joinable.store(joinable, Ordering::Release);
    }
}

/// Appends that a store did not answer for.
#[derive(Debug, Default)]
pub(super) struct Appends {
    unknown: Option<u64>,
    /// The store has refused, and that was said: on a full disk a line for each event would be the next flood.
    is_refusing: bool,
}

impl Line {
    /// True when nothing is left to do that can be done now: what is parked waits for a leader, or is held.
    fn has_finished(&self, fleet: Option<&Fleet>) -> bool {
        let cannot_drain = self.machine.is_held() || !matches!(self.leader, Leader::At { .. });
        let is_open = fleet.is_none_or(|fleet| fleet.is_open(&self.intake.front.place));
        let is_drained = (self.machine.parked().is_empty() && is_open) || cannot_drain;
        self.closed && self.machine.is_idle() && !self.role.has_untold() && is_drained
    }
}

impl Appends {
    /// What an append's end means for the machine. A stopped store has not taken this one, but may have before.
    pub(super) fn result(&mut self, append: u64, result: Result<AppendIn, Error>) -> StoreResult {
        let was_unknown = self.unknown == Some(append);
        match result {
            Ok(AppendIn::Passed) => StoreResult::Passed,
            Ok(AppendIn::Made(position)) => {
                if std::mem::take(&mut self.is_refusing) {
                    tracing::warn!("the standby store takes events again");
                }
                StoreResult::Durable { position }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_refusing, true) {
                    tracing::warn!(%error, "the standby store does not take events");
                }
                let is_unknown = was_unknown || error.may_have_been_made();
                self.unknown = is_unknown.then_some(append);
                if is_unknown {
                    StoreResult::Unknown
                } else {
                    StoreResult::Refused
                }
            }
        }
    }
}

/// Appends, and once more where the store did not answer in a time during which this process stood still.
async fn insist<'store>(
    append: impl Fn() -> BoxFuture<'store, Result<AppendIn, Error>>,
    stood_still: impl Fn() -> bool,
) -> Result<AppendIn, Error> {
    let first = match append().await {
        Err(error) if error.is_outage() && stood_still() => error,
        done => return done,
    };
    // What may have been made is still unknown when it is not made now.
    append().await.map_err(|second| match first.may_have_been_made() {
        true => first,
        false => second,
    })
}

impl Engine {
    /// The line of a partition, made when it is not there.
    pub(super) fn line(&mut self, partition: &TopicPartition) -> u32 {
        if let Some(id) = self.line_ids.get(partition) {
            return *id;
        }
        let front = self.shared.front(&partition.topic, Some(partition.partition));
        let id = front.id;
        let held = self.recovered.remove(&front.place);
        let topic_has_joinable = self.topic_has_joinable(&partition.topic);
        front.joinable.store(topic_has_joinable, Ordering::Release);
        let role = Role::of_publishing(self.fleet.as_ref());
        let place = front.place.clone();
        let line = Line {
            is_alarmed: self.book.is_raised(&partition.topic, Some(partition.partition)),
            topic_has_joinable,
            ..Line::new(partition.clone(), front, role, self.settings)
        };
        self.lines.insert(id, line);
        self.line_ids.insert(partition.clone(), id);
        if let Some(PlaceStats { span, epochs, .. }) = held {
            let (head, tail) = (span.head, span.tail);
            self.inbox
                .push_back((id, Input::Recovered { head, tail, epochs }));
        }
        self.tell_way(&place);
        self.tell_hold(id);
        self.tell_leader(id);
        id
    }

    /// Tells a line one thing, carries out what it orders, and lets it take what waits.
    pub(super) fn step(&mut self, id: u32, input: Input<Batch>) {
        let now = self.now();
        let mut orders = Vec::new();
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let was_direct = line.machine.parked().is_empty();
        line.machine.handle(now, input, &mut orders);
        if !was_direct && line.machine.parked().is_empty() {
            pass(Point::LaneOpen);
        }
        line.note_joinable();
        self.carry_out(id, orders);
        self.report_line(id);
        self.feed(id);
    }

    /// Lets a line take what waits for it, as far as it can.
    pub(super) fn feed(&mut self, id: u32) {
        let is_ending = self.ending.is_some();
        let shared = self.shared.clone();
        loop {
            if !self.may_feed(id) {
                return;
            }
            let now = self.now();
            let Some(line) = self.lines.get_mut(&id) else {
                return;
            };
            if !line.machine.can_take() {
                return;
            }
            let at_once = is_ending || line.attempts.is_empty();
            let Some(ready) = line.intake.next(at_once, &shared) else {
                let due = line.intake.due;
                if let Some(due) = due {
                    self.wake_at(id, due);
                }
                return;
            };
            let count = ready.batch.count();
            let ticket = self.tickets.open(ready.who, count, ready.bytes);
            let mut orders = Vec::new();
            let event = ready.join.as_ref().map(EventId::as_str);
            let joined = event.is_some_and(|event| line.machine.join(now, ticket, event, &mut orders));
            if !joined && event.is_some_and(|event| self.join_under_topic(id, ticket, event)) {
                continue;
            }
            let Some(line) = self.lines.get_mut(&id) else {
                return;
            };
            if !joined {
                let (payload, parks) = (ready.batch, ready.parks);
                let input = match parks {
                    false => Input::Published { ticket, payload },
                    true => Input::Park { ticket, payload },
                };
                line.machine.handle(now, input, &mut orders);
            }
            line.note_joinable();
            self.carry_out(id, orders);
            self.report_line(id);
        }
    }

    fn carry_out(&mut self, id: u32, orders: Vec<Order<Batch>>) {
        for order in orders {
            self.carry_out_one(id, order);
        }
    }

    fn carry_out_one(&mut self, id: u32, order: Order<Batch>) {
        match order {
            Order::Send {
                attempt,
                stamping,
                payload,
            } => self.order_send(id, attempt, &stamping, &payload),
            Order::Append { append, batches } => self.order_append(id, append, &batches),
            Order::StoreStamps { write, stamps } => self.order_step(id, StoreStep::Stamp { write, stamps }),
            Order::Read { from } => self.order_read(id, from),
            Order::Remove { below } => self.order_step(id, StoreStep::Remove { below }),
            Order::Search {
                search,
                payload,
                from,
                since,
            } => self.order_search(id, search, &payload, from, since),
            Order::DeadLetter {
                letter,
                payload,
                refusal,
            } => self.order_letter(id, letter, &payload, refusal),
            Order::Acknowledge { claim, outcome } => {
                let Some(line) = self.lines.get_mut(&id) else {
                    return;
                };
                let fate = Self::fate(Some(line.partition.partition), outcome, line.letter.clone());
                if !self.tell_parked(id, claim, &fate) {
                    self.acknowledge(claim, fate);
                }
            }
            Order::AskProducer { used_up } => self.need_producer(id, used_up),
            Order::WakeAt(at) => {
                if let Some(line) = self.lines.get_mut(&id) {
                    line.wake = Some(at);
                }
                self.wake_at(id, at);
            }
            Order::Alarm(trouble) => self.alarm(id, trouble),
        }
    }

    fn alarm(&mut self, id: u32, trouble: Trouble) {
        let Some(line) = self.lines.get(&id) else {
            return;
        };
        let partition = line.partition.clone();
        let (kind, message) = of_trouble(trouble, &partition.topic);
        if let Some(line) = self.lines.get_mut(&id) {
            line.is_alarmed = true;
        }
        self.raise(kind, partition.topic.clone(), Some(partition.partition), message);
        if trouble == Trouble::TopicMissing {
            let topic = self.topic_line(&partition.topic);
            self.look_up(topic);
        }
    }

    /// The time `at` has come for the line `id`.
    pub(super) fn line_timer(&mut self, id: u32, at: Duration) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        if line.intake.due == Some(at) {
            line.intake.due = None;
            self.feed(id);
        }
        let is_meant = |line: &mut Line| line.wake.take_if(|wake| *wake == at).is_some();
        if self.lines.get_mut(&id).is_some_and(is_meant) {
            self.inbox.push_back((id, Input::Timer));
        }
    }

    fn order_append(&mut self, id: u32, append: u64, batches: &[(Option<evenkeel_flow::Stamping>, Batch)]) {
        let Some(line) = self.lines.get(&id) else {
            return;
        };
        pass(Point::Park);
        let place = line.intake.front.place.clone();
        let appended_at = self.shared.clock.now();
        let rows = batches
            .iter()
            .map(|(stamping, batch)| row(batch, *stamping, appended_at))
            .collect();
        let append_id = self.append_id(id, append);
        let (store, fleet) = (self.store.clone(), self.fleet.as_ref());
        let shared = fleet.map(|fleet| (fleet.store(), fleet.epoch(&place)));
        let epoch = shared.as_ref().and_then(|(_, epoch)| *epoch);
        let pulse = self.pulse.clone();
        self.work.push(Box::pin(async move {
            let result = match shared {
                None => store.append(&place, append_id, rows).await.map(AppendIn::Made),
                Some((store, Some(epoch))) => {
                    let append = || store.append_in(&place, epoch, append_id, rows.clone());
                    let began = boot_time();
                    insist(append, || pulse.stood_still(began, boot_time())).await
                }
                Some((_, None)) => Ok(AppendIn::Passed),
            };
            Done::Appended {
                line: id,
                append,
                epoch,
                result,
            }
        }));
    }

    /// The identity of an append of the line or topic `id`: the same each time it is ordered.
    pub(super) const fn append_id(&self, id: u32, append: u64) -> AppendId {
        AppendId {
            process: self.process ^ id as u128,
            number: append,
        }
    }

    pub(super) fn appended(
        &mut self,
        id: u32,
        append: u64,
        epoch: Option<u64>,
        result: Result<AppendIn, Error>,
    ) {
        self.note_refusal(&result);
        match result {
            Ok(AppendIn::Made(_)) => self.made_in(id, epoch),
            Ok(AppendIn::Passed) => self.passed_in(id, epoch),
            Err(_) => {}
        }
        if let Some(line) = self.lines.get_mut(&id) {
            let result = line.appends.result(append, result);
            self.inbox.push_back((id, Input::Appended { append, result }));
        }
    }

    /// Tells every line and topic that nothing more comes, once that is so. True when all have finished.
    pub(super) fn close_lines(&mut self) -> bool {
        let topics_finished = self.close_topics();
        for (id, line) in &mut self.lines {
            let is_taken = line.intake.ready.is_empty() && line.intake.front.retire();
            if is_taken && !line.closed {
                line.closed = true;
                self.inbox.push_back((*id, Input::Close));
            }
        }
        self.tell();
        self.begin_sends();
        let fleet = self.fleet.as_ref();
        topics_finished && self.lines.values().all(|line| line.has_finished(fleet))
    }

    /// The place that the line `id` parks at.
    pub(super) fn place_of(&self, id: u32) -> Option<Place> {
        Some(self.lines.get(&id)?.intake.front.place.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn away(may_have_been_made: bool) -> Error {
        Error::Unreachable {
            server: "a server".to_owned(),
            action: "write",
            reason: "no connection in time".to_owned(),
            may_have_been_made,
        }
    }

    #[tokio::test]
    async fn an_append_whose_time_passed_while_this_process_stood_still_is_made_once_more() {
        let full = Error::Full {
            topic: evenkeel_event::TopicName::new("orders").unwrap(),
            used_bytes: 1,
            needed_bytes: 1,
            limit_bytes: 1,
        };
        let insisted = async |first: &Error, second: Option<&Error>, stood_still: bool| {
            let called = Cell::new(0);
            let append = || {
                called.set(called.get() + 1);
                let result = match (called.get(), second) {
                    (1, _) => Err(first.clone()),
                    (_, Some(error)) => Err(error.clone()),
                    (_, None) => Ok(AppendIn::Made(0)),
                };
                Box::pin(std::future::ready(result)) as BoxFuture<'_, _>
            };
            let result = insist(append, || stood_still).await;
            (called.get(), result.map_err(|error| error.may_have_been_made()))
        };
        let made = Ok(AppendIn::Made(0));
        for first in [away(true), away(false)] {
            assert_eq!(insisted(&first, None, true).await, (2, made));
            assert_eq!(insisted(&first, None, false).await.0, 1);
        }
        assert_eq!(insisted(&full, None, true).await.0, 1);
        assert_eq!(
            insisted(&away(true), Some(&away(false)), true).await,
            (2, Err(true))
        );
        assert_eq!(
            insisted(&away(false), Some(&away(true)), true).await,
            (2, Err(true))
        );
        assert_eq!(
            insisted(&away(false), Some(&away(false)), true).await,
            (2, Err(false))
        );
    }
}
