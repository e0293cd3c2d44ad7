//! Produce requests: what the lines want sent is put together per leader, at most one batch per partition in a request.

use std::collections::HashMap;
use std::time::Duration;

use evenkeel_broker::{Leader, Outcome, Outgoing};
use evenkeel_event::TopicPartition;
use evenkeel_flow::session::Input;
use evenkeel_flow::{Answer, Stamping, Trouble};

use super::batch::Batch;
use super::done::Done;
use super::engine::{Engine, Expiry};
use crate::failpoint::{Point, pass};

/// Most bytes of one request, beyond its first batch.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// What is to be sent when the lines have been told everything.
#[derive(Debug)]
pub(super) struct Sends {
    timeout: Duration,
    waiting: Vec<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    node: i32,
    line: u32,
    attempt: u64,
    outgoing: Outgoing,
}

impl Attempt {
    /// It goes to the same partition, so that both do not fit into one request.
    fn is_beside(&self, other: &Self) -> bool {
        self.line == other.line || self.outgoing.partition == other.outgoing.partition
    }
}

/// What came of one request: for each batch its line, its attempt and its answer.
#[derive(Debug)]
pub(super) struct SentRequest {
    node: i32,
    answers: Vec<(u32, u64, Outcome)>,
    throttle: Duration,
}

impl Sends {
    pub(super) const fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            waiting: Vec::new(),
        }
    }
}

impl Engine {
    /// Sends a batch under its stamp, or answers at once where there is nobody to send to.
    pub(super) fn order_send(&mut self, id: u32, attempt: u64, stamping: &Stamping, payload: &Batch) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let partition = line.partition.clone();
        let (Leader::At { node, .. }, Ok(stamped)) =
            (self.metadata.leader(&partition), payload.stamped(stamping))
        else {
            self.inbox
                .push_back((id, unanswered(attempt, Trouble::Leaderless, false)));
            return;
        };
        pass(match line.machine.parked().is_empty() {
            true => Point::Stamp,
            false => Point::DrainSend,
        });
        line.attempts.insert(attempt, node);
        self.sends.waiting.push(Attempt {
            node,
            line: id,
            attempt,
            outgoing: Outgoing {
                partition,
                topic_id: stamping.topic_id,
                bytes: stamped.bytes,
                header: Some(stamped.header),
            },
        });
    }

    /// Begins the requests for all that is to be sent.
    pub(super) fn begin_sends(&mut self) {
        while !self.sends.waiting.is_empty() {
            let mut left = Vec::new();
            let mut requests: HashMap<i32, Vec<Attempt>> = HashMap::new();
            for attempt in self.sends.waiting.drain(..) {
                let request = requests.entry(attempt.node).or_default();
                let bytes: usize = request.iter().map(|other| other.outgoing.bytes.len()).sum();
                let is_there = request.iter().any(|other| other.is_beside(&attempt));
                let is_behind = left.iter().any(|other: &Attempt| other.is_beside(&attempt));
                let is_full = !request.is_empty() && bytes + attempt.outgoing.bytes.len() > REQUEST_BYTES_MAX;
                if is_there || is_behind || is_full {
                    left.push(attempt);
                } else {
                    request.push(attempt);
                }
            }
            self.sends.waiting = left;
            for (node, request) in requests {
                self.begin_send(node, request);
            }
        }
    }

    fn begin_send(&mut self, node: i32, request: Vec<Attempt>) {
        let (cluster, timeout) = (self.cluster.clone(), self.sends.timeout);
        self.work.push(Box::pin(async move {
            let (names, batches): (Vec<_>, Vec<_>) = request
                .into_iter()
                .map(|attempt| ((attempt.line, attempt.attempt), attempt.outgoing))
                .unzip();
            let sent = cluster.send(node, &batches, timeout).await;
            pass(Point::Send);
            let answers = names
                .into_iter()
                .zip(sent.outcomes)
                .map(|((line, attempt), outcome)| (line, attempt, outcome))
                .collect();
            Done::Sent(SentRequest {
                node,
                answers,
                throttle: sent.throttle,
            })
        }));
    }

    pub(super) fn sent(&mut self, sent: SentRequest) {
        for (id, attempt, outcome) in sent.answers {
            let Some(line) = self.lines.get_mut(&id) else {
                continue;
            };
            // An attempt at a leader that was given up is answered already.
            if line.attempts.remove(&attempt).is_none() {
                continue;
            }
            if !outcome.reason.is_empty() {
                tracing::debug!(partition = %line.partition, node = sent.node, reason = outcome.reason, "not appended");
            }
            if !sent.throttle.is_zero() {
                let until = self.shared.clock.monotonic() + sent.throttle;
                self.inbox.push_back((id, Input::Throttled { until }));
            }
            self.note_health(&outcome, sent.throttle);
            self.note_appended(id, &outcome);
            let answer = outcome.answer;
            self.inbox.push_back((id, Input::Answered { attempt, answer }));
        }
    }

    /// Tells a line where its leader is, when that has changed.
    pub(super) fn tell_leader(&mut self, id: u32) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        // Nothing is sent before it is known for how long a stamp decides whether it has landed.
        if self.expiry != Expiry::Known {
            return;
        }
        let leader = self.metadata.leader(&line.partition);
        let topic_id = topic_id(&self.metadata, &line.partition);
        if line.leader == leader && line.topic_id == topic_id {
            return;
        }
        (line.leader, line.topic_id) = (leader, topic_id);
        let now_at = match leader {
            Leader::At { node, .. } => Some(node),
            Leader::Gone | Leader::Unknown => None,
        };
        let given_up: Vec<u64> = line
            .attempts
            .iter()
            .filter(|(_, node)| now_at.is_some_and(|now_at| now_at != **node))
            .map(|(attempt, _)| *attempt)
            .collect();
        for attempt in given_up {
            line.attempts.remove(&attempt);
            self.inbox
                .push_back((id, unanswered(attempt, Trouble::Disconnected, true)));
        }
        self.inbox.push_back((
            id,
            match now_at {
                Some(_) => Input::LeaderKnown { topic_id },
                None => Input::LeaderGone,
            },
        ));
        self.report_leader(id);
    }
}

fn topic_id(metadata: &evenkeel_broker::Metadata, partition: &TopicPartition) -> evenkeel_event::TopicId {
    metadata
        .topic(&partition.topic)
        .map_or(evenkeel_event::TopicId::UNKNOWN, |topic| topic.id)
}

fn unanswered(attempt: u64, trouble: Trouble, may_have_landed: bool) -> Input<Batch> {
    Input::Answered {
        attempt,
        answer: Answer::Unanswered {
            trouble,
            may_have_landed,
        },
    }
}
