//! A drain: the oldest row is stamped, its stamp stored under the term, it is sent, and removed when it is answered.

use evenkeel_flow::diversion::{Input, Left};

use super::broker::{Event, Message, Stamp};
use super::process::{Outside, Running};
use super::store::{Answer, Ask, PLACE};

/// The drain that a process makes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Drain {
    term: u64,
    producer: u8,
    next_sequence: u8,
    at: u64,
    pub(super) tail: u64,
    step: Step,
    said: Option<Left>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Idle,
    Reading,
    Storing(Event, Stamp),
    Sending(Event, Stamp),
    Removing,
}

impl Drain {
    pub(super) fn new(number: u8, term: u64, head: u64, tail: u64) -> Self {
        Self {
            term,
            producer: 100 + number * 10 + term as u8,
            next_sequence: 0,
            at: head,
            tail,
            step: Step::Idle,
            said: None,
        }
    }

    fn left(&self) -> Left {
        match self.tail - self.at {
            0 => Left::Nothing,
            1 => Left::Little,
            _ => Left::Much,
        }
    }
}

impl Running {
    pub(super) fn go_on_draining(&mut self, outside: &mut Outside<'_>) {
        let Some(drain) = &mut self.drain else { return };
        if let Step::Sending(event, stamp) = drain.step {
            let message = Message {
                stamp,
                event,
                from: self.number,
                is_drain: true,
            };
            if !outside.net.contains(&message) {
                outside.net.push(message);
            }
        }
        if drain.step != Step::Idle {
            return;
        }
        let (left, term) = (drain.left(), drain.term);
        let at = drain.at;
        let is_news = drain.said.replace(left) != Some(left);
        if left != Left::Nothing {
            drain.step = Step::Reading;
            self.ask(Ask::Read(at));
        }
        if is_news {
            let place = PLACE;
            self.tell(outside, Input::Drained { place, term, left });
        }
    }

    pub(super) fn drain_answered(&mut self, ask: Ask, answer: Option<Answer>) {
        let Some(drain) = &mut self.drain else { return };
        match (ask, answer, drain.step) {
            (Ask::Read(at), Some(Answer::Row(row)), Step::Reading) if at == drain.at => match row {
                Some((event, Some(stamp))) => drain.step = Step::Sending(event, stamp),
                Some((event, None)) => {
                    let stamp = Stamp {
                        producer: drain.producer,
                        sequence: drain.next_sequence,
                    };
                    drain.next_sequence += 1;
                    drain.step = Step::Storing(event, stamp);
                    let (term, position) = (drain.term, drain.at);
                    self.ask(Ask::Stamp {
                        term,
                        position,
                        stamp,
                    });
                }
                // Another drain has removed it: the member will hear of that one.
                None => drain.step = Step::Removing,
            },
            (Ask::Stamp { stamp: asked, .. }, answer, Step::Storing(event, stamp)) if asked == stamp => {
                match answer {
                    Some(Answer::Stamped(true)) => drain.step = Step::Sending(event, stamp),
                    // Another term has begun: nothing more is sent.
                    Some(_) => drain.step = Step::Removing,
                    None => {
                        let (term, position) = (drain.term, drain.at);
                        self.ask(Ask::Stamp {
                            term,
                            position,
                            stamp,
                        });
                    }
                }
            }
            (Ask::Remove(below), answer, Step::Removing) if below == drain.at + 1 => match answer {
                Some(_) => {
                    drain.at = below;
                    drain.tail = drain.tail.max(below);
                    drain.step = Step::Idle;
                }
                None => self.ask(Ask::Remove(below)),
            },
            (Ask::Read(at), None, Step::Reading) if at == drain.at => self.ask(Ask::Read(at)),
            _ => {}
        }
    }

    /// The broker has the drain's event.
    pub(super) fn drain_landed(&mut self, stamp: Stamp) {
        if let Some(drain) = &mut self.drain
            && let Step::Sending(_, sent) = drain.step
            && sent == stamp
        {
            drain.step = Step::Removing;
            let below = drain.at + 1;
            self.ask(Ask::Remove(below));
        }
    }
}
