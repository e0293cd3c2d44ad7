//! Positions on their way to the coordinator: one request at a time, the newest position of a claim replaces an older
//! one that waits, and every ticket is answered once.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_event::TopicPartition;

use super::{Claim, CommitTrouble, Identity, Mark, Order};

#[derive(Debug, Default)]
pub(super) struct Commits {
    waiting: BTreeMap<Claim, Entry>,
    in_flight: Option<InFlight>,
    tickets: BTreeMap<u64, Ticket>,
    /// No request before this time, after one failed.
    pub(super) not_before: Duration,
    pub(super) failures: u32,
}

#[derive(Debug, Clone)]
struct Entry {
    mark: Mark,
    tickets: Vec<u64>,
    until: Duration,
}

#[derive(Debug)]
struct InFlight {
    request: u64,
    identity: Identity,
    entries: BTreeMap<Claim, Entry>,
}

#[derive(Debug, Default)]
struct Ticket {
    open: usize,
    refused: Vec<(TopicPartition, CommitTrouble)>,
}

impl Commits {
    /// Takes positions; those that are not `held` are refused at once.
    pub(super) fn accept(
        &mut self,
        ticket: u64,
        offsets: Vec<(Claim, Mark)>,
        until: Duration,
        held: impl Fn(&Claim) -> bool,
        orders: &mut Vec<Order>,
    ) {
        let offsets: BTreeMap<Claim, Mark> = offsets.into_iter().collect();
        let (taken, refused): (Vec<_>, Vec<_>) = offsets.into_iter().partition(|(claim, _)| held(claim));
        let refused = refused
            .into_iter()
            .map(|(claim, _)| (claim.partition, CommitTrouble::NotHeld))
            .collect();
        self.tickets.insert(
            ticket,
            Ticket {
                open: taken.len(),
                refused,
            },
        );
        for (claim, mark) in taken {
            let entry = self.waiting.entry(claim).or_insert(Entry {
                mark,
                tickets: Vec::new(),
                until,
            });
            entry.mark = mark;
            entry.tickets.push(ticket);
        }
        self.finish(ticket, orders);
    }

    /// The positions to send now, if none are under way.
    pub(super) fn take(&mut self, request: u64, identity: &Identity) -> Option<Vec<(TopicPartition, Mark)>> {
        if self.in_flight.is_some() || self.waiting.is_empty() {
            return None;
        }
        let entries = std::mem::take(&mut self.waiting);
        let offsets = entries
            .iter()
            .map(|(claim, entry)| (claim.partition.clone(), entry.mark))
            .collect();
        self.in_flight = Some(InFlight {
            request,
            identity: identity.clone(),
            entries,
        });
        Some(offsets)
    }

    /// True when a request may be sent, but for the time of [`Self::not_before`].
    pub(super) fn is_due(&self) -> bool {
        self.in_flight.is_none() && !self.waiting.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_none() && self.waiting.is_empty()
    }

    pub(super) fn concern(&self, claim: &Claim) -> bool {
        self.waiting.contains_key(claim)
            || self
                .in_flight
                .as_ref()
                .is_some_and(|sent| sent.entries.contains_key(claim))
    }

    /// True when `request` is the one under way.
    pub(super) fn sent_as(&self, request: u64) -> bool {
        self.in_flight
            .as_ref()
            .is_some_and(|sent| sent.request == request)
    }

    /// The identity that the request under way was sent with.
    pub(super) fn sent_by(&self) -> Option<&Identity> {
        self.in_flight.as_ref().map(|sent| &sent.identity)
    }

    /// Ends the request under way. `outcome` says for each partition what became of it; `None` sends it again.
    pub(super) fn answered(
        &mut self,
        outcome: impl Fn(&TopicPartition) -> Option<Result<(), CommitTrouble>>,
        orders: &mut Vec<Order>,
    ) {
        let Some(sent) = self.in_flight.take() else { return };
        for (claim, entry) in sent.entries {
            match outcome(&claim.partition) {
                Some(result) => self.resolve(&claim.partition, entry, result, orders),
                None => self.send_again(claim, entry),
            }
        }
    }

    fn send_again(&mut self, claim: Claim, mut entry: Entry) {
        if let Some(newer) = self.waiting.remove(&claim) {
            entry.mark = newer.mark;
            entry.tickets.extend(newer.tickets);
        }
        self.waiting.insert(claim, entry);
    }

    /// Refuses whatever waits or is under way for claims that have ended. An answer that still comes changes nothing.
    pub(super) fn drop_claims(&mut self, ended: impl Fn(&Claim) -> bool, orders: &mut Vec<Order>) {
        let mut gone = Vec::new();
        if let Some(sent) = &mut self.in_flight {
            gone.extend(sent.entries.extract_if(.., |claim, _| ended(claim)));
            if sent.entries.is_empty() {
                self.in_flight = None;
            }
        }
        gone.extend(self.waiting.extract_if(.., |claim, _| ended(claim)));
        for (claim, entry) in gone {
            self.resolve(&claim.partition, entry, Err(CommitTrouble::NotHeld), orders);
        }
    }

    /// Gives up what has waited too long.
    pub(super) fn expire(&mut self, now: Duration, orders: &mut Vec<Order>) {
        let expired: Vec<_> = self
            .waiting
            .extract_if(.., |_, entry| entry.until <= now)
            .collect();
        for (claim, entry) in expired {
            self.resolve(&claim.partition, entry, Err(CommitTrouble::TimedOut), orders);
        }
    }

    /// When the first of the waiting positions is given up.
    pub(super) fn expires_at(&self) -> Option<Duration> {
        self.waiting.values().map(|entry| entry.until).min()
    }

    fn resolve(
        &mut self,
        partition: &TopicPartition,
        entry: Entry,
        result: Result<(), CommitTrouble>,
        orders: &mut Vec<Order>,
    ) {
        for number in entry.tickets {
            if let Some(ticket) = self.tickets.get_mut(&number) {
                ticket.open = ticket.open.saturating_sub(1);
                if let Err(trouble) = result {
                    ticket.refused.push((partition.clone(), trouble));
                }
            }
            self.finish(number, orders);
        }
    }

    fn finish(&mut self, number: u64, orders: &mut Vec<Order>) {
        if self.tickets.get(&number).is_some_and(|ticket| ticket.open == 0)
            && let Some(ticket) = self.tickets.remove(&number)
        {
            orders.push(Order::CommitDone {
                ticket: number,
                refused: ticket.refused,
            });
        }
    }
}
