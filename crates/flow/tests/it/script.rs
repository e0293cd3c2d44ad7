//! Tests as scripts: one input a line, and after `->` the orders that it must bring, parted by `;`.
//!
//! A stamp is written `producer/epoch/sequence`, a batch as the ids of its events. Wake-ups are left out; `wait` passes
//! time and tells it.

use std::fmt::Write as _;
use std::time::Duration;

use evenkeel_event::TopicId;
use evenkeel_event::clock::Timestamp;
use evenkeel_flow::answer::{Answer, Refusal, Trouble};
use evenkeel_flow::session::{
    Input, Now, Order, Outcome, Partition, Payload, ProducerEpoch, SearchResult, Settings, StoreResult,
    Stored, Ticket, Way,
};
use evenkeel_flow::{Stamp, Stamping};

/// A batch of events, each an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ids(pub(crate) Vec<String>);

impl Payload for Ids {
    type Id = str;

    fn count(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap()
    }

    fn bytes(&self) -> usize {
        self.0.len()
    }

    fn split_at(mut self, records: i32) -> (Self, Self) {
        let rest = self.0.split_off(usize::try_from(records).unwrap());
        (self, Self(rest))
    }

    fn find(&self, id: &str) -> Option<i32> {
        let index = self.0.iter().position(|own| own == id)?;
        Some(i32::try_from(index).unwrap())
    }
}

pub(crate) fn ids(words: &[&str]) -> Ids {
    Ids(words.iter().map(|word| (*word).to_owned()).collect())
}

/// Plays a script on a partition with the usual settings.
pub(crate) fn check(script: &str) {
    check_with(Settings::default(), script);
}

/// Plays a script on a partition.
pub(crate) fn check_with(settings: Settings, script: &str) {
    play_all(Partition::new(settings), script);
}

/// Plays a script on a partition whose lane is shared.
pub(crate) fn check_shared(script: &str) {
    play_all(Partition::shared(Settings::default()), script);
}

fn play_all(mut partition: Partition<Ids>, script: &str) {
    let mut time = Time::default();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (told, expected) = line.split_once("->").unwrap_or((line, ""));
        let words: Vec<&str> = told.split_whitespace().collect();
        let mut orders = Vec::new();
        play(&mut partition, &mut time, &words, &mut orders);
        let seen: Vec<String> = orders.iter().filter_map(render).collect();
        let expected: Vec<String> = expected
            .split(';')
            .map(|order| order.trim().to_owned())
            .filter(|order| !order.is_empty())
            .collect();
        assert_eq!(seen, expected, "after: {told}\nin:{script}");
    }
}

#[derive(Default)]
struct Time {
    elapsed_ms: u64,
    wall_ahead_ms: u64,
}

