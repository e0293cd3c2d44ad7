//! What a member knows of one place, and what it does about it.
//!
//! The rules it keeps:
//! - what is read counts only when it is newer than what is known: a late answer turns nothing back;
//! - a place is open again only when a record says so that is newer than its diversion, or when a listing that began later
//!   does not have it;
//! - it is settled when a listing of the leases that began after the diversion was seen has no lease that does not
//!   acknowledge it;
//! - it is opened by its drainer alone, in one write, on condition that nothing was written and nothing appended since its
//!   lane was seen empty.

use std::fmt::Debug;

use super::order::Way;
use super::{Diversion, Lease, Left, Loaded, Order, Phase, Placed, Process, PutResult, Versioned};

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Line {
    pub(super) seen: Versioned<Diversion>,
    /// It was heard of since the last listing of places began.
    is_heard: bool,
    /// A listing of leases began since its record last changed.
    leases_asked: bool,
    wants: Option<Placed>,
    is_reachable: bool,
    /// A load or a write of its record is not answered.
    is_busy: bool,
    must_load: bool,
    /// The store did not answer: nothing is asked before the next poll.
    rests: bool,
    /// Every epoch below this one has passed, as an append found.
    passed_below: u64,
    /// The epoch that every lease acknowledges.
    acknowledged: Option<u64>,
    /// The term whose drainer has no lease.
    abandoned: Option<u64>,
    lane: Option<Loaded>,
    drain: Option<Drain>,
    told: Told,
}

/// The drain of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Drain {
    term: u64,
    left: Left,
    tail: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Told {
    way: Option<Way>,
    below: u64,
}

/// What a line needs to know of its member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    pub(super) me: Process,
    pub(super) drains: bool,
    /// Where events go that nothing diverts.
    pub(super) open_way: Way,
}

impl Line {
    pub(super) fn way(&self, open_way: Way) -> Way {
        let epoch = self.seen.record.epoch;
        match self.seen.record.phase {
            _ if epoch < self.passed_below => Way::Hold,
            Phase::Diverting | Phase::Diverted => Way::Park { epoch },
            Phase::Closing => Way::Linger { epoch },
            Phase::Open if self.wants.is_some() => Way::Hold,
            Phase::Open => open_way,
        }
    }

