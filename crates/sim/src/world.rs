//! Everything that there is, and the order in which it happens.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use evenkeel_event::clock::Timestamp;
use evenkeel_flow::Stamping;
use evenkeel_flow::answer::Refusal;
use evenkeel_flow::session::{self, Now};
use evenkeel_flow::unplaced;

use crate::application::Application;
use crate::broker::{BATCH_BYTES_MAX, Broker};
use crate::disk::HeadOperation;
use crate::judge::Judge;
use crate::network::{Connection, Request};
use crate::process::Process;
use crate::random::Random;
use crate::records::{PARTITIONS, Records};
use crate::store::{LANES, Store};

/// Something that happens at its time.
#[derive(Debug)]
pub enum Happening {
    /// A request reaches the broker.
    Arrive(usize),
    /// Its answer reaches the process.
    Answer(usize),
    /// Its answer did not come in time.
    TimedOut(usize),
    /// The store carries out an append.
    Append(usize),
    /// The store carries out the oldest operation on a lane's head.
    Head(usize, u32),
    /// A machine is told something.
    Tell(u32, usize, session::Input<Records>),
    /// The machine of the unplaced events is told something.
    TellUnplaced(u32, unplaced::Input<Records>),
    /// A search reaches the broker.
    Search(u32, usize, Search),
    /// A dead letter is written.
    Letter(u32, usize, u64, Records, Refusal),
    /// The process asks the broker for a producer id.
    AskProducer(u32, usize, Option<i64>),
    /// The process asks the broker for the topic's partitions and leaders.
    AskMetadata(u32),
    /// A dead process is started again.
    Start,
}

/// A search of a log.
#[derive(Debug, Clone)]
pub struct Search {
    /// Its number.
    pub number: u64,
    /// What is looked for.
    pub records: Records,
    /// Where it begins.
    pub from: Option<i64>,
}

/// An append on its way to the store.
#[derive(Debug)]
pub struct PendingAppend {
    /// Who ordered it.
    pub process: u32,
    /// Its lane.
    pub lane: usize,
    /// Its number.
    pub number: u64,
    /// What is appended.
    pub batches: Vec<(Option<Stamping>, Records)>,
    /// It was carried out or dropped.
    pub is_over: bool,
}

/// The simulated world.
#[derive(Debug)]
pub struct World {
    /// The source of all chance.
    pub random: Random,
    /// The time, microseconds.
    pub now_us: u64,
    queue: BinaryHeap<Reverse<Due>>,
    happenings: u64,
    /// The broker.
    pub broker: Broker,
    /// The store.
    pub store: Store,
    /// The process, while it lives.
    pub process: Option<Process>,
    /// Processes started so far.
    pub processes: u32,
    /// Nothing happens to the process before.
    pub paused_until_us: u64,
    /// The application.
    pub application: Application,
    /// The checker.
    pub judge: Judge,
    pub(crate) requests: Vec<Request>,
    pub(crate) connections: [Connection; PARTITIONS],
    pub(crate) held: VecDeque<usize>,
    pub(crate) appends: Vec<PendingAppend>,
    pub(crate) heads: [VecDeque<HeadOperation>; LANES],
    pub(crate) next_producer: i64,
    /// The topic's incarnation of which the process was told.
    pub known_topic: [u8; PARTITIONS],
    /// The next process is not told the topic's partitions.
    pub metadata_hidden: bool,
    /// Dead letters cannot be written.
    pub letters_lost: bool,
    /// An operator holds what is parked of a partition; the first one's hold is the topic's too.
    pub holds: [bool; PARTITIONS],
    /// All faults have ended: machines that wait for being told the same again will not be.
    pub is_ending: bool,
    /// What the history met.
    pub met: BTreeSet<&'static str>,
    /// What is done, newest last, when it is recorded.
    pub trace: Option<Vec<String>>,
}

#[derive(Debug)]
struct Due {
    at_us: u64,
    number: u64,
    what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

impl World {
    /// A world in which nothing has happened.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            now_us: 1_000_000,
            queue: BinaryHeap::new(),
            happenings: 0,
            broker: Broker::default(),
            store: Store::default(),
            process: None,
            processes: 0,
            paused_until_us: 0,
            application: Application::default(),
            judge: Judge::new(BATCH_BYTES_MAX),
            requests: Vec::new(),
            connections: <[Connection; PARTITIONS]>::default(),
            held: VecDeque::new(),
            appends: Vec::new(),
            heads: Default::default(),
            next_producer: 100,
            known_topic: [1; PARTITIONS],
            metadata_hidden: false,
            letters_lost: false,
            holds: [false; PARTITIONS],
            is_ending: false,
            met: BTreeSet::new(),
            trace: None,
        }
    }

    /// Lets `what` happen after `delay_us`.
    pub fn after(&mut self, delay_us: u64, what: Happening) {
        self.at(self.now_us + delay_us, what);
    }

    /// Lets `what` happen at a time.
    pub fn at(&mut self, at_us: u64, what: Happening) {
        self.happenings += 1;
        self.queue.push(Reverse(Due {
            at_us,
            number: self.happenings,
            what,
        }));
    }

    /// Lets everything happen until then, or until an invariant is broken.
    pub fn advance(&mut self, until_us: u64) {
        while self.judge.violation.is_none()
            && let Some(Reverse(due)) = self.queue.peek()
            && due.at_us <= until_us
        {
            let Some(Reverse(due)) = self.queue.pop() else {
                break;
            };
            self.now_us = self.now_us.max(due.at_us);
            self.happen(due.what);
        }
        self.now_us = self.now_us.max(until_us);
    }

    fn happen(&mut self, what: Happening) {
        if self.now_us < self.paused_until_us && is_for_the_process(&what) {
            self.at(self.paused_until_us, what);
            return;
        }
        match what {
            Happening::Arrive(request) => self.arrive(request),
            Happening::Answer(request) => self.answer(request),
            Happening::TimedOut(request) => self.time_out(request),
            Happening::Append(append) => self.carry_out_append(append),
            Happening::Head(lane, process) => self.carry_out_head(lane, process),
            Happening::Tell(process, partition, input) => self.tell(process, partition, input),
            Happening::TellUnplaced(process, input) => self.tell_unplaced(process, input),
            Happening::Search(process, partition, search) => {
                self.carry_out_search(process, partition, &search)
            }
            Happening::Letter(process, partition, letter, records, refusal) => {
                self.write_letter(process, partition, letter, &records, refusal);
            }
            Happening::AskProducer(process, partition, used_up) => {
                self.give_producer(process, partition, used_up);
            }
            Happening::AskMetadata(process) => self.give_metadata(process),
            Happening::Start => self.start(),
        }
    }

    /// The time as the process sees it.
    #[must_use]
    pub fn now(&self) -> Now {
        let millis = i64::try_from(self.now_us / 1_000).unwrap_or(i64::MAX);
        Now::new(Duration::from_micros(self.now_us), Timestamp::from_millis(millis))
    }

    /// Records what is done.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let line = format!("{:>12} {}", self.now_us, text());
            trace.push(line);
        }
    }
}

fn is_for_the_process(what: &Happening) -> bool {
    matches!(
        what,
        Happening::Answer(_)
            | Happening::TimedOut(_)
            | Happening::Tell(..)
            | Happening::TellUnplaced(..)
            | Happening::AskProducer(..)
            | Happening::AskMetadata(_)
    )
}