impl Time {
    fn now(&self) -> Now {
        let wall = i64::try_from(self.elapsed_ms + self.wall_ahead_ms).unwrap();
        Now::new(
            Duration::from_millis(self.elapsed_ms),
            Timestamp::from_millis(wall),
        )
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

fn play(partition: &mut Partition<Ids>, time: &mut Time, words: &[&str], orders: &mut Vec<Order<Ids>>) {
    let input = match words[0] {
        "wait" => {
            time.elapsed_ms += number(words[1]);
            Input::Timer
        }
        "hours" => {
            time.wall_ahead_ms += number(words[1]) * 3_600_000;
            Input::Timer
        }
        "join" => {
            let joined = partition.join(time.now(), Ticket(number(words[1])), words[2], orders);
            assert_eq!(joined, words.get(3) != Some(&"not"), "{words:?}");
            return;
        }
        "idle" => {
            assert!(partition.is_idle());
            return;
        }
        "out" => {
            assert!(partition.is_out(), "{words:?}");
            return;
        }
        "reached" => {
            assert!(!partition.is_out(), "{words:?}");
            return;
        }
        "full" => {
            assert!(!partition.can_take());
            return;
        }
        _ => input(words),
    };
    partition.handle(time.now(), input, orders);
}

fn input(words: &[&str]) -> Input<Ids> {
    let at = |index: usize| number(words[index]);
    match words[0] {
        "leader" => Input::LeaderKnown {
            topic_id: TopicId([words.get(1).map_or(1, |word| word.parse().unwrap()); 16]),
        },
        "gone" => Input::LeaderGone,
        "throttled" => Input::Throttled {
            until: Duration::from_millis(at(1)),
        },
        "producer" => Input::Producer {
            id: words[1].parse().unwrap(),
        },
        "publish" => Input::Published {
            ticket: Ticket(at(1)),
            payload: ids(&words[2..]),
        },
        "answer" => Input::Answered {
            attempt: at(1),
            answer: answer(&words[2..]),
        },
        "recovered" => Input::Recovered {
            head: at(1),
            tail: at(2),
            epochs: words[3..].iter().map(|word| used_epoch(word)).collect(),
        },
        "grown" => Input::Grown {
            head: at(1),
            tail: at(2),
        },
        "stored" => Input::Appended {
            append: at(1),
            result: stored_at(words[2]),
        },
        "stamped" => Input::StampsStored { write: at(1) },
        "removed" => Input::Removed { below: at(1) },
        "read" => Input::Read {
            batches: words[1..]
                .split(|word| *word == "|")
                .filter(|batch| !batch.is_empty())
                .map(stored)
                .collect(),
        },
        "found" => Input::Searched {
            search: at(1),
            result: SearchResult::Found(words[2..].iter().map(|word| word.parse().ok()).collect()),
        },
        "unsearchable" => Input::Searched {
            search: at(1),
            result: SearchResult::NotSearchable,
        },
        "unsearched" => Input::Searched {
            search: at(1),
            result: SearchResult::Failed,
        },
        "lettered" => Input::Lettered {
            letter: at(1),
            durable: words.get(2) != Some(&"not"),
        },
        "way" => Input::Way(way(words[1])),
        "undiverted" => Input::NotDiverted,
        "hold" => Input::Hold { held: true },
        "release" => Input::Hold { held: false },
        "close" => Input::Close,
        other => panic!("{other} is no input"),
    }
}

fn way(word: &str) -> Way {
    match word {
        "direct" => Way::Direct,
        "park" => Way::Park,
        "hold" => Way::Hold,
        "refuse" => Way::Refuse,
        other => panic!("{other} is no way"),
    }
}

fn stored_at(word: &str) -> StoreResult {
    match word {
        "full" => StoreResult::Refused,
        "passed" => StoreResult::Passed,
        "unknown" => StoreResult::Unknown,
        position => StoreResult::Durable {
            position: number(position),
        },
    }
}

fn answer(words: &[&str]) -> Answer {
    let unanswered = |may_have_landed| Answer::Unanswered {
        trouble: Trouble::Disconnected,
        may_have_landed,
    };
    match words[0] {
        "appended" => Answer::Appended {
            offset: words[1].parse().ok(),
        },
        "refused" => Answer::Refused(Refusal::TooLarge),
        "lost" => unanswered(true),
        "unsent" => unanswered(false),
        "code" => Answer::from_code(words[1].parse().unwrap(), -1),
        other => panic!("{other} is no answer"),
    }
}

/// `position ids [stamp]`; a stamped batch carries the time 0 and the topic 1.
fn stored(words: &[&str]) -> Stored<Ids> {
    let (events, stamp): (Vec<&str>, Vec<&str>) =
        words[1..].iter().copied().partition(|word| !word.contains('/'));
    let stamping = stamp.first().map(|text| {
        let parts: Vec<i64> = text.split('/').map(|part| part.parse().unwrap()).collect();
        Stamping {
            stamp: Stamp {
                producer_id: parts[0],
                epoch: i16::try_from(parts[1]).unwrap(),
                base_sequence: i32::try_from(parts[2]).unwrap(),
                count: i32::try_from(events.len()).unwrap(),
            },
            at: Timestamp::from_millis(0),
            topic_id: TopicId([1; 16]),
            search_from: None,
            possible_double: false,
        }
    });
    Stored {
        position: number(words[0]),
        payload: ids(&events),
        stamping,
    }
}

fn stamp(stamping: &Stamping) -> String {
    let Stamp {
        producer_id,
        epoch,
        base_sequence,
        ..
    } = stamping.stamp;
    let double = if stamping.possible_double { "!" } else { "" };
    format!("{producer_id}/{epoch}/{base_sequence}{double}")
}

fn render(order: &Order<Ids>) -> Option<String> {
    Some(match order {
        Order::Send {
            attempt,
            stamping,
            payload,
        } => format!("send {attempt} {} {}", stamp(stamping), payload.0.join(" ")),
        Order::Append { append, batches } => {
            let mut text = format!("append {append}");
            for (index, (stamping, payload)) in batches.iter().enumerate() {
                let separator = if index == 0 { "" } else { " |" };
                let stamp = stamping
                    .as_ref()
                    .map_or(String::new(), |stamping| format!(" {}", stamp(stamping)));
                write!(text, "{separator}{stamp} {}", payload.0.join(" ")).unwrap();
            }
            text
        }
        Order::StoreStamps { write, stamps } => {
            let mut text = format!("stamp {write}");
            for range in stamps {
                let count = range.stamping.stamp.count;
                write!(text, " {}+{count}:{}", range.position, stamp(&range.stamping)).unwrap();
            }
            text
        }
        Order::Read { from } => format!("read {from}"),
        Order::Remove { below } => format!("remove {below}"),
        Order::Search {
            search,
            payload,
            from,
            ..
        } => {
            let from = from.map_or("start".to_owned(), |from| from.to_string());
            format!("search {search} {} from {from}", payload.0.join(" "))
        }
        Order::DeadLetter { letter, payload, .. } => format!("letter {letter} {}", payload.0.join(" ")),
        Order::Acknowledge { claim, outcome } => {
            let what = match outcome {
                Outcome::Published { offset } => {
                    format!(
                        "published {}",
                        offset.map_or("?".to_owned(), |offset| offset.to_string())
                    )
                }
                Outcome::Parked { position } => format!("parked {position}"),
                Outcome::DeadLettered { .. } => "lettered".to_owned(),
                Outcome::Failed { may_have_landed, .. } => {
                    (if *may_have_landed { "maybe" } else { "failed" }).to_owned()
                }
            };
            format!("ack {}.{}+{} {what}", claim.ticket.0, claim.first, claim.count)
        }
        Order::AskProducer { .. } => "ask".to_owned(),
        Order::WakeAt(_) => return None,
        Order::Alarm(_) => "alarm".to_owned(),
    })
}

/// `7/2`: epoch 2 of the producer id 7.
fn used_epoch(word: &str) -> ProducerEpoch {
    let (producer_id, epoch) = word.split_once('/').unwrap();
    ProducerEpoch {
        producer_id: producer_id.parse().unwrap(),
        epoch: epoch.parse().unwrap(),
    }
}
