//! What is known of every event: how often it was handed over, and what came back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::scenario::Phase;

/// Longest latency that is told apart, microseconds: an hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// What a publisher said became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing was said yet.
    Unknown,
    /// On its topic.
    Published,
    /// In the standby store.
    Parked,
    /// In the dead-letter topic, or in the standby store bound for it.
    DeadLettered,
    /// Refused: it is nowhere.
    Refused,
}

/// The book of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    begun: Instant,
    events: Vec<Entry>,
    phase: Phase,
    latencies: [Latencies; 3],
    /// The first causes of refusals.
    pub(super) causes: Vec<String>,
    /// Events and bytes that are parked, by publisher, as each said last.
    parked: Vec<(u64, u64)>,
    parked_max: u64,
    memory: Vec<Memory>,
    /// When what was broken was mended.
    mended: Option<Instant>,
    first_redelivery: Option<Duration>,
    drained: Option<Duration>,
    /// The parked events when it was mended, less those that were seen to leave.
    waiting: u64,
    pub(super) kills: u64,
    /// Those at a point of an event's path, by its name.
    pub(super) kills_at: BTreeMap<String, u64>,
    /// Events below this number that were published may be gone with their topic.
    excused_below: u64,
    is_shared: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    fate: Fate,
    handed_over: u8,
    /// When it was handed over for the first time, since the start.
    since: Duration,
    /// When its final receipt came.
    answered: Option<Duration>,
    /// It lay on the topic before that was deleted.
    taken: bool,
}

/// How long receipts took in a phase.
#[derive(Debug)]
pub(super) struct Latencies {
    micros: Histogram<u64>,
}

/// Memory of a publisher, bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    /// At the end of the first phase.
    settled: u64,
    most: u64,
}

impl Ledger {
    pub(super) fn new(publishers: u64) -> anyhow::Result<Self> {
        let publishers = usize::try_from(publishers)?;
        Ok(Self {
            begun: Instant::now(),
            events: Vec::new(),
            phase: Phase::Before,
            latencies: [Latencies::new()?, Latencies::new()?, Latencies::new()?],
            causes: Vec::new(),
            parked: vec![(0, 0); publishers],
            parked_max: 0,
            memory: vec![Memory::default(); publishers],
            mended: None,
            first_redelivery: None,
            drained: None,
            waiting: 0,
            kills: 0,
            kills_at: BTreeMap::new(),
            excused_below: 0,
            is_shared: false,
        })
    }

