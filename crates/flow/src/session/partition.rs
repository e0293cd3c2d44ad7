//! The session's state, and where each input goes.
//!
//! After each input the same steps are taken in one order: decide what stands at the front, choose between sending and
//! parking, append, read and stamp, send, and say when to be woken. Each step is a file of its own.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use evenkeel_event::TopicId;

use super::append::{Append, Queue, not_taken, whole};
use super::identity::Identities;
use super::in_flight::InFlight;
use super::join::Settled;
use super::lane::Lane;
use super::{Input, Now, Order, Payload, Settings, Ticket, Way};
use crate::answer::Trouble;

/// The produce session of one partition. See the [module](super) for its contract with the shell.
#[derive(Debug)]
pub struct Partition<P> {
    pub(super) settings: Settings,
    pub(super) closed: bool,
    pub(super) mode: Mode,
    pub(super) waiting: Queue<P>,
    /// Something that waits is to be parked whatever the brokers say.
    pub(super) asked_to_park: bool,
    /// An operator holds what the store has of this partition.
    pub(super) held: bool,
    /// Where the events of a shared lane go; `None` for a lane of this process's own.
    pub(super) way: Option<Way>,
    /// The partition of a shared lane cannot be sent to.
    pub(super) is_out: bool,
    pub(super) flight: VecDeque<InFlight<P>>,
    pub(super) append: Option<Append<P>>,
    pub(super) lane: Lane<P>,
    pub(super) identities: Identities,
    pub(super) settled: Settled<P>,
    pub(super) broker: Broker,
    pub(super) health: Health,
    pub(super) numbers: Numbers,
    pub(super) wake: Option<Duration>,
}

/// Whether events are sent, or parked behind what is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Events are stamped and sent. The lane in the store is empty.
    Open,
    /// Events are appended to the lane in the store.
    Out,
    /// The last of the lane is being sent; events wait for that in memory.
    Closing,
}

/// What is known of the partition at the brokers.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) leader: Leader,
    pub(super) topic_id: TopicId,
    /// The log's end as far as answers told it.
    pub(super) end: Option<i64>,
    pub(super) throttled_until: Duration,
}

/// Whether there is a leader to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Leader {
    /// Not told yet.
    #[default]
    Unknown,
    Known,
    Gone,
}

/// How sending goes.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Only the front is sent until something is answered appended.
    pub(super) probing: bool,
    /// Something that only an operator can mend stands against sending.
    pub(super) blocked: bool,
    pub(super) alarmed: Option<Trouble>,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Nothing is sent, searched for or lettered again before.
    pub(super) retry_at: Duration,
    /// Since when callers wait without any progress.
    pub(super) stalled_since: Option<Duration>,
}

/// The last numbers given.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) attempt: u64,
    pub(super) append: u64,
    pub(super) write: u64,
    pub(super) search: u64,
    pub(super) letter: u64,
}

