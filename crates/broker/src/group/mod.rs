//! Consumes topics as a member of a consumer group, by Kafka's classic protocol.
//!
//! ```text
//!  Consumer::next <- Stream <- Engine -> Fetcher -> leaders
//!  Consumer::commit ----------->  |
//!                                 +-> flow::membership::Member -> Courier -> coordinator
//! ```
//!
//! The decisions about the group are [`evenkeel_flow::membership`]'s. What is given to the application, it commits by
//! [`Claim`]: a position of a partition that was taken away meanwhile is refused, also when the partition came back.

mod command;
mod cursor;
mod engine;
mod event;
mod options;
mod requests;
mod start;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_flow::membership::Member;
pub use evenkeel_flow::membership::{Assignor, Claim, CommitTrouble, Error as GroupError, Mark};
use tokio::sync::{mpsc, oneshot};

use crate::cluster::Cluster;
use command::Command;
use engine::Engine;
pub use event::{Delivery, Event, MoveCause, Revoked};
pub use options::{Options, Reset};
use requests::Courier;
use stream::Stream;

/// How long [`Consumer::close`] takes at most.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// A member of a consumer group. Dropped without [`close`](Self::close), it leaves the group in the background.
#[derive(Debug)]
pub struct Consumer {
    stream: Arc<Stream>,
    control: Control,
}

/// Commits and steers a [`Consumer`] while another task waits for its events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    commands: mpsc::UnboundedSender<Command>,
    stream: Arc<Stream>,
    group: Arc<str>,
}

/// Positions that were not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("group {group}: not committed: {}", list(refused))]
pub struct NotCommitted {
    /// The group.
    pub group: String,
    /// Which, and why. The others of the same call are committed.
    pub refused: Vec<(TopicPartition, CommitTrouble)>,
}

impl NotCommitted {
    /// True when each of them belongs to a claim that has ended: whoever has the partition now goes on from its last
    /// committed position.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.refused
            .iter()
            .all(|(_, trouble)| *trouble == CommitTrouble::NotHeld)
    }
}

impl Consumer {
    /// Joins `group` in the background and consumes `topics`. What happens is told by [`next`](Self::next); a broker
    /// that cannot be reached is waited for.
    ///
    /// Must be called within a Tokio runtime.
    #[must_use]
    pub fn join(cluster: &Cluster, group: &str, topics: Vec<TopicName>, options: Options) -> Self {
        let settings = options.settings(group, topics);
        let stream = Arc::new(Stream::new(options.partition_bytes_max, options.buffer_bytes_max));
        let (sender, receiver) = mpsc::unbounded_channel();
        let courier = Arc::new(Courier::new(cluster.clone(), settings.clone()));
        let member = Member::new(settings, Duration::ZERO);
        let commands = (sender.clone(), receiver);
        let engine = Engine::new(member, options, courier, stream.clone(), commands);
        tokio::spawn(engine.run());
        let control = Control {
            commands: sender,
            stream: stream.clone(),
            group: group.into(),
        };
        Self { stream, control }
    }

    /// The next event; `None` when the consumer is closed. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    /// Once, when the group refuses this member for good; `None` follows.
    pub async fn next(&mut self) -> Result<Option<Event>, GroupError> {
        self.stream.next().await
    }

    /// Commits and steers from elsewhere.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// As [`Control::commit`].
    ///
    /// # Errors
    /// As [`Control::commit`].
    pub fn commit(
        &self,
        offsets: Vec<(Claim, Mark)>,
    ) -> impl Future<Output = Result<(), NotCommitted>> + Send + use<> {
        self.control.commit(offsets)
    }

    /// Leaves the group: gives the partitions back at once, after the commits that are under way, within 30 s.
    /// Records that were not taken are dropped.
    ///
    /// # Errors
    /// When the group has refused this member for good before.
    pub async fn close(mut self) -> Result<(), GroupError> {
        self.control.close(CLOSE_WITHIN);
        // Dropping what comes gives revoked partitions back.
        while self.next().await?.is_some() {}
        Ok(())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stream.abandon();
    }
}

