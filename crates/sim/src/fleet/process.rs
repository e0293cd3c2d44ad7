//! A process that publishes: the member that ships, and around it a session that sends, parks and asks.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_flow::diversion::{Input, Member, Order, Placed, Process, PutResult, RenewResult, Way};

use super::broker::{Event, Message, Stamp};
use super::drain::Drain;
use super::judge::Judge;
use super::store::{Answer, Ask, PLACE, Put};

/// A request and, once the store has carried it out, its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) ask: Ask,
    pub(super) answer: Option<Answer>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Running {
    pub(super) number: u8,
    pub(super) member: Member<u8>,
    pub(super) asked: Vec<Asked>,
    pub(super) session: Session,
    pub(super) drain: Option<Drain>,
    /// Events to be published, oldest last.
    pub(super) to_call: Vec<Event>,
    pub(super) called: Vec<Event>,
    /// Calls that are not decided.
    held: VecDeque<Event>,
}

/// What a produce session does, in the fewest lines: at most what is in flight is sent in order under its stamps, or
/// appended with them before what waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Session {
    incarnation: u8,
    next_sequence: u8,
    pub(super) flight: Vec<(Event, Stamp)>,
    waiting: Vec<Event>,
    append: Option<Append>,
    appends: u64,
    pub(super) is_out: bool,
    /// The epoch in which it went out.
    out_in: u64,
    /// Appended events whose callers are not told yet, and the epoch.
    parked: Vec<(u64, Event)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Append {
    epoch: u64,
    rows: Vec<(Event, Option<Stamp>)>,
}

/// What a process touches of the world.
#[derive(Debug)]
pub(super) struct Outside<'world> {
    pub(super) now: Duration,
    pub(super) net: &'world mut Vec<Message>,
    pub(super) ghosts: &'world mut Vec<Ask>,
    pub(super) judge: &'world mut Judge,
    pub(super) met: &'world mut u64,
}

impl Outside<'_> {
    pub(super) fn haunt(&mut self, ask: Ask) {
        if !self.ghosts.contains(&ask) {
            self.ghosts.push(ask);
        }
    }
}

impl Running {
    pub(super) fn new(number: u8, member: Member<u8>, events: Vec<Event>) -> Self {
        Self {
            number,
            member,
            asked: Vec::new(),
            session: Session::default(),
            drain: None,
            to_call: events.into_iter().rev().collect(),
            called: Vec::new(),
            held: VecDeque::new(),
        }
    }

    pub(super) const fn process(&self) -> Process {
        Process(self.number as u128)
    }

    /// Requests stand in an order of their own, whichever was made first.
    pub(super) fn ask(&mut self, ask: Ask) {
        let at = self.asked.partition_point(|asked| asked.ask <= ask);
        self.asked.insert(at, Asked { ask, answer: None });
    }

    pub(super) fn tell(&mut self, outside: &mut Outside<'_>, input: Input<u8>) {
        let mut orders = Vec::new();
        self.member.handle(outside.now, input, &mut orders);
        for order in orders {
            self.carry_out(outside, order);
        }
    }

    fn carry_out(&mut self, outside: &mut Outside<'_>, order: Order<u8>) {
        match order {
            Order::List => self.ask(Ask::List),
            Order::Load { .. } => self.ask(Ask::Load),
            Order::Put {
                version,
                tail,
                diversion,
                ..
            } => self.ask(Ask::Put(Put {
                version,
                tail,
                diversion,
            })),
            Order::Renew { lease, joins } => self.ask(Ask::Renew {
                process: lease.process,
                renewal: lease.renewal,
                joins,
                acknowledged: lease.acknowledged.get(&PLACE).copied(),
            }),
            Order::ListLeases => self.ask(Ask::ListLeases),
            Order::Revoke { process, renewal } => outside.haunt(Ask::Revoke { process, renewal }),
            Order::NotDiverted { .. } => self.session.is_out = false,
            Order::Drain { term, head, tail, .. } => {
                self.drain = Some(Drain::new(self.number, term, head, tail));
            }
            Order::Grown { tail, .. } => {
                if let Some(drain) = &mut self.drain {
                    drain.tail = tail;
                }
            }
            Order::StopDrain { .. } => self.drain = None,
            Order::Turned { .. } | Order::Settled { .. } | Order::Guarded(_) | Order::WakeAt(_) => {}
        }
    }

    /// The application publishes its next event.
    pub(super) fn call(&mut self, outside: &mut Outside<'_>) {
        let Some(event) = self.to_call.pop() else { return };
        outside.judge.called(event, &self.called);
        self.called.push(event);
        self.held.push_back(event);
    }

    /// No answer came in time.
    pub(super) fn time_out(&mut self, outside: &mut Outside<'_>) {
        self.session.is_out = true;
        self.session.out_in = self.member.record(&PLACE).record.epoch;
        self.say_out(outside);
    }

    fn say_out(&mut self, outside: &mut Outside<'_>) {
        let (place, placed) = (PLACE, Placed::default());
        self.tell(outside, Input::Out { place, placed });
    }

