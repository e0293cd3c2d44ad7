//! Works through the records of one partition, one after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_broker::batch::Unreadable;
use evenkeel_broker::group::{Claim, Control, Delivery, Mark};
use evenkeel_event::backoff::Backoff;
use evenkeel_event::clock::Timestamp;
use evenkeel_event::letter::{Cause, Origin, Stage};
use evenkeel_event::{Code, Letter, headers};
use evenkeel_flow::commit::Progress;
use evenkeel_flow::inbox::Inbox;
use evenkeel_flow::retry::Decision;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::handler::Failure;
use super::judge::{Judgement, Raw, Wrong};
use super::{Received, Shared};

/// Waits while the registry or every place for letters is out.
const OUTAGE: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(5),
};

/// What a partition's worker is given.
pub(super) enum Work {
    /// Records.
    Delivery(Delivery),
    /// A batch that cannot be read.
    Unreadable(Unreadable),
    /// Reading goes on at this offset. What was given before is finished first: it is committed past.
    Move(i64),
}

/// What was finished of one partition, so that it is dropped when it comes again.
#[derive(Debug)]
pub(super) struct Seen {
    /// Events that were handled, wherever they lie.
    handled: Inbox,
    /// Records that were dead-lettered, by offset and time alone: the redrive of an event has its id and is to be
    /// handled.
    dead_lettered: Inbox<(i64, Timestamp)>,
}

impl Seen {
    pub(super) fn new(window: usize) -> Self {
        Self {
            handled: Inbox::new(window),
            dead_lettered: Inbox::new(window),
        }
    }
}

/// What the worker and the consumer share of one partition.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Up to where everything is finished.
    finished: Mutex<Option<Mark>>,
    /// The partition is paused until the worker has caught up.
    pub(super) paused: AtomicBool,
}

impl Line {
    pub(super) fn finished(&self) -> Option<Mark> {
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, mark: Mark) {
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
    }
}

/// Works through one claim until its channel closes or it is told to stop. Between two records, never within one, so
/// that what was begun is finished and counted.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) claim: Claim,
    pub(super) control: Control,
    pub(super) line: Arc<Line>,
    pub(super) stop: tokio_util::sync::CancellationToken,
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) progress: Progress,
}

/// The worker was told to stop before the record was finished.
struct Stopped;

impl Worker {
    /// `before` is the worker of an earlier claim of the same partition; it ends first.
    pub(super) async fn run(mut self, before: Option<JoinHandle<()>>, mut work: mpsc::Receiver<Work>) {
        if let Some(before) = before {
            // What it came to is told by what it finished.
            drop(before.await);
        }
        while let Some(next) = self.next(&mut work).await {
            let outcome = match next {
                Work::Delivery(delivery) => self.deliver(&delivery).await,
                Work::Unreadable(unreadable) => self.set_aside(unreadable).await,
                Work::Move(position) => {
                    self.go_on_at(position);
                    Ok(())
                }
            };
            if outcome.is_err() {
                return;
            }
            if work.is_empty() && self.line.paused.swap(false, Ordering::AcqRel) {
                self.control.resume(&self.claim);
            }
        }
    }