impl Control {
    /// Commits positions: everything before them is finished. They are handed over when this is called, before anything
    /// that is asked for later, such as releasing their partitions; the future waits until the coordinator has them,
    /// also across rebalances and outages, for a minute at the most. Newer positions of a claim replace older ones
    /// that wait. At most 10,000 calls wait at a time.
    ///
    /// # Errors
    /// [`NotCommitted`] names the positions that were refused.
    pub fn commit(
        &self,
        offsets: Vec<(Claim, Mark)>,
    ) -> impl Future<Output = Result<(), NotCommitted>> + Send + use<> {
        let partitions: Vec<TopicPartition> =
            offsets.iter().map(|(claim, _)| claim.partition.clone()).collect();
        let (done, answer) = oneshot::channel();
        // A consumer that has ended drops the command, and with it the answer.
        self.send(Command::Commit { offsets, done });
        let (group, commands) = (self.group.clone(), self.commands.clone());
        async move {
            let answered = answered(answer, &commands).await;
            answered.unwrap_or_else(|| {
                let lost = |partition| (partition, CommitTrouble::NotHeld);
                Err(NotCommitted {
                    group: group.to_string(),
                    refused: partitions.into_iter().map(lost).collect(),
                })
            })
        }
    }

    /// Stops giving out and fetching records of `claim`: when this returns, no more of them come. A claim that has
    /// ended is left alone.
    pub fn pause(&self, claim: &Claim) {
        self.stream.pause(claim);
    }

    /// Ends [`pause`](Self::pause).
    pub fn resume(&self, claim: &Claim) {
        self.stream.resume(claim);
    }

    /// Goes on at `offset`. Records from the old place that come before this takes effect are to be ignored.
    pub fn seek(&self, claim: &Claim, offset: i64) {
        self.send(Command::Seek(claim.clone(), offset));
    }

    /// Consumes `topics` from now on.
    pub fn subscribe(&self, topics: Vec<TopicName>) {
        self.send(Command::Subscribe(topics));
    }

    /// Records that are on the log and were not taken yet, by claim. Claims of which nothing is known yet are missing.
    #[must_use]
    pub fn lag(&self) -> Vec<(Claim, i64)> {
        self.stream.lag()
    }

    /// Begins to leave the group; [`Consumer::next`] tells of revoked partitions and then ends.
    pub fn close(&self, within: Duration) {
        self.send(Command::Close { within });
    }

    fn send(&self, command: Command) {
        // A consumer that has ended has nothing left to steer.
        drop(self.commands.send(command));
    }
}

/// The answer to a command, or `None` when the consumer has ended without one. A command that was sent at the very moment at
/// which it ended stays in the channel, and its answer with it.
async fn answered<T>(
    mut answer: oneshot::Receiver<T>,
    commands: &mpsc::UnboundedSender<Command>,
) -> Option<T> {
    tokio::select! {
        biased;
        answered = &mut answer => answered.ok(),
        () = commands.closed() => answer.try_recv().ok(),
    }
}

fn list(refused: &[(TopicPartition, CommitTrouble)]) -> String {
    let shown = refused.iter().take(5).map(|(partition, trouble)| match trouble {
        CommitTrouble::NotHeld => format!("{partition} (no longer held)"),
        CommitTrouble::TimedOut => format!("{partition} (no answer in time)"),
        CommitTrouble::TooMany => format!("{partition} (too many commits wait)"),
        CommitTrouble::Refused(code) => format!("{partition} (error code {code})"),
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if refused.len() > 5 {
        text.push_str(" and more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_an_ended_consumer_never_looks_at_is_not_waited_for() {
        let (commands, receiver) = mpsc::unbounded_channel();
        // As when it was sent while the receiver went: somebody still holds what would answer.
        let (_done, answer) = oneshot::channel::<u32>();
        drop(receiver);
        assert_eq!(answered(answer, &commands).await, None);

        let (done, answer) = oneshot::channel();
        done.send(7).unwrap();
        assert_eq!(answered(answer, &commands).await, Some(7));
    }
}
