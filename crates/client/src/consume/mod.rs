//! Consumes events as a member of a group.
//!
//! ```text
//! group -> worker per partition:  frame -> schema -> contract -> inbox -> handler (retries) -> finished -> commit
//!                                   |        |          |                    | gives up
//!                                   +--------+----------+--------------------+--> <group>.consume.dlt
//! ```
//!
//! Rules: an offset is committed only when everything up to it is finished (**commit-last**); no record can stop a
//! partition (**no-poison**); while the registry or every place for letters is out, the partition waits
//! (**told-apart**); a partition that was lost is neither worked on nor committed any more.

mod counts;
mod handler;
mod judge;
mod partitions;
mod received;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use evenkeel_broker::group::{self, Event, GroupError};
use evenkeel_event::TopicName;
use evenkeel_event::clock::{Clock, SystemClock};
use evenkeel_event::topic::NameError;
use evenkeel_flow::retry::Policy;
use evenkeel_schema::avro::Schema;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use counts::Counts;
pub use handler::{Failure, Handler, Handling};
use judge::Judge;

use crate::publish::Publisher;
use partitions::Partitions;
pub use received::Received;
use worker::Work;

/// Time between two commits of what is finished.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// How a consumer works.
#[derive(Debug, Clone)]
pub struct Options {
    /// How it takes part in its group.
    pub group: group::Options,
    /// How often the handler is called for one event.
    pub retry: Policy,
    /// Ids of finished events that are remembered per partition, to drop events that come twice.
    pub inbox_window: usize,
    /// How long a stop waits for events in hand; then their handlers are given up, and they are delivered again.
    pub finish_wait_max: Duration,
    /// Schemas with which the application reads, by the full name of their records; others are read as written.
    pub readers: Vec<Arc<Schema>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            group: group::Options::default(),
            retry: Policy::default(),
            inbox_window: 10_000,
            finish_wait_max: Duration::from_secs(30),
            readers: Vec::new(),
        }
    }
}

/// A consumer at work. Dropped without [`stop`](Self::stop), it ends in the background, and what was finished but not
/// yet committed is delivered again.
#[derive(Debug)]
pub struct Consumer {
    stop: CancellationToken,
    task: JoinHandle<Result<(), GroupError>>,
    counts: Arc<Counts>,
}

/// When a consumer ends, and how long it lets handlers finish.
struct Stop {
    asked: CancellationToken,
    finish_wait_max: Duration,
    poll_interval_max: Duration,
}

/// What every worker of a consumer shares.
struct Shared {
    group: String,
    letter_topic: TopicName,
    judge: Judge,
    handler: Box<dyn Handler>,
    publisher: Publisher,
    retry: Policy,
    clock: Box<dyn Clock>,
    counts: Arc<Counts>,
}

impl Consumer {
    /// Joins `group` and gives the events of `topics` to `handler`. What cannot be handled goes to
    /// `<group>.consume.dlt` by `publisher`, whose cluster, schemas and standby store it shares.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the group's name makes no valid name for its dead-letter topic.
    pub fn start(
        publisher: &Publisher,
        group: &str,
        topics: Vec<TopicName>,
        options: Options,
        handler: impl Handler,
    ) -> Result<Self, NameError> {
        let counts = Arc::new(Counts::default());
        let shared = Arc::new(Shared {
            group: group.to_owned(),
            letter_topic: TopicName::consume_letters(group)?,
            judge: Judge::new(publisher.clone(), options.readers),
            handler: Box::new(handler),
            publisher: publisher.clone(),
            retry: options.retry,
            clock: Box::new(SystemClock::default()),
            counts: Arc::clone(&counts),
        });
        let stop = Stop {
            asked: CancellationToken::new(),
            finish_wait_max: options.finish_wait_max,
            poll_interval_max: options.group.poll_interval_max,
        };
        let consumer = group::Consumer::join(publisher.cluster(), group, topics, options.group);
        let partitions = Partitions::new(shared, consumer.control(), options.inbox_window);
        let asked = stop.asked.clone();
        let task = tokio::spawn(run(consumer, partitions, stop));
        Ok(Self {
            stop: asked,
            task,
            counts,
        })
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Finishes the events in hand, commits, and leaves the group. What is not finished in time is delivered again, see
    /// [`Options::finish_wait_max`].
    ///
    /// # Errors
    /// When the group had refused this member for good.
    pub async fn stop(mut self) -> Result<(), GroupError> {
        self.stop.cancel();
        match (&mut self.task).await {
            Ok(outcome) => outcome,
            Err(panic) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
            // The runtime is shutting down: there is nothing left to stop.
            Err(_) => Ok(()),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stop {
    /// Events in hand have had their time: that of a stop once it is asked for, and else what the group allows.
    async fn time_is_over(&self) {
        let stopped = async {
            self.asked.cancelled().await;
            tokio::time::sleep(self.finish_wait_max).await;
        };
        tokio::select! {
            () = stopped => {}
            () = tokio::time::sleep(self.poll_interval_max) => {}
        }
    }
}

async fn run(
    mut consumer: group::Consumer,
    mut partitions: Partitions,
    stop: Stop,
) -> Result<(), GroupError> {
    let mut commits = tokio::time::interval(COMMIT_EVERY);
    commits.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.asked.cancelled() => break,
            _ = commits.tick() => partitions.commit_finished(),
            event = consumer.next() => match event {
                Ok(Some(event)) => take(&mut partitions, event, &stop).await,
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::error!(%error, "the consumer has ended");
                    return Err(error);
                }
            },
        }
    }
    partitions.give_back_all(stop.time_is_over()).await;
    consumer.close().await
}

async fn take(partitions: &mut Partitions, event: Event, stop: &Stop) {
    match event {
        Event::Assigned { claims, .. } => partitions.assign(claims),
        Event::Revoked(revoked) => {
            partitions.give_back(revoked.claims(), stop.time_is_over()).await;
            revoked.release();
        }
        Event::Lost(claims) => partitions.lose(&claims),
        Event::Records(delivery) => {
            let claim = delivery.claim().clone();
            partitions.give(&claim, Work::Delivery(delivery)).await;
        }
        Event::Skipped { claim, unreadable } => partitions.give(&claim, Work::Unreadable(unreadable)).await,
        Event::Moved {
            claim,
            from,
            to,
            cause,
        } => {
            tracing::warn!(partition = %claim.partition, from, to, ?cause, "reading goes on elsewhere");
            partitions.give(&claim, Work::Move(to)).await;
        }
        Event::Alarm { code } => tracing::error!(code, "the group cannot be used until somebody mends it"),
    }
}