    async fn next(&self, work: &mut mpsc::Receiver<Work>) -> Option<Work> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            next = work.recv() => next,
        }
    }

    async fn deliver(&mut self, delivery: &Delivery) -> Result<(), Stopped> {
        for record in delivery.records() {
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
            let raw = Raw::copy(&record);
            self.progress.delivered(raw.offset);
            self.finish(&raw).await?;
            self.progress.finished(raw.offset);
            self.mark(delivery.batch().leader_epoch);
        }
        self.progress.advanced(delivery.end().offset);
        self.mark(delivery.end().leader_epoch);
        Ok(())
    }

    /// Everything that was given before is finished, and nothing is left between it and `position`, which may also lie
    /// before it.
    fn go_on_at(&mut self, position: i64) {
        self.progress = Progress::new(position, 1);
        self.mark(-1);
    }

    /// Tells the consumer what may be committed.
    fn mark(&mut self, leader_epoch: i32) {
        if let Some(offset) = self.progress.committable() {
            self.line.finish(Mark { offset, leader_epoch });
            self.progress.committed(offset);
        }
    }

    /// Brings one record to its end: handled, dead-lettered, or dropped as seen. It is remembered last.
    async fn finish(&mut self, raw: &Raw) -> Result<(), Stopped> {
        let place = (raw.offset, raw.timestamp);
        if self.seen().dead_lettered.has_seen(&place) {
            self.shared.counts.note_repeated();
            return Ok(());
        }
        let event = match self.judged(raw).await? {
            Ok(event) => event,
            Err(wrong) => return self.dead_letter(raw, wrong, 1).await,
        };
        if event
            .id
            .as_ref()
            .is_some_and(|id| self.seen().handled.has_seen(id))
        {
            self.shared.counts.note_repeated();
            return Ok(());
        }
        let Some((code, attempts, failure)) = self.handled(&event).await? else {
            if let Some(id) = event.id {
                self.seen().handled.remember(id);
            }
            return Ok(());
        };
        let wrong = Wrong {
            code,
            stage: Stage::Handle,
            message: failure.message().to_owned(),
            schema_id: u32::try_from(event.schema_id.0).ok(),
        };
        self.dead_letter(raw, wrong, attempts).await
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until the registry can be asked: an outage is no reason to dead-letter (invariant **told-apart**).
    async fn judged(&self, raw: &Raw) -> Result<Result<Received, Wrong>, Stopped> {
        let mut failures = 0;
        loop {
            match self.shared.judge.judge(&self.claim.partition, raw).await {
                Judgement::Event(event) => return Ok(Ok(*event)),
                Judgement::Wrong(wrong) => return Ok(Err(wrong)),
                Judgement::Undecided(reason) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(partition = %self.claim.partition, offset = raw.offset, reason, "waiting for the registry");
                    }
                    self.wait(OUTAGE.wait(failures, rand::random())).await?;
                }
            }
        }
    }

    /// Calls the handler until it goes well or has failed often enough; then says how it failed.
    async fn handled(&self, event: &Received) -> Result<Option<(Code, u32, Failure)>, Stopped> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.call(event).await {
                Ok(()) => {
                    self.shared.counts.note_handled();
                    return Ok(None);
                }
                Err(failure @ Failure::Never(_)) => {
                    return Ok(Some((Code::HandlerRejected, attempts, failure)));
                }
                Err(failure) => match self.shared.retry.after(attempts, rand::random()) {
                    Decision::GiveUp => return Ok(Some((Code::HandlerFailed, attempts, failure))),
                    Decision::Retry(wait) => self.wait(wait).await?,
                },
            }
        }
    }

    /// A handler that panics has failed as one that returns an error: it stops no partition (invariant **no-poison**).
    async fn call(&self, event: &Received) -> Result<(), Failure> {
        let handling =
            std::panic::AssertUnwindSafe(async { self.shared.handler.handle(event.clone()).await });
        handling
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(Failure::Again("the handler panicked".to_owned())))
    }

    async fn set_aside(&mut self, unreadable: Unreadable) -> Result<(), Stopped> {
        let raw = Raw {
            offset: unreadable.base_offset,
            timestamp: self.shared.clock.now(),
            key: None,
            value: Some(unreadable.bytes),
            headers: Vec::new(),
        };
        let message = format!(
            "offsets {} to {}: {}",
            unreadable.base_offset, unreadable.last_offset, unreadable.reason
        );
        let wrong = Wrong {
            code: Code::UnreadableBatch,
            stage: Stage::Frame,
            message,
            schema_id: None,
        };
        self.progress.delivered(raw.offset);
        self.dead_letter(&raw, wrong, 1).await?;
        self.progress.finished(raw.offset);
        self.progress.advanced(unreadable.last_offset.saturating_add(1));
        self.mark(-1);
        Ok(())
    }

    /// Writes the letter; tries until some durable place has it.
    async fn dead_letter(&self, raw: &Raw, wrong: Wrong, deliveries: u32) -> Result<(), Stopped> {
        let partition = &self.claim.partition;
        let origin = Origin {
            topic: partition.topic.clone(),
            partition: Some(partition.partition),
            offset: Some(raw.offset),
            group: Some(self.shared.group.clone()),
        };
        let cause = Cause {
            code: wrong.code,
            stage: wrong.stage,
            message: wrong.message,
            application: self.shared.group.clone(),
            failed_at: self.shared.clock.now(),
            schema_id: wrong.schema_id,
            delivery_count: deliveries,
        };
        let kept = raw
            .headers
            .iter()
            .filter(|header| header.name != headers::POSSIBLE_DOUBLE)
            .cloned()
            .collect();
        let topic = self.shared.letter_topic.clone();
        let letter = Letter::new(topic, raw.key.clone(), raw.value.clone(), kept, &origin, &cause);
        let mut failures = 0;
        while let Err(error) = self.shared.publisher.publish_letter(letter.clone()).await {
            failures += 1;
            tracing::warn!(%partition, offset = raw.offset, %error, "the dead letter is in no durable place yet; the partition waits");
            self.wait(OUTAGE.wait(failures, rand::random())).await?;
        }
        self.seen().dead_lettered.remember((raw.offset, raw.timestamp));
        self.shared.counts.note_dead_lettered();
        Ok(())
    }

    async fn wait(&self, wait: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }
}
