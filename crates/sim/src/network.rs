//! Requests on connections: in order, delayed, cut off before or after they landed, landing late.

use evenkeel_flow::Stamping;
use evenkeel_flow::answer::{Answer, Trouble};
use evenkeel_flow::session::Input;

use crate::records::Records;
use crate::world::{Happening, World};

/// A connection stays open until it is cut; then there is a new one.
#[derive(Debug, Default)]
pub struct Connection {
    /// Requests without an answer, oldest first.
    pub open: Vec<usize>,
    last_arrival_us: u64,
    last_answer_us: u64,
}

/// A produce request.
#[derive(Debug)]
pub struct Request {
    process: u32,
    partition: usize,
    attempt: u64,
    stamping: Stamping,
    records: Records,
    answer: Option<Answer>,
    has_arrived: bool,
    is_lost: bool,
    not_before_us: u64,
}

/// How long the process waits for an answer, microseconds.
const REQUEST_TIMEOUT_US: u64 = 2_000_000;

impl World {
    /// Sends a request on the partition's connection.
    pub(crate) fn send(&mut self, partition: usize, attempt: u64, stamping: Stamping, records: Records) {
        let process = self.processes;
        if self.broker.down {
            let answer = Answer::Unanswered {
                trouble: Trouble::Disconnected,
                may_have_landed: false,
            };
            self.after(
                1_000,
                Happening::Tell(process, partition, Input::Answered { attempt, answer }),
            );
            return;
        }
        let number = self.requests.len();
        self.requests.push(Request {
            process,
            partition,
            attempt,
            stamping,
            records,
            answer: None,
            has_arrived: false,
            is_lost: false,
            not_before_us: 0,
        });
        let delay = self.delay();
        let connection = &mut self.connections[partition];
        connection.open.push(number);
        let at = (self.now_us + delay).max(connection.last_arrival_us);
        connection.last_arrival_us = at;
        if connection.open.len() > 5 {
            let many = connection.open.len();
            self.judge
                .fail("bounded", format!("{many} requests are in flight"));
        }
        self.at(at, Happening::Arrive(number));
        self.after(REQUEST_TIMEOUT_US, Happening::TimedOut(number));
    }

    fn delay(&mut self) -> u64 {
        if self.random.chance(5) {
            self.random.within(10_000, 200_000)
        } else {
            self.random.within(200, 4_000)
        }
    }

    pub(crate) fn arrive(&mut self, number: usize) {
        let request = &self.requests[number];
        if request.is_lost || request.has_arrived {
            return;
        }
        if request.not_before_us > self.now_us {
            let at = request.not_before_us;
            self.at(at, Happening::Arrive(number));
        } else if self.broker.frozen {
            self.held.push_back(number);
        } else if self.broker.down {
            self.requests[number].is_lost = true;
        } else {
            self.land(number);
        }
    }

    fn land(&mut self, number: usize) {
        let request = &mut self.requests[number];
        request.has_arrived = true;
        let partition = request.partition;
        let done = self.broker.produce(
            self.now_us,
            partition,
            &request.stamping,
            request.records.events(),
        );
        request.answer = Some(done.answer);
        let process = request.process;
        let meets = [
            (
                "answered twice",
                matches!(done.answer, Answer::Appended { .. }) && done.appended_from.is_none(),
            ),
            ("out of turn", done.answer == Answer::OutOfTurn),
            ("fenced", done.answer == Answer::Fenced),
            (
                "appended late",
                done.appended_from.is_some() && request.not_before_us > 0,
            ),
            (
                "epoch raised",
                done.appended_from.is_some() && request.stamping.stamp.epoch > 0,
            ),
            (
                "marked",
                done.appended_from.is_some() && request.stamping.possible_double,
            ),
        ];
        self.met
            .extend(meets.iter().filter(|(_, is_met)| *is_met).map(|(what, _)| what));
        if self.trace.is_some() {
            let request = &self.requests[number];
            let line = format!(
                "broker {partition} {:?} {:?} -> {:?}",
                request.stamping.stamp,
                request.records.events(),
                done
            );
            self.note(|| line);
        }
        if let Some(from) = done.appended_from {
            let records = &self.broker.logs[partition].records[from..];
            let is_dead = process < self.processes || self.process.is_none();
            let dead = is_dead.then_some(process);
            self.judge
                .appended(&self.application, records, self.broker.topic, dead);
        }
        let delay = self.delay();
        let connection = &mut self.connections[partition];
        if process == self.processes && connection.open.contains(&number) {
            let at = (self.now_us + delay).max(connection.last_answer_us);
            connection.last_answer_us = at;
            self.at(at, Happening::Answer(number));
        }
    }

    pub(crate) fn answer(&mut self, number: usize) {
        let request = &self.requests[number];
        let (partition, attempt, process) = (request.partition, request.attempt, request.process);
        let connection = &mut self.connections[partition];
        let Some(index) = connection.open.iter().position(|open| *open == number) else {
            return;
        };
        connection.open.remove(index);
        if let Some(answer) = self.requests[number].answer {
            self.tell(process, partition, Input::Answered { attempt, answer });
        }
    }

    pub(crate) fn time_out(&mut self, number: usize) {
        let partition = self.requests[number].partition;
        if self.connections[partition].open.contains(&number) {
            self.cut(partition);
        }
    }

    /// Closes the partition's connection. Some of what is under way lands, now or late; the rest never does. The process
    /// is told that it has no answers.
    pub fn cut(&mut self, partition: usize) {
        for number in self.abandon(partition) {
            let request = &self.requests[number];
            let (process, attempt) = (request.process, request.attempt);
            let answer = Answer::Unanswered {
                trouble: Trouble::Disconnected,
                may_have_landed: true,
            };
            self.tell(process, partition, Input::Answered { attempt, answer });
        }
    }

    /// Closes the partition's connection without telling anybody.
    pub(crate) fn abandon(&mut self, partition: usize) -> Vec<usize> {
        let connection = &mut self.connections[partition];
        let open = std::mem::take(&mut connection.open);
        connection.last_arrival_us = 0;
        connection.last_answer_us = 0;
        let mut lands = true;
        let mut at = self.now_us;
        for number in &open {
            lands &= self.random.chance(70);
            if self.random.chance(30) {
                at += self.random.within(1_000, 4_000_000);
            }
            let request = &mut self.requests[*number];
            if !request.has_arrived {
                request.is_lost = !lands && !self.held.contains(number);
                request.not_before_us = at;
            }
        }
        open
    }

    /// The frozen broker goes on with what it held.
    pub fn thaw(&mut self) {
        self.broker.frozen = false;
        while let Some(number) = self.held.pop_front() {
            if !self.requests[number].has_arrived && !self.requests[number].is_lost {
                self.land(number);
            }
        }
    }
}