    /// The epoch below which everything that was appended may be told.
    pub(super) fn settled_below(&self) -> u64 {
        let record = self.seen.record;
        let settled = matches!(record.phase, Phase::Diverted | Phase::Closing);
        self.passed_below.max(record.epoch + u64::from(settled))
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.seen.record.phase, Phase::Open)
    }

    pub(super) fn want(&mut self, placed: Placed) {
        if self.is_open() {
            self.wants = Some(placed);
        }
    }

    pub(super) fn set_reachable(&mut self, is_reachable: bool) {
        self.is_reachable = is_reachable;
    }

    /// An append found that the epoch has passed.
    pub(super) fn passed(&mut self, epoch: u64) {
        self.passed_below = self.passed_below.max(epoch + 1);
        self.must_load |= self.seen.record.epoch <= epoch;
    }

    /// A listing begins: it is time to ask again, and how far the lane has grown that is drained.
    pub(super) fn poll(&mut self) {
        self.is_heard = false;
        self.rests = false;
        self.must_load |= self.drain.is_some();
    }

    pub(super) fn drained(&mut self, term: u64, left: Left) {
        if let Some(drain) = &mut self.drain
            && drain.term == term
        {
            drain.left = left;
            self.must_load |= left == Left::Nothing;
        }
    }

    /// A listing of the leases begins.
    pub(super) fn ask_leases(&mut self) {
        self.leases_asked = true;
    }

    /// A listing has it, or a load or a write brought it.
    pub(super) fn hear(&mut self, found: Versioned<Diversion>) {
        self.is_heard = true;
        if found.version > self.seen.version {
            self.note(found);
        }
    }

    /// A listing does not have it.
    pub(super) fn miss(&mut self) {
        if self.is_open() || self.is_heard {
            return;
        }
        let mut found = self.seen;
        found.record.phase = Phase::Open;
        found.record.epoch += 1;
        self.note(found);
        self.must_load |= self.drain.is_some();
    }

    fn note(&mut self, found: Versioned<Diversion>) {
        self.seen = found;
        self.leases_asked = false;
        self.lane = None;
        if !self.is_open() {
            self.wants = None;
        }
    }

    pub(super) fn loaded<K: Clone>(&mut self, place: &K, found: Option<Loaded>, orders: &mut Vec<Order<K>>) {
        self.is_busy = false;
        let Some(found) = found else {
            self.fail(place, orders);
            return;
        };
        self.hear(found.diversion);
        if found.diversion.version == self.seen.version {
            self.lane = Some(found);
        }
    }

    pub(super) fn put<K: Clone>(
        &mut self,
        place: &K,
        made: Diversion,
        result: PutResult,
        orders: &mut Vec<Order<K>>,
    ) {
        self.is_busy = false;
        match result {
            PutResult::Made(version) => {
                let record = made;
                self.hear(Versioned { version, record });
            }
            PutResult::Moved => self.must_load = true,
            PutResult::Failed => self.fail(place, orders),
        }
    }

    /// The store does not answer. What waits for the diversion is told; the listings bring the rest.
    fn fail<K: Clone>(&mut self, place: &K, orders: &mut Vec<Order<K>>) {
        self.lane = None;
        self.rests = true;
        if self.wants.take().is_some() {
            orders.push(Order::NotDiverted { place: place.clone() });
        }
    }

    /// Takes in a listing of the leases that began after what is known was seen.
    pub(super) fn take_leases<K: Ord>(&mut self, around: &Around, place: &K, leases: &[Lease<K>]) {
        if self.is_open() || !self.leases_asked {
            return;
        }
        let record = self.seen.record;
        let all = leases
            .iter()
            .filter(|lease| lease.process != around.me)
            .all(|lease| lease.acknowledged.get(place) == Some(&record.epoch));
        if all {
            self.acknowledged = Some(record.epoch);
        }
        let lives = |process| leases.iter().any(|lease| lease.process == process);
        if !record.drainer.is_some_and(lives) {
            self.abandoned = Some(record.term);
        }
    }

    /// True while it is to be known who holds a lease.
    pub(super) fn needs_leases(&self, around: &Around) -> bool {
        let record = self.seen.record;
        let unsettled = record.phase == Phase::Diverting && self.acknowledged != Some(record.epoch);
        let other = record.drainer.is_some_and(|drainer| drainer != around.me);
        let may_take_over = self.may_drain(around) && other && self.abandoned != Some(record.term);
        unsettled || may_take_over
    }

    fn may_drain(&self, around: &Around) -> bool {
        around.drains && self.is_reachable && self.seen.record.phase.takes_appends()
    }

    /// Orders what is to be done now, and tells what has changed.
    pub(super) fn go_on<K: Clone>(&mut self, around: &Around, place: &K, orders: &mut Vec<Order<K>>) {
        self.follow_drain(around, place, orders);
        if !self.is_busy && !self.rests {
            self.ask(around, place, orders);
        }
        self.tell(around, place, orders);
    }

    fn ask<K: Clone>(&mut self, around: &Around, place: &K, orders: &mut Vec<Order<K>>) {
        let place = place.clone();
        if self.must_load {
            self.must_load = false;
            self.is_busy = true;
            orders.push(Order::Load { place });
        } else if let Some((diversion, tail)) = self.next_put(around) {
            self.is_busy = true;
            orders.push(Order::Put {
                place,
                version: self.seen.version,
                tail,
                diversion,
            });
        }
    }

    fn tell<K: Clone>(&mut self, around: &Around, place: &K, orders: &mut Vec<Order<K>>) {
        let below = self.settled_below();
        if below > self.told.below {
            self.told.below = below;
            let place = place.clone();
            orders.push(Order::Settled { place, below });
        }
        let way = self.way(around.open_way);
        if self.told.way.replace(way) != Some(way) {
            let place = place.clone();
            orders.push(Order::Turned { place, way });
        }
    }

    /// The record to write next, and the end of the lane on which it depends.
    fn next_put(&self, around: &Around) -> Option<(Diversion, Option<u64>)> {
        let record = self.seen.record;
        if let Some(placed) = self.wants.filter(|_| self.is_open()) {
            let diversion = Diversion {
                phase: Phase::Diverting,
                topic_id: placed.topic_id,
                partition_count: placed.partition_count,
                drainer: None,
                ..record
            };
            return Some((diversion, None));
        }
        if record.phase == Phase::Diverting && self.acknowledged == Some(record.epoch) {
            let phase = Phase::Diverted;
            return Some((Diversion { phase, ..record }, None));
        }
        if record.drainer == Some(around.me) {
            return self.next_put_of_drain(around);
        }
        let is_free = record.drainer.is_none() || self.abandoned == Some(record.term);
        (self.may_drain(around) && is_free).then(|| {
            let claimed = Diversion {
                drainer: Some(around.me),
                term: record.term + 1,
                ..reopened(record)
            };
            (claimed, None)
        })
    }

    fn next_put_of_drain(&self, around: &Around) -> Option<(Diversion, Option<u64>)> {
        let record = self.seen.record;
        let drain = self.drain.filter(|drain| drain.term == record.term)?;
        if !self.may_drain(around) {
            let drainer = None;
            let resigned = Diversion {
                drainer,
                ..reopened(record)
            };
            return Some((resigned, None));
        }
        let is_settled = matches!(record.phase, Phase::Diverted | Phase::Closing);
        let empty = self
            .lane
            .filter(|lane| lane.head == lane.tail && drain.left == Left::Nothing);
        if let Some(lane) = empty.filter(|_| is_settled) {
            let opened = Diversion {
                epoch: record.epoch + 1,
                phase: Phase::Open,
                drainer: None,
                ..record
            };
            return Some((opened, Some(lane.tail)));
        }
        let phase = match (record.phase, drain.left) {
            (Phase::Diverted, Left::Little) => Phase::Closing,
            (Phase::Closing, Left::Much) => Phase::Diverted,
            _ => return None,
        };
        Some((Diversion { phase, ..record }, None))
    }

    /// Begins, feeds and ends the drain of this process.
    fn follow_drain<K: Clone>(&mut self, around: &Around, place: &K, orders: &mut Vec<Order<K>>) {
        let record = self.seen.record;
        let is_mine = record.drainer == Some(around.me) && record.phase.takes_appends();
        if let Some(drain) = self.drain
            && !(is_mine && drain.term == record.term)
        {
            self.drain = None;
            let place = place.clone();
            orders.push(Order::StopDrain { place });
        }
        if !is_mine {
            return;
        }
        let place = place.clone();
        match (self.drain.as_mut(), self.lane) {
            (None, None) => self.must_load = true,
            (None, Some(Loaded { head, tail, .. })) => {
                let (term, left) = (record.term, Left::Much);
                self.drain = Some(Drain { term, left, tail });
                orders.push(Order::Drain {
                    place,
                    term,
                    head,
                    tail,
                });
            }
            (Some(drain), Some(Loaded { head, tail, .. })) if tail > drain.tail => {
                drain.tail = tail;
                drain.left = Left::Much;
                orders.push(Order::Grown { place, head, tail });
            }
            (Some(_), _) => {}
        }
    }
}

/// The record without the promise that it will soon be open.
fn reopened(record: Diversion) -> Diversion {
    let phase = match record.phase {
        Phase::Closing => Phase::Diverted,
        other => other,
    };
    Diversion { phase, ..record }
}
