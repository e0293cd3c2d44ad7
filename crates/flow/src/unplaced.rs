//! Events of a topic whose partitions are not known yet: parked under the topic, then placed.
//!
//! The rules it keeps:
//! - events are placed in the order of the calls, and before anything newer of the topic is published;
//! - each is answered `Parked` only when its append is durable;
//! - while an operator holds what is parked under the topic, nothing of it is placed;
//! - once nothing is unplaced, [`Order::Release`] hands the rest over, and the topic stays open.
//!
//! The lane under the topic has positions as a partition's lane has. [`Order::Place`] is one durable step of the store:
//! the records leave this lane and stand at the ends of their partitions' lanes, all or none, so that a crash places
//! each once.

use std::time::Duration;

use crate::session::append::{Append, Queue, fail_shares, not_taken, park_shares, whole};
use crate::session::in_flight::records;
use crate::session::join::Settled;
use crate::session::{Claim, Now, Outcome, Payload, Reason, Settings, StoreResult, Ticket};

/// The events of one topic before its partitions are known.
#[derive(Debug)]
pub struct Unplaced<P> {
    settings: Settings,
    closed: bool,
    partitions_known: bool,
    waiting: Queue<P>,
    /// Something that waits is to be parked also when the partitions are known.
    asked_to_park: bool,
    append: Option<Append<P>>,
    settled: Settled<P>,
    appends: u64,
    head: u64,
    tail: u64,
    placing: bool,
    /// An operator holds what the store has under the topic.
    held: bool,
    /// When something was last placed, on the monotonic clock.
    placed_at: Duration,
    wake: Option<Duration>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<P> {
    /// A closed batch is to be published.
    Published {
        /// Names the batch.
        ticket: Ticket,
        /// Its records.
        payload: P,
    },
    /// A closed batch is to be published by way of the store, whether the partitions are known or not.
    Park {
        /// Names the batch.
        ticket: Ticket,
        /// Its records.
        payload: P,
    },
    /// What the store holds under the topic when the process starts.
    Recovered {
        /// Position of the oldest record.
        head: u64,
        /// Position after the newest record.
        tail: u64,
    },
    /// The topic's partitions became known.
    PartitionsKnown,
    /// What became of an append.
    Appended {
        /// The append.
        append: u64,
        /// What became of it.
        result: StoreResult,
    },
    /// The records below are durably placed.
    Placed {
        /// Position of the oldest record left.
        below: u64,
    },
    /// An operator holds what is parked under the topic, or lets it go: while it is held nothing of it is placed, and
    /// what is published is parked behind it.
    Hold {
        /// True to hold it.
        held: bool,
    },
    /// Nothing more will be published: park what is there.
    Close,
    /// Time has passed.
    Timer,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order<P> {
    /// Append the batches durably at the end of the topic's lane, all or none; the same append ordered again is one,
    /// also when its records were placed meanwhile.
    Append {
        /// Number of the append, from 1.
        append: u64,
        /// The batches.
        batches: Vec<P>,
    },
    /// Move a bounded number of the oldest records to their partitions' lanes, in one durable step, tell those
    /// partitions that they have grown, and then how far it came. Repeated until it succeeds.
    Place {
        /// Position of the oldest record.
        from: u64,
    },
    /// Publish the batch to its partitions.
    Release {
        /// Names the batch.
        ticket: Ticket,
        /// Its records.
        payload: P,
    },
    /// Tell the callers.
    Acknowledge {
        /// Whom.
        claim: Claim,
        /// What.
        outcome: Outcome,
    },
    /// Tell the time at this instant of the monotonic clock. Replaces earlier ones.
    WakeAt(Duration),
}

impl<P: Payload> Unplaced<P> {
    /// A topic of which nothing is known.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            closed: false,
            partitions_known: false,
            waiting: Queue::default(),
            asked_to_park: false,
            append: None,
            settled: Settled::new(settings.settled_batches_max),
            appends: 0,
            head: 0,
            tail: 0,
            placing: false,
            held: false,
            placed_at: Duration::ZERO,
            wake: None,
        }
    }

    /// Takes in what happened and pushes what is to be done onto `orders`.
    pub fn handle(&mut self, now: Now, input: Input<P>, orders: &mut Vec<Order<P>>) {
        match input {
            Input::Published { ticket, payload } => self.take(now, ticket, payload, orders),
            Input::Park { ticket, payload } => {
                self.take(now, ticket, payload, orders);
                self.asked_to_park |= !self.waiting.is_empty();
            }
            Input::Recovered { head, tail } => (self.head, self.tail) = (head, tail),
            Input::PartitionsKnown => self.partitions_known = true,
            Input::Appended { append, result } => self.appended(now, append, result, orders),
            Input::Placed { below } => {
                self.head = self.head.max(below);
                self.tail = self.tail.max(below);
                self.placing = false;
                self.placed_at = now.elapsed;
            }
            Input::Hold { held } => self.held = held,
            Input::Close => self.closed = true,
            Input::Timer => self.wake = None,
        }
        self.go_on(now, orders);
    }

