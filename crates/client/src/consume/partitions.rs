//! The partitions that are this consumer's, each with its worker.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use evenkeel_broker::group::{Claim, Control, Mark};
use evenkeel_event::TopicPartition;
use evenkeel_flow::commit::Progress;
use evenkeel_flow::inbox::Inbox;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::worker::{Line, Work, Worker};

/// Batches that wait for one worker. The partition is paused when half of them do.
const WAITING_MAX: usize = 32;

pub(super) struct Partitions {
    shared: Arc<Shared>,
    control: Control,
    inbox_window: usize,
    at_work: HashMap<Claim, AtWork>,
    /// What was finished of each partition, kept across claims: a partition that was lost and came back begins at its
    /// last committed position.
    inboxes: HashMap<TopicPartition, Arc<Mutex<Inbox>>>,
    /// Workers of claims that were lost, which finish the record in hand.
    ending: HashMap<TopicPartition, JoinHandle<()>>,
    commit: Option<JoinHandle<()>>,
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
            inboxes: HashMap::new(),
            ending: HashMap::new(),
            commit: None,
        }
    }

    pub(super) fn assign(&mut self, claims: Vec<Claim>) {
        for claim in claims {
            let started = self.start(claim.clone(), 0);
            self.at_work.insert(claim, started);
        }
    }

    fn start(&mut self, claim: Claim, position: i64) -> AtWork {
        let window = self.inbox_window;
        let inbox = self
            .inboxes
            .entry(claim.partition.clone())
            .or_insert_with(|| Arc::new(Mutex::new(Inbox::new(window))));
        let before = self.ending.remove(&claim.partition);
        let (work, receiver) = mpsc::channel(WAITING_MAX);
        let (line, stop) = (Arc::new(Line::default()), CancellationToken::new());
        let worker = Worker {
            shared: Arc::clone(&self.shared),
            claim,
            control: self.control.clone(),
            line: Arc::clone(&line),
            stop: stop.clone(),
            inbox: Arc::clone(inbox),
            progress: Progress::new(position, 1),
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
    pub(super) async fn give(&self, claim: &Claim, work: Work) {
        let Some(at_work) = self.at_work.get(claim) else {
            return;
        };
        // Paused before the work is handed over, so that the worker that resumes it comes after.
        if at_work.work.capacity() <= WAITING_MAX / 2 && !at_work.line.paused.swap(true, Ordering::AcqRel) {
            self.control.pause(claim);
        }
        if at_work.work.send(work).await.is_err() {
            tracing::debug!(partition = %claim.partition, "its worker has stopped");
        }
    }

    /// Begins anew at `position`, which may lie before what was finished.
    pub(super) async fn move_to(&mut self, claim: Claim, position: i64) {
        if let Some(old) = self.at_work.remove(&claim) {
            end(old).await;
            let started = self.start(claim.clone(), position);
            self.at_work.insert(claim, started);
        }
    }

    /// Commits what is finished and was not committed before, in the background, one commit at a time.
    pub(super) fn commit_finished(&mut self) {
        if self.commit.as_ref().is_some_and(|commit| !commit.is_finished()) {
            return;
        }
        let marks: Vec<(Claim, Mark)> = self
            .at_work
            .iter_mut()
            .filter_map(|(claim, at_work)| Some((claim.clone(), at_work.news()?)))
            .collect();
        if !marks.is_empty() {
            self.commit = Some(tokio::spawn(commit(self.control.clone(), marks)));
        }
    }

    /// Lets the workers finish what is in hand, and commits it.
    pub(super) async fn give_back(&mut self, claims: &[Claim]) {
        for claim in claims {
            if let Some(at_work) = self.at_work.get(claim) {
                at_work.stop.cancel();
            }
        }
        let mut marks = Vec::new();
        for claim in claims {
            if let Some(at_work) = self.at_work.remove(claim) {
                let line = Arc::clone(&at_work.line);
                end(at_work).await;
                marks.extend(line.finished().map(|mark| (claim.clone(), mark)));
            }
        }
        if !marks.is_empty() {
            commit(self.control.clone(), marks).await;
        }
    }

    pub(super) async fn give_back_all(&mut self) {
        let claims: Vec<Claim> = self.at_work.keys().cloned().collect();
        self.give_back(&claims).await;
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

async fn end(at_work: AtWork) {
    at_work.stop.cancel();
    if let Err(panic) = at_work.task.await
        && panic.is_panic()
    {
        std::panic::resume_unwind(panic.into_panic());
    }
}

async fn commit(control: Control, marks: Vec<(Claim, Mark)>) {
    // What was lost is not ours to commit; anything else is committed again with newer positions, or redelivered.
    if let Err(refused) = control.commit(marks).await
        && !refused.is_lost()
    {
        tracing::warn!(%refused, "finished events may be delivered again");
    }
}