    /// The answer to a request, or `None` where it was lost.
    pub(super) fn answered(&mut self, outside: &mut Outside<'_>, ask: Ask, answer: Option<Answer>) {
        let place = PLACE;
        match (ask, answer) {
            (Ask::List, answer) => {
                let found = match answer {
                    Some(Answer::Listed(found)) => {
                        Some(found.into_iter().map(|record| (PLACE, record)).collect())
                    }
                    _ => None,
                };
                self.tell(outside, Input::Listed { found });
            }
            (Ask::Load, answer) => {
                let found = match answer {
                    Some(Answer::Loaded(found)) => Some(found),
                    _ => None,
                };
                self.tell(outside, Input::Loaded { place, found });
            }
            (Ask::Put(_), answer) => {
                let result = match answer {
                    Some(Answer::Put(Some(version))) => PutResult::Made(version),
                    Some(_) => PutResult::Moved,
                    None => PutResult::Failed,
                };
                self.tell(outside, Input::Put { place, result });
            }
            (Ask::Renew { .. }, answer) => {
                let result = match answer {
                    Some(Answer::Renewed(true)) => RenewResult::Made,
                    Some(_) => RenewResult::Lost,
                    None => RenewResult::Failed,
                };
                self.tell(outside, Input::Renewed { result });
            }
            (Ask::ListLeases, answer) => {
                let found = match answer {
                    Some(Answer::Leases(leases)) => Some(leases),
                    _ => None,
                };
                self.tell(outside, Input::Leases { found });
            }
            (ask @ Ask::Append { .. }, answer) => self.appended(outside, ask, answer),
            (ask, answer) => self.drain_answered(ask, answer),
        }
    }

    fn appended(&mut self, outside: &mut Outside<'_>, ask: Ask, answer: Option<Answer>) {
        let Some(append) = self.session.append.take() else {
            return;
        };
        match answer {
            Some(Answer::Appended(true)) => {
                for (event, _) in &append.rows {
                    self.session.parked.push((append.epoch, *event));
                }
                if append.rows.iter().any(|(_, stamp)| stamp.is_some()) {
                    self.session.incarnation += 1;
                    self.session.next_sequence = 0;
                }
                self.session.is_out = false;
            }
            Some(_) => {
                *outside.met |= super::met::PASSED;
                for (event, stamp) in append.rows.into_iter().rev() {
                    match stamp {
                        Some(stamp) => self.session.flight.insert(0, (event, stamp)),
                        None => self.session.waiting.insert(0, event),
                    }
                }
                self.session.is_out = false;
                let (place, epoch) = (PLACE, append.epoch);
                self.tell(outside, Input::Passed { place, epoch });
            }
            None => {
                self.session.append = Some(append);
                self.ask(ask);
            }
        }
    }

    /// The broker answered a send: it is on the log.
    pub(super) fn landed(&mut self, outside: &mut Outside<'_>, event: Event) {
        let known = self.session.flight.iter().any(|(sent, _)| *sent == event);
        self.session.flight.retain(|(sent, _)| *sent != event);
        let appending = self.session.append.as_ref();
        if known
            || appending.is_some_and(|append| {
                append
                    .rows
                    .iter()
                    .any(|(row, stamp)| *row == event && stamp.is_some())
            })
        {
            outside.judge.returned(event);
        }
    }

    /// Does whatever can be done without an answer.
    pub(super) fn pump(&mut self, outside: &mut Outside<'_>) {
        let session = &mut self.session;
        let has_callers = !session.flight.is_empty() || !session.waiting.is_empty();
        session.is_out &= has_callers && self.member.record(&PLACE).record.epoch == session.out_in;
        if self.session.is_out && self.member.way(outside.now, &PLACE) == Way::Direct {
            self.say_out(outside);
        }
        let way = self.member.way(outside.now, &PLACE);
        self.decide_calls(outside, way);
        match way {
            Way::Direct => self.send(outside),
            Way::Park { epoch } | Way::Linger { epoch } => self.append(epoch),
            Way::Hold | Way::Refuse => {}
        }
        let told = self.session.parked.clone();
        self.session
            .parked
            .retain(|(epoch, _)| !self.member.may_tell(&PLACE, *epoch));
        for told in told.iter().filter(|told| !self.session.parked.contains(told)) {
            *outside.met |= super::met::PARKED;
            outside.judge.returned(told.1);
        }
        self.go_on_draining(outside);
    }

    fn decide_calls(&mut self, outside: &mut Outside<'_>, way: Way) {
        match way {
            Way::Hold => {}
            Way::Refuse => self.held.clear(),
            Way::Direct | Way::Park { .. } | Way::Linger { .. } => {
                for event in self.held.drain(..) {
                    if way == Way::Direct && !self.member.is_guarded(outside.now) {
                        outside.judge.sent_unguarded(event);
                    }
                    self.session.waiting.push(event);
                }
            }
        }
    }

    fn send(&mut self, outside: &mut Outside<'_>) {
        let session = &mut self.session;
        if session.append.is_some() || session.is_out {
            return;
        }
        for event in std::mem::take(&mut session.waiting) {
            let producer = self.number * 10 + session.incarnation;
            let sequence = session.next_sequence;
            session.next_sequence += 1;
            session.flight.push((event, Stamp { producer, sequence }));
        }
        for (event, stamp) in &session.flight {
            let message = Message {
                stamp: *stamp,
                event: *event,
                from: self.number,
                is_drain: false,
            };
            if !outside.net.contains(&message) {
                outside.net.push(message);
            }
        }
    }

    fn append(&mut self, epoch: u64) {
        let session = &mut self.session;
        if session.append.is_some() || (session.flight.is_empty() && session.waiting.is_empty()) {
            return;
        }
        let stamped = std::mem::take(&mut session.flight).into_iter();
        let waiting = std::mem::take(&mut session.waiting).into_iter();
        let rows: Vec<_> = stamped
            .map(|(event, stamp)| (event, Some(stamp)))
            .chain(waiting.map(|event| (event, None)))
            .collect();
        session.appends += 1;
        let (process, number) = (self.process(), self.session.appends);
        self.session.append = Some(Append {
            epoch,
            rows: rows.clone(),
        });
        self.ask(Ask::Append {
            process,
            number,
            epoch,
            rows,
        });
    }

    pub(super) fn waits_for_broker(&self) -> bool {
        !self.session.is_out && !self.session.flight.is_empty()
    }
}