impl<P: Payload> Partition<P> {
    /// A partition of which nothing is known.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            closed: false,
            mode: Mode::Open,
            waiting: Queue::default(),
            asked_to_park: false,
            held: false,
            way: None,
            is_out: false,
            flight: VecDeque::new(),
            append: None,
            lane: Lane::default(),
            identities: Identities::default(),
            settled: Settled::new(settings.settled_batches_max),
            broker: Broker::default(),
            health: Health::default(),
            numbers: Numbers::default(),
            wake: None,
        }
    }

    /// A partition whose lane in the store is shared with other processes. It is sent to directly or parked as it is told
    /// by [`Input::Way`], what is parked is drained by another session, and [`Partition::is_out`] tells when it is to be
    /// parked. It holds until it was told.
    #[must_use]
    pub fn shared(settings: Settings) -> Self {
        Self {
            way: Some(Way::Hold),
            ..Self::new(settings)
        }
    }

    /// Says how long brokers remember a producer that writes nothing, once they have said it.
    pub fn set_producer_expiry(&mut self, expiry: Duration) {
        self.settings.producer_expiry = expiry;
    }

    /// Takes in what happened and pushes what is to be done onto `orders`.
    pub fn handle(&mut self, now: Now, input: Input<P>, orders: &mut Vec<Order<P>>) {
        match input {
            Input::Published { ticket, payload } => self.take(now, ticket, payload, orders),
            Input::Park { ticket, payload } => {
                self.take(now, ticket, payload, orders);
                self.asked_to_park |= !self.waiting.is_empty();
            }
            Input::Answered { attempt, answer } => self.answered(now, attempt, answer, orders),
            Input::LeaderKnown { topic_id } => self.leader_known(topic_id),
            Input::LeaderGone => self.broker.leader = Leader::Gone,
            Input::Throttled { until } => {
                self.broker.throttled_until = self.broker.throttled_until.max(until);
            }
            Input::Producer { id } => self.identities.take_own(id),
            Input::Recovered { head, tail, epochs } => self.recovered(head, tail, &epochs),
            Input::Grown { head, tail } => self.grown(head, tail),
            Input::Appended { append, result } => self.appended(now, append, result, orders),
            Input::StampsStored { write } => self.stamps_stored(write),
            Input::Removed { below } => self.removed(below),
            Input::Read { batches } => self.lane.take(batches),
            Input::Searched { search, result } => self.searched(now, search, result, orders),
            Input::Lettered { letter, durable } => self.lettered(now, letter, durable, orders),
            Input::Hold { held } => self.held = held,
            Input::Way(way) => self.turn(way),
            Input::NotDiverted => self.not_diverted(orders),
            Input::Close => self.closed = true,
            Input::Timer => self.wake = None,
        }
        self.go_on(now, orders);
    }

    /// True while another batch may be published.
    #[must_use]
    pub fn can_take(&self) -> bool {
        !self.closed && self.waiting.has_room(&self.settings)
    }

    /// True when every caller is answered and nothing that they were promised is in memory alone: the process may end.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.append.is_none()
            && self.flight.iter().all(|batch| batch.shares.is_empty())
    }

    /// Positions of the records that the store holds of this partition, as far as the session knows.
    #[must_use]
    pub fn parked(&self) -> Range<u64> {
        self.lane.head..self.lane.tail
    }

    /// True while an operator holds what is parked: nothing of it is sent until it is let go.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held && !self.lane.is_empty()
    }

    /// True while a partition with a shared lane cannot be sent to, and is not parked: it is to be.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.is_out
    }

    /// Batches in memory: those that wait, are in flight or being appended, and those read ahead.
    #[must_use]
    pub fn batches_in_memory(&self) -> usize {
        let appending = self.append.as_ref().map_or(0, |append| append.waiting.len());
        self.waiting.len() + self.flight.len() + appending + self.lane.ahead.len()
    }

    fn take(&mut self, now: Now, ticket: Ticket, payload: P, orders: &mut Vec<Order<P>>) {
        let claim = whole(ticket, payload.count());
        if !self.can_take() {
            let outcome = not_taken(self.closed);
            orders.push(Order::Acknowledge { claim, outcome });
            return;
        }
        self.waiting.push(now.elapsed, claim, payload);
    }

    fn leader_known(&mut self, topic_id: TopicId) {
        self.broker.leader = Leader::Known;
        self.health.retry_at = Duration::ZERO;
        if topic_id != TopicId::UNKNOWN && topic_id != self.broker.topic_id {
            self.broker.topic_id = topic_id;
            self.broker.end = None;
            self.identities.forget_established();
        }
    }

    pub(super) fn has_leader(&self) -> bool {
        self.broker.leader == Leader::Known
    }

    /// Decides twice, because what was just loaded may not be sent as it is.
    pub(super) fn go_on(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        self.decide(now, orders);
        self.sweep(orders);
        self.choose_mode(now);
        self.park(now, orders);
        // What is held is neither read nor sent. What was sent before is still answered, and removed then.
        if !self.is_held() {
            self.load(now, orders);
            self.decide(now, orders);
            self.stamp_waiting(now, orders);
            self.send(now, orders);
        }
        self.wake(now, orders);
    }

    fn wake(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        let candidates = [
            Some(self.health.retry_at),
            Some(self.broker.throttled_until),
            self.out_at(),
            self.append_wake(),
        ];
        let next = candidates
            .into_iter()
            .flatten()
            .filter(|at| *at > now.elapsed)
            .min();
        if let Some(next) = next
            && self.wake.is_none_or(|earlier| next < earlier)
        {
            self.wake = Some(next);
            orders.push(Order::WakeAt(next));
        }
    }

    /// Waits longer after each failure in a row.
    pub(super) fn back_off(&mut self, now: Now) {
        self.health.failures = self.health.failures.saturating_add(1);
        let wait = self.settings.backoff.wait(self.health.failures, u8::MAX);
        self.health.retry_at = now.elapsed + wait;
    }
}

impl Numbers {
    /// The number after the last one.
    pub(super) fn next(last: &mut u64) -> u64 {
        *last += 1;
        *last
    }
}