    /// Lets `ticket`, of one record, share what becomes of the event `id`, when an earlier caller was told that it may
    /// be written. False when no such event is known: then it is published as any other.
    pub fn join(&mut self, ticket: Ticket, id: &P::Id, orders: &mut Vec<Order<P>>) -> bool {
        let claim = whole(ticket, 1);
        let outcome = self.settled.find(id);
        orders.extend(outcome.map(|outcome| Order::Acknowledge { claim, outcome }));
        outcome.is_some() || self.append.as_mut().is_some_and(|append| append.join(claim, id))
    }

    /// True while another batch may be published.
    #[must_use]
    pub fn can_take(&self) -> bool {
        !self.closed && self.waiting.has_room(&self.settings)
    }

    /// True when events go straight to their partitions: the shell may leave this machine out from then on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.partitions_known && self.is_idle() && self.is_empty()
    }

    /// True when every caller is answered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.append.is_none()
    }

    fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    fn take(&mut self, now: Now, ticket: Ticket, payload: P, orders: &mut Vec<Order<P>>) {
        let claim = whole(ticket, payload.count());
        if self.can_take() {
            self.waiting.push(now.elapsed, claim, payload);
            return;
        }
        let outcome = not_taken(self.closed);
        orders.push(Order::Acknowledge { claim, outcome });
    }

    fn go_on(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        if self.partitions_known && self.append.is_none() {
            if self.is_empty() && !self.asked_to_park {
                self.release(orders);
            } else if !self.is_empty() && !self.placing && !self.held {
                self.placing = true;
                orders.push(Order::Place { from: self.head });
            }
        }
        self.park(now, orders);
        let candidates = [self.out_at(), self.append.as_ref().and_then(Append::retry_at)];
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

    fn release(&mut self, orders: &mut Vec<Order<P>>) {
        for batch in self.waiting.take_all() {
            for share in batch.shares {
                let (ticket, payload) = (share.claim.ticket, batch.payload.clone());
                orders.push(Order::Release { ticket, payload });
            }
        }
    }

    /// When what waits is parked, or, behind an append whose fate is unknown, given up.
    fn out_at(&self) -> Option<Duration> {
        let since = self.waiting.oldest()?;
        let is_stuck = !self.partitions_known || self.held;
        let is_behind = is_stuck && !self.is_empty() && self.append.is_none();
        if is_behind || self.closed || self.asked_to_park {
            return Some(since);
        }
        Some(since.max(self.placed_at) + self.settings.out_after)
    }

    fn park(&mut self, now: Now, orders: &mut Vec<Order<P>>) {
        if let Some(append) = &mut self.append {
            if append.is_due(now.elapsed) {
                orders.push(order(append));
            }
            let is_unknown = append.is_unknown();
            while is_unknown
                && let Some(mut batch) = self.waiting.pop_older(now.elapsed, self.settings.out_after)
            {
                let failed = fail_shares(&mut batch.shares, false, Reason::StandbyUnknown);
                orders.extend(failed.map(acknowledge));
            }
        } else if self.out_at().is_some_and(|at| now.elapsed >= at) {
            self.asked_to_park = false;
            self.appends += 1;
            let append = Append::new(self.appends, Vec::new(), self.waiting.take_all());
            orders.push(order(&append));
            self.append = Some(append);
        }
    }

    fn appended(&mut self, now: Now, number: u64, result: StoreResult, orders: &mut Vec<Order<P>>) {
        let Some(mut append) = self.append.take_if(|append| append.number == number) else {
            return;
        };
        match result {
            StoreResult::Durable { position } => self.parked_at(position, append, orders),
            StoreResult::Refused | StoreResult::Passed => {
                fail_all(&mut append, false, Reason::StandbyRefused, orders);
            }
            StoreResult::Unknown => {
                fail_all(&mut append, true, Reason::StandbyUnknown, orders);
                append.become_unknown(now.elapsed, &self.settings);
                self.append = Some(append);
            }
        }
    }

    fn parked_at(&mut self, position: u64, append: Append<P>, orders: &mut Vec<Order<P>>) {
        if self.is_empty() {
            self.head = self.head.max(position);
            self.tail = self.head;
        }
        let (mut at, is_told_failed) = (position, append.is_unknown());
        for mut batch in append.waiting {
            orders.extend(park_shares(&mut batch.shares, at).map(acknowledge));
            let end = at + records(batch.payload.count());
            if is_told_failed {
                self.settled
                    .remember(batch.payload, Outcome::Parked { position: at });
            }
            at = end;
        }
        self.tail = self.tail.max(at);
    }
}

fn fail_all<P>(append: &mut Append<P>, may_have_landed: bool, reason: Reason, orders: &mut Vec<Order<P>>) {
    for batch in &mut append.waiting {
        orders.extend(fail_shares(&mut batch.shares, may_have_landed, reason).map(acknowledge));
    }
}

fn order<P: Payload>(append: &Append<P>) -> Order<P> {
    Order::Append {
        append: append.number,
        batches: append.batches().into_iter().map(|(_, payload)| payload).collect(),
    }
}

fn acknowledge<P>((claim, outcome): (Claim, Outcome)) -> Order<P> {
    Order::Acknowledge { claim, outcome }
}
