//! The partitions that are this consumer's, each with its worker.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use evenkeel_broker::group::{Claim, Control, Mark, NotCommitted};
use evenkeel_event::TopicPartition;
use evenkeel_flow::commit::Progress;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::worker::{Line, Seen, Work, Worker};

/// Batches that may wait for one worker. The partition is paused when half of them do, so that there is always room:
/// giving work never waits, because one slow partition must not hold up the others, their commits, or the stop.
const WAITING_MAX: usize = 32;

pub(super) struct Partitions {
    shared: Arc<Shared>,
    control: Control,
    inbox_window: usize,
    at_work: HashMap<Claim, AtWork>,
    /// What was finished of each partition, kept across claims: a partition that was lost and came back begins at its
    /// last committed position.
    seen: HashMap<TopicPartition, Arc<Mutex<Seen>>>,
    /// Workers of claims that have ended, which finish the record in hand.
    ending: HashMap<TopicPartition, JoinHandle<()>>,
    /// The commit under way; it says whether it went well.
    commit: Option<JoinHandle<bool>>,
}

struct AtWork {
    work: mpsc::Sender<Work>,
    line: Arc<Line>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// What was handed to the coordinator last.
    committed: Option<Mark>,
}

impl Partitions {
    pub(super) fn new(shared: Arc<Shared>, control: Control, inbox_window: usize) -> Self {
        Self {
            shared,
            control,
            inbox_window,
            at_work: HashMap::new(),
            seen: HashMap::new(),
            ending: HashMap::new(),
            commit: None,
        }
    }

    pub(super) fn assign(&mut self, claims: Vec<Claim>) {
        for claim in claims {
            let started = self.start(claim.clone());
            self.at_work.insert(claim, started);
        }
    }

    fn start(&mut self, claim: Claim) -> AtWork {
        let window = self.inbox_window;
        let seen = self
            .seen
            .entry(claim.partition.clone())
            .or_insert_with(|| Arc::new(Mutex::new(Seen::new(window))));
        let before = self.ending.remove(&claim.partition);
        let (work, receiver) = mpsc::channel(WAITING_MAX);
        let (line, stop) = (Arc::new(Line::default()), CancellationToken::new());
        let worker = Worker {
            shared: Arc::clone(&self.shared),
            claim,
            control: self.control.clone(),
            line: Arc::clone(&line),
            stop: stop.clone(),
            seen: Arc::clone(seen),
            progress: Progress::new(0, 1),
        };
        AtWork {
            work,
            line,
            stop,
            task: tokio::spawn(worker.run(before, receiver)),
            committed: None,
        }
    }

    /// Gives work to the claim's worker. Work of a claim that has ended is dropped: its next owner gets it.
    pub(super) async fn give(&mut self, claim: &Claim, work: Work) {
        let Some(at_work) = self.at_work.get(claim) else {
            return;
        };
        let is_behind = at_work.work.capacity() <= WAITING_MAX / 2;
        if is_behind && !at_work.line.paused.load(Ordering::Acquire) {
            // In this order: whoever finds it marked as paused resumes it, so it has to be paused by then. And before
            // the work is handed over, so that the worker looks at the mark once more.
            self.control.pause(claim);
            at_work.line.paused.store(true, Ordering::Release);
        }
        // Nothing comes while it is paused, so it is never full; and a worker that nobody stopped ends by a panic alone.
        if at_work.work.try_send(work).is_err()
            && let Some(at_work) = self.at_work.remove(claim)
        {
            raise(at_work.task.await);
        }
    }

    /// Commits what is finished and was not committed before, in the background, one commit at a time.
    pub(super) fn commit_finished(&mut self) {
        if let Some(mut commit) = self.commit.take() {
            match (&mut commit).now_or_never() {
                None => {
                    self.commit = Some(commit);
                    return;
                }
                Some(Ok(true)) => {}
                Some(_) => self
                    .at_work
                    .values_mut()
                    .for_each(|at_work| at_work.committed = None),
            }
        }
        let marks: Vec<(Claim, Mark)> = self
            .at_work
            .iter_mut()
            .filter_map(|(claim, at_work)| Some((claim.clone(), at_work.news()?)))
            .collect();
        self.commit(marks);
    }

    /// Hands the positions over now: before anything that is asked of the group later, and before newer positions.
    fn commit(&mut self, marks: Vec<(Claim, Mark)>) {
        if !marks.is_empty() {
            let answer = self.control.commit(marks);
            self.commit = Some(tokio::spawn(committed(answer)));
        }
    }

    /// Lets the workers finish what is in hand, until `time_is_over`, and commits what is finished. A handler that is
    /// still busy then is given up: its record is delivered again.
    pub(super) async fn give_back(&mut self, claims: &[Claim], time_is_over: impl Future<Output = ()>) {
        let mut leaving = Vec::new();
        for claim in claims {
            if let Some(at_work) = self.at_work.remove(claim) {
                at_work.stop.cancel();
                leaving.push((claim.clone(), at_work));
            }
        }
        tokio::pin!(time_is_over);
        let mut is_over = false;
        let mut marks = Vec::new();
        for (claim, mut at_work) in leaving {
            if !is_over {
                tokio::select! {
                    biased;
                    ended = &mut at_work.task => raise(ended),
                    () = &mut time_is_over => is_over = true,
                }
            }
            marks.extend(at_work.line.finished().map(|mark| (claim.clone(), mark)));
            if is_over && !at_work.task.is_finished() {
                tracing::warn!(partition = %claim.partition, "its handler took too long and is given up");
                at_work.task.abort();
                self.ending.insert(claim.partition.clone(), at_work.task);
            }
        }
        self.commit(marks);
    }

    pub(super) async fn give_back_all(&mut self, time_is_over: impl Future<Output = ()>) {
        let claims: Vec<Claim> = self.at_work.keys().cloned().collect();
        self.give_back(&claims, time_is_over).await;
    }

    /// Another member has them, or is about to: nothing is committed any more.
    pub(super) fn lose(&mut self, claims: &[Claim]) {
        for claim in claims {
            if let Some(at_work) = self.at_work.remove(claim) {
                at_work.stop.cancel();
                self.ending.insert(claim.partition.clone(), at_work.task);
            }
        }
    }
}

impl AtWork {
    fn news(&mut self) -> Option<Mark> {
        let finished = self
            .line
            .finished()
            .filter(|finished| self.committed != Some(*finished));
        if finished.is_some() {
            self.committed = finished;
        }
        finished
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        for at_work in self.at_work.values() {
            at_work.stop.cancel();
        }
    }
}

/// A panic of ours goes on.
fn raise(ended: Result<(), JoinError>) {
    if let Err(panic) = ended
        && panic.is_panic()
    {
        std::panic::resume_unwind(panic.into_panic());
    }
}

async fn committed(answer: impl Future<Output = Result<(), NotCommitted>>) -> bool {
    // What was lost is not ours to commit; anything else is committed again, or redelivered.
    match answer.await {
        Ok(()) => true,
        Err(refused) if refused.is_lost() => true,
        Err(refused) => {
            tracing::warn!(%refused, "finished events may be delivered again");
            false
        }
    }
}
