//! The simulated application: it publishes events with unique ids, takes note of what it is told, and publishes again
//! what a crash left unanswered, as a script would.

use std::collections::HashMap;

use evenkeel_flow::session::{Claim, Outcome, Ticket};

use crate::records::Event;

/// What the application knows of one call of publish, for one event.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Its place in the order of all calls.
    pub order: u32,
    /// The process that was called.
    pub process: u32,
    /// What it was told.
    pub outcome: Option<Outcome>,
    /// The event cannot be on the log because of this call.
    pub is_void: bool,
    /// The topic's incarnation when it was called.
    pub topic: u8,
}

/// An event and its calls.
#[derive(Debug)]
pub struct Published {
    /// The event.
    pub event: Event,
    /// Its calls, in order.
    pub calls: Vec<Call>,
    /// The application gave it up without an answer: it lands whenever it does, or not at all.
    pub is_given_up: bool,
    /// Calls that joined an earlier one and are not answered.
    pub joined_open: u32,
}

/// The application.
#[derive(Debug, Default)]
pub struct Application {
    /// All events, by id.
    pub events: Vec<Published>,
    tickets: HashMap<Ticket, Vec<(u32, Target)>>,
    next_ticket: u64,
    next_order: u32,
}

/// Which call a ticket's record stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// This call of the event.
    Call(usize),
    /// A retry that joined.
    Joined,
}

impl Application {
    /// A new event, not yet published.
    pub fn create(&mut self, key: u8, bytes: u32) -> Event {
        let id = self.events.len() as u32;
        let event = Event { id, key, bytes };
        self.events.push(Published {
            event,
            calls: Vec::new(),
            is_given_up: false,
            joined_open: 0,
        });
        event
    }

    /// Notes a call for each event and names the batch.
    pub fn call(&mut self, process: u32, topic: u8, events: &[Event]) -> Ticket {
        let mut targets = Vec::new();
        for event in events {
            let published = &mut self.events[event.id as usize];
            targets.push((event.id, Target::Call(published.calls.len())));
            published.calls.push(Call {
                order: self.next_order,
                process,
                outcome: None,
                is_void: false,
                topic,
            });
            self.next_order += 1;
        }
        self.ticket(targets)
    }

    /// Names a retry that may join.
    pub fn retry_ticket(&mut self, id: u32) -> Ticket {
        self.ticket(vec![(id, Target::Joined)])
    }

    /// Names a part of a batch.
    pub fn part(&mut self, whole: Ticket, indices: &[usize]) -> Ticket {
        let targets = indices.iter().map(|index| self.tickets[&whole][*index]).collect();
        self.ticket(targets)
    }

    fn ticket(&mut self, targets: Vec<(u32, Target)>) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.tickets.insert(ticket, targets);
        ticket
    }

    /// The events and calls of a claim.
    #[must_use]
    pub fn claimed(&self, claim: Claim) -> Vec<(u32, Target)> {
        let from = claim.first as usize;
        self.tickets[&claim.ticket][from..from + claim.count as usize].to_vec()
    }

    /// What a crash left unanswered, in the order of the calls.
    #[must_use]
    pub fn unanswered(&self, process: u32) -> Vec<Event> {
        let mut list: Vec<(u32, Event)> = Vec::new();
        for published in &self.events {
            if let Some(call) = published.calls.last()
                && call.process == process
                && matches!(call.outcome, None | Some(Outcome::Failed { .. }))
            {
                list.push((call.order, published.event));
            }
        }
        list.sort_by_key(|(order, _)| *order);
        list.into_iter().map(|(_, event)| event).collect()
    }

    /// Events whose last call failed, in the order of the calls.
    #[must_use]
    pub fn failed(&self) -> Vec<Event> {
        let mut list: Vec<(u32, Event)> = Vec::new();
        for published in &self.events {
            if let Some(call) = published.calls.last()
                && published.joined_open == 0
                && matches!(call.outcome, Some(Outcome::Failed { .. }))
            {
                list.push((call.order, published.event));
            }
        }
        list.sort_by_key(|(order, _)| *order);
        list.into_iter().map(|(_, event)| event).collect()
    }
}

impl Published {
    /// This process left a call of the event without an answer, or with one that leaves open what became of it.
    #[must_use]
    pub fn is_unanswered_by(&self, process: u32) -> bool {
        let is_open = |outcome| match outcome {
            None => true,
            Some(Outcome::Failed { may_have_landed, .. }) => may_have_landed,
            Some(_) => false,
        };
        self.calls
            .iter()
            .any(|call| call.process == process && is_open(call.outcome))
    }

    /// How often the event may be on the log without a mark.
    #[must_use]
    pub fn unmarked_max(&self) -> usize {
        self.calls.iter().filter(|call| !call.is_void).count()
    }
}
