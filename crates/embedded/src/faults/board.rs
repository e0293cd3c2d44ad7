//! What is injected at the moment, and what becomes of a request: decided once, when it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kafka_protocol::{ResponseError, protocol::StrBytes};
use tokio::sync::watch;

use super::{Fault, Requests, lines::Lines};
use crate::storage::partition::held;

/// Everything that is injected.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Whether there is anything: all that a request looks at when there is not.
    busy: AtomicBool,
    book: Mutex<Book>,
    /// Grows with every change.
    revision: watch::Sender<u64>,
    pub(crate) lines: Lines,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    rules: BTreeMap<u64, Rule>,
    /// How many requests were met by faults that are over.
    over: BTreeMap<u64, u32>,
    leaderless: BTreeSet<(String, i32)>,
    short_of_replicas: BTreeSet<(String, i32)>,
}

#[derive(Debug)]
struct Rule {
    requests: Requests,
    fault: Fault,
    met: u32,
    /// It meets nobody any more, and still holds whom it met.
    spent: bool,
}

/// Faults that are over and still remembered, so that the memory for them is bounded.
const OVER_MAX: usize = 10_000;

/// What becomes of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate {
    refusals: Vec<(Option<String>, Option<i32>, ResponseError)>,
    pub(crate) loses_answer: bool,
    pub(crate) delay: Duration,
    pub(crate) closes: bool,
    pub(crate) throttle: Duration,
    hangs: Vec<u64>,
}

impl Fate {
    /// The error that a topic, or a partition of it, is answered with.
    pub(crate) fn refuses(&self, topic: &str, partition: Option<i32>) -> Option<ResponseError> {
        let meets = |(of, number, _): &&(Option<String>, Option<i32>, ResponseError)| {
            of.as_deref().is_none_or(|of| of == topic)
                && number.is_none_or(|number| Some(number) == partition)
        };
        self.refusals.iter().find(meets).map(|(_, _, error)| *error)
    }

    /// The error that the request as a whole is answered with.
    pub(crate) fn refuses_whole(&self) -> Option<ResponseError> {
        let whole = |(of, number, _): &&(Option<String>, Option<i32>, ResponseError)| {
            of.is_none() && number.is_none()
        };
        self.refusals.iter().find(whole).map(|(_, _, error)| *error)
    }
}

/// A topic that a request is about, and the partition if it names one. `None` for all topics.
pub(crate) type Subject = (Option<String>, Option<i32>);

impl Requests {
    fn meets_caller(&self, key: i16, client: &str) -> bool {
        self.api.is_none_or(|api| api.0 == key) && self.client.as_deref().is_none_or(|id| id == client)
    }

    fn meets_subject(&self, (topic, number): &Subject) -> bool {
        let same_topic = match (&self.topic, topic) {
            (Some(wanted), Some(topic)) => wanted == topic,
            _ => true,
        };
        // A request that names a topic alone is about all its partitions.
        let same_number = match (self.partition, number) {
            (Some(wanted), Some(number)) => wanted == *number,
            _ => true,
        };
        same_topic && same_number
    }

    fn is_about_all(&self) -> bool {
        self.topic.is_none() && self.partition.is_none()
    }
}

impl Board {
    /// Decides on a request, and counts it. `subjects` is asked only when a fault is about topics.
    pub(crate) fn decide(
        &self,
        key: i16,
        client: &StrBytes,
        subjects: impl FnOnce() -> Vec<Subject>,
    ) -> Option<Box<Fate>> {
        if !self.busy.load(Ordering::Acquire) {
            return None;
        }
        let mut book = held(&self.book);
        let candidates = |rule: &&mut Rule| !rule.spent && rule.requests.meets_caller(key, client);
        let narrow = book
            .rules
            .values_mut()
            .filter(candidates)
            .any(|rule| !rule.requests.is_about_all());
        let subjects = if narrow { subjects() } else { Vec::new() };
        let mut fate = Fate::default();
        for (id, rule) in &mut book.rules {
            if rule.spent || !rule.requests.meets_caller(key, client) {
                continue;
            }
            let met = rule.requests.is_about_all()
                || subjects
                    .iter()
                    .any(|subject| rule.requests.meets_subject(subject));
            if met {
                rule.meet(*id, &mut fate);
            }
        }
        book.forget_spent();
        Some(Box::new(fate))
    }