    /// How long the run has lasted.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The phase `phase` begins.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        if phase == Phase::After {
            self.mended = Some(Instant::now());
            (self.first_redelivery, self.drained) = (None, None);
            self.waiting = self.parked_now();
        } else {
            self.mended = None;
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// The events below this number are about to be handed over.
    pub(super) fn reserve(&mut self, below: u64) {
        let unknown = Entry {
            fate: Fate::Unknown,
            handed_over: 0,
            since: Duration::ZERO,
            answered: None,
            taken: false,
        };
        let below = usize::try_from(below).unwrap_or(0);
        self.events.resize(below.max(self.events.len()), unknown);
    }

    /// The event of this number is handed to its publisher.
    pub(super) fn hand_over(&mut self, number: u64) {
        self.reserve(number + 1);
        let now = self.elapsed();
        if let Some(entry) = self.entry_mut(number) {
            if entry.handed_over == 0 {
                entry.since = now;
            }
            entry.handed_over = entry.handed_over.saturating_add(1);
        }
    }

    pub(super) fn receipt(&mut self, number: u64, fate: Fate, micros: u64) {
        let now = self.elapsed();
        if let Some(entry) = self.entry_mut(number) {
            entry.fate = fate;
            entry.answered = (fate != Fate::Refused).then_some(now);
        }
        if fate != Fate::Refused {
            self.of(self.phase).micros.saturating_record(micros);
        }
    }

    fn of(&mut self, phase: Phase) -> &mut Latencies {
        let [before, during, after] = &mut self.latencies;
        match phase {
            Phase::Before => before,
            Phase::During => during,
            Phase::After => after,
        }
    }

    /// A publisher says what it has parked.
    pub(super) fn parked(&mut self, publisher: usize, events: u64, bytes: u64) {
        if let Some(parked) = self.parked.get_mut(publisher) {
            *parked = (events, bytes);
        }
        let now = self.parked_now();
        self.parked_max = self.parked_max.max(now);
        let Some(mended) = self.mended.filter(|_| self.waiting > 0) else {
            return;
        };
        if now < self.waiting {
            self.first_redelivery.get_or_insert(mended.elapsed());
        }
        if now == 0 {
            self.drained.get_or_insert(mended.elapsed());
        }
        self.waiting = self.waiting.max(now);
    }

    pub(super) fn parked_now(&self) -> u64 {
        let parked = self.parked.iter().map(|(events, _)| *events);
        match self.is_shared {
            // Each says what all have parked.
            true => parked.max().unwrap_or(0),
            false => parked.sum(),
        }
    }

    /// All publishers park in one store.
    pub(super) fn share(&mut self) {
        self.is_shared = true;
    }

    /// A publisher's memory, as the system says it.
    pub(super) fn memory(&mut self, publisher: usize, bytes: u64) {
        let phase = self.phase;
        if let Some(memory) = self.memory.get_mut(publisher) {
            if phase == Phase::Before {
                memory.settled = bytes;
            }
            memory.most = memory.most.max(bytes);
        }
    }

    /// A publisher was killed, or ended at a point.
    pub(super) fn killed(&mut self, publisher: usize, point: Option<String>) {
        self.kills += 1;
        if let Some(point) = point {
            *self.kills_at.entry(point).or_default() += 1;
        }
        if let Some(memory) = self.memory.get_mut(publisher) {
            *memory = Memory::default();
        }
    }

    pub(super) fn refused(&mut self, cause: &str) {
        if self.causes.len() < 5 && !self.causes.iter().any(|known| known == cause) {
            self.causes.push(cause.to_owned());
        }
    }

    /// How many events have this fate.
    pub(super) fn count(&self, fate: Fate) -> u64 {
        self.events.iter().filter(|entry| entry.fate == fate).count() as u64
    }

    /// How many of the last twentieth of the events were refused.
    pub(super) fn refused_at_the_end(&self) -> u64 {
        let last = self.events.iter().rev().take(self.events.len() / 20);
        last.filter(|entry| entry.fate == Fate::Refused).count() as u64
    }

    /// Events that were handed over.
    pub(super) fn handed_over(&self) -> u64 {
        self.events.len() as u64
    }

    /// Events that were handed over more than once.
    pub(super) fn again(&self) -> u64 {
        self.events.iter().filter(|entry| entry.handed_over > 1).count() as u64
    }

    /// Number and fate of every event.
    pub(super) fn fates(&self) -> impl Iterator<Item = (u64, Fate)> {
        (0..).zip(self.events.iter().map(|entry| entry.fate))
    }

    /// When the event was handed over for the first time, and when its receipt came, since the start.
    pub(super) fn times(&self, number: u64) -> (Duration, Option<Duration>) {
        let entry = self.entry(number);
        entry.map_or((Duration::ZERO, None), |entry| (entry.since, entry.answered))
    }

    pub(super) fn times_handed_over(&self, number: u64) -> u8 {
        self.entry(number).map_or(0, |entry| entry.handed_over)
    }

    /// What was handed over so far, and published, may be gone with its topic.
    pub(super) fn excuse(&mut self) {
        self.excused_below = self.handed_over();
    }

    /// True when the event, if it was published, may be gone with its topic.
    pub(super) const fn is_excused(&self, number: u64) -> bool {
        number < self.excused_below
    }

    /// These events lie on the topic that is deleted next, whatever their receipts say.
    pub(super) fn excuse_taken(&mut self, events: &[u64]) {
        for number in events {
            if let Some(entry) = self.entry_mut(*number) {
                entry.taken = true;
            }
        }
    }

    /// True when the event lay on a topic that was deleted.
    pub(super) fn was_taken(&self, number: u64) -> bool {
        self.entry(number).is_some_and(|entry| entry.taken)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.events.get(usize::try_from(number).ok()?)
    }

    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.events.get_mut(usize::try_from(number).ok()?)
    }

    pub(super) const fn parked_max(&self) -> u64 {
        self.parked_max
    }

    pub(super) const fn first_redelivery(&self) -> Option<Duration> {
        self.first_redelivery
    }

    pub(super) const fn drained(&self) -> Option<Duration> {
        self.drained
    }

    pub(super) fn latencies(&self) -> [(Phase, &Latencies); 3] {
        let [before, during, after] = &self.latencies;
        [
            (Phase::Before, before),
            (Phase::During, during),
            (Phase::After, after),
        ]
    }

    /// Memory of the publisher that took most, bytes: at the end of the first phase and at most.
    pub(super) fn memory_of_largest(&self) -> Option<(u64, u64)> {
        let largest = self.memory.iter().max_by_key(|memory| memory.most)?;
        (largest.most > 0).then_some((largest.settled, largest.most))
    }
}

impl Latencies {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            micros: Histogram::new_with_bounds(1, MICROS_MAX, 3)?,
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.micros.len()
    }

    /// Microseconds below which this part (0 to 1) of the receipts came.
    pub(super) fn quantile(&self, part: f64) -> u64 {
        self.micros.value_at_quantile(part)
    }

    pub(super) fn most(&self) -> u64 {
        self.micros.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_counted_by_its_last_fate() {
        let mut ledger = Ledger::new(1).unwrap();
        for number in 0..3 {
            ledger.hand_over(number);
        }
        ledger.hand_over(2);
        ledger.receipt(0, Fate::Published, 10);
        ledger.receipt(1, Fate::Refused, 10);
        ledger.receipt(2, Fate::Parked, 10);
        let of = |fate| ledger.count(fate);
        assert_eq!(
            (of(Fate::Published), of(Fate::Refused), of(Fate::Parked)),
            (1, 1, 1)
        );
        assert_eq!((ledger.handed_over(), ledger.again()), (3, 1));
        let [(_, before), ..] = ledger.latencies();
        assert_eq!(before.count(), 2);
    }

    #[test]
    fn a_drain_is_timed_from_the_mending() {
        let mut ledger = Ledger::new(2).unwrap();
        ledger.enter(Phase::During);
        ledger.parked(0, 10, 100);
        ledger.parked(1, 5, 50);
        ledger.enter(Phase::After);
        ledger.parked(0, 10, 100);
        assert_eq!(ledger.first_redelivery(), None);
        ledger.parked(0, 9, 100);
        assert!(ledger.first_redelivery().is_some() && ledger.drained().is_none());
        ledger.parked(0, 0, 0);
        ledger.parked(1, 0, 0);
        assert!(ledger.drained().is_some());
        assert_eq!(ledger.parked_max(), 15);
    }
}
