//! What came of something that was under way.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_broker::{Error, ProducerId, Topic};
use evenkeel_event::TopicName;
use evenkeel_flow::session::Input;
use evenkeel_store::{AppendIn, Holds, Place, PlaceStats};

use super::batch::Batch;
use super::fleet::Asked;
use super::placing::Placed;
use super::receipt::LetterPlace;
use super::send::SentRequest;
use super::store_step::{Failure, StoreStep};

/// One end of something.
#[derive(Debug)]
pub(super) enum Done {
    /// A produce request.
    Sent(SentRequest),
    /// An append of a line.
    Appended {
        line: u32,
        append: u64,
        /// The epoch of a shared lane that it named.
        epoch: Option<u64>,
        result: Result<AppendIn, evenkeel_store::Error>,
    },
    /// A step of a line in the store; only a read fails, and must wait for its turn anew.
    Stored {
        line: u32,
        step: StoreStep,
        input: Result<Input<Batch>, Failure>,
    },
    /// Something that a line is told as it is.
    Told { line: u32, input: Input<Batch> },
    /// A dead letter of a line; `None` when nothing durable has it.
    Lettered {
        line: u32,
        letter: u64,
        at: Option<LetterPlace>,
    },
    /// A producer id was asked for.
    Producer(Result<ProducerId, Error>),
    /// It is time to ask again.
    ProducerAgain,
    /// A producer id for one line alone was asked for.
    OwnProducer {
        line: u32,
        result: Result<ProducerId, Error>,
    },
    /// The brokers' `producer.id.expiration.ms`; `None` when they did not tell it.
    Expiry(Option<Duration>),
    /// The cluster had long enough to answer for the first time.
    Doubt,
    /// A topic was looked up.
    Topic {
        topic: u32,
        result: Result<Arc<Topic>, Error>,
    },
    /// It is time to look it up again.
    TopicAgain { topic: u32 },
    /// A topic was to be created.
    TopicCreated { topic: u32, result: Result<(), Error> },
    /// An append under a topic.
    TopicAppended {
        topic: u32,
        append: u64,
        result: Result<u64, evenkeel_store::Error>,
    },
    /// The list of holds was looked at; `None` when it could not be.
    Holds(Option<Holds>),
    /// It is time for the next read of parked events.
    Turn,
    /// The alarms were written.
    AlarmsWritten,
    /// A letter that its topic refuses was appended to its aside place.
    SetAside {
        line: u32,
        letter: u64,
        result: Result<u64, evenkeel_store::Error>,
    },
    /// What is kept aside was tried again.
    AsideTried { topic: TopicName, is_empty: bool },
    /// The shared store answered.
    Fleet(Asked),
    /// The time has come that the member asked to be told.
    FleetTimer { at: Duration },
    /// A lane that is to be drained was looked at.
    DrainOpened {
        place: Place,
        term: u64,
        span: std::ops::Range<u64>,
        stats: Option<PlaceStats>,
    },
    /// By how many partitions processes that share the store place a topic's keys; 0 when it is not known.
    TopicRecord { topic: u32, partitions: i32 },
    /// The store was to remember that, and does or could not be asked.
    TopicRemembered { topic: TopicName, is_there: bool },
    /// Something whose end nobody waits for.
    Nothing,
    /// Records from a position on were placed, or not.
    Placed {
        topic: u32,
        from: u64,
        result: Result<Placed, Failure>,
    },
}