    /// Waits until every fault that holds the request is lifted.
    pub(crate) async fn hold(&self, fate: &Fate) {
        let mut changes = self.revision.subscribe();
        while fate
            .hangs
            .iter()
            .any(|id| held(&self.book).rules.contains_key(id))
        {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn has_no_leader(&self, topic: &str, partition: i32) -> bool {
        self.busy.load(Ordering::Acquire)
            && held(&self.book)
                .leaderless
                .contains(&(topic.to_owned(), partition))
    }

    pub(crate) fn is_short_of_replicas(&self, topic: &str, partition: i32) -> bool {
        self.busy.load(Ordering::Acquire)
            && held(&self.book)
                .short_of_replicas
                .contains(&(topic.to_owned(), partition))
    }

    pub(super) fn inject(&self, requests: Requests, fault: Fault) -> u64 {
        self.change(|book| {
            let id = book.next;
            book.next += 1;
            let rule = Rule {
                spent: requests.times == Some(0),
                requests,
                fault,
                met: 0,
            };
            book.rules.insert(id, rule);
            id
        })
    }

    pub(super) fn lift(&self, id: u64) {
        self.change(|book| book.end(id));
    }

    pub(super) fn met(&self, id: u64) -> u32 {
        let book = held(&self.book);
        let live = book.rules.get(&id).map(|rule| rule.met);
        live.or_else(|| book.over.get(&id).copied()).unwrap_or(0)
    }

    pub(super) fn take_leader(&self, topic: &str, partition: i32, take: bool) {
        self.change(|book| toggle(&mut book.leaderless, topic, partition, take));
    }

    pub(super) fn take_replicas(&self, topic: &str, partition: i32, take: bool) {
        self.change(|book| toggle(&mut book.short_of_replicas, topic, partition, take));
    }

    pub(super) fn clear(&self) {
        self.change(|book| {
            for id in book.rules.keys().copied().collect::<Vec<_>>() {
                book.end(id);
            }
            book.leaderless.clear();
            book.short_of_replicas.clear();
        });
        self.lines.clear();
    }

    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = held(&self.book);
        let result = change(&mut book);
        self.busy.store(book.is_busy(), Ordering::Release);
        drop(book);
        self.revision.send_modify(|revision| *revision += 1);
        result
    }
}

impl Rule {
    fn meet(&mut self, id: u64, fate: &mut Fate) {
        self.met += 1;
        self.spent = self.requests.times.is_some_and(|times| self.met >= times);
        match self.fault {
            Fault::Error(code) => {
                let error = ResponseError::try_from_code(code).unwrap_or(ResponseError::UnknownServerError);
                fate.refusals
                    .push((self.requests.topic.clone(), self.requests.partition, error));
            }
            Fault::LoseAnswer => fate.loses_answer = true,
            Fault::Delay(delay) => fate.delay = fate.delay.max(delay),
            Fault::Hang => fate.hangs.push(id),
            Fault::Close => fate.closes = true,
            Fault::Throttle(wait) => fate.throttle = fate.throttle.max(wait),
        }
    }
}

impl Book {
    fn is_busy(&self) -> bool {
        !(self.rules.is_empty() && self.leaderless.is_empty() && self.short_of_replicas.is_empty())
    }

    fn end(&mut self, id: u64) {
        if let Some(rule) = self.rules.remove(&id) {
            self.over.insert(id, rule.met);
            if self.over.len() > OVER_MAX {
                self.over.pop_first();
            }
        }
    }

    /// Those that hang somebody stay: only lifting them lets it go.
    fn forget_spent(&mut self) {
        let spent = |rule: &Rule| rule.spent && rule.fault != Fault::Hang;
        let ids: Vec<u64> = self
            .rules
            .iter()
            .filter(|(_, rule)| spent(rule))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().for_each(|id| self.end(id));
    }
}

fn toggle(set: &mut BTreeSet<(String, i32)>, topic: &str, partition: i32, there: bool) {
    let element = (topic.to_owned(), partition);
    if there {
        set.insert(element);
    } else {
        set.remove(&element);
    }
}
