//! The judge: reads the topics with nothing but fetch requests, and compares them with what the script did and was told.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail};
use evenkeel_broker::fetch::{At, Piece, Until};
use evenkeel_broker::{Cluster, Error};
use evenkeel_event::{TopicName, TopicPartition, headers};

use super::script::{Outcome, Task};

/// A record as it lies on its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) id: String,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    /// As a possible double.
    pub(super) marked: bool,
}

/// Every record of a topic, partition after partition. A topic that nobody needed is empty.
pub(super) async fn read(cluster: &Cluster, topic: &TopicName) -> Result<Vec<Seen>> {
    let partitions = match cluster.topic_anew(topic).await {
        Ok(found) => found.partitions.clone(),
        Err(Error::TopicMissing { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut all = Vec::new();
    for partition in partitions.iter().map(|partition| partition.index) {
        let place = TopicPartition::new(topic.clone(), partition);
        let mut range = cluster.read(place, At::Earliest, Until::End).await?;
        while let Some(piece) = range.next().await? {
            if let Piece::Unreadable(unreadable) = &piece {
                bail!("a batch cannot be read: {}", unreadable.reason);
            }
            for record in piece.records() {
                let text =
                    |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                all.push(Seen {
                    partition,
                    offset: record.offset,
                    id: text(record.header(headers::CE_ID)).context("a record has no event id")?,
                    key: text(record.key).unwrap_or_default(),
                    value: record.value.unwrap_or_default().to_vec(),
                    marked: record.header(headers::POSSIBLE_DOUBLE).is_some(),
                });
            }
        }
    }
    Ok(all)
}

/// Every promise that was not kept, a sentence each. `names` are those of the two topics.
pub(super) fn broken(tasks: &[Task], names: [&str; 2], topic: &[Seen], letters: &[Seen]) -> Vec<String> {
    let mut found = Vec::new();
    let (on_topic, in_letters) = (by_id(topic), by_id(letters));
    for task in tasks {
        let id = &task.invoice.number;
        let seen = |places: &HashMap<&str, Vec<Seen>>| places.get(id.as_str()).cloned().unwrap_or_default();
        // Version 1 of the contract wants a customer.
        let (name, here, elsewhere) = if task.invoice.customer.is_empty() {
            (names[1], seen(&in_letters), seen(&on_topic))
        } else {
            (names[0], seen(&on_topic), seen(&in_letters))
        };
        if !elsewhere.is_empty() {
            found.push(format!("{id} lies where it does not belong: {elsewhere:?}"));
        }
        found.extend(lost(task, &here));
        found.extend(misjudged(task, name));
        found.extend(twice(task, &here));
        found.extend(changed(task, &here));
    }
    let is_known = |seen: &&Seen| tasks.iter().any(|task| task.invoice.number == seen.id);
    let unknown = topic.iter().chain(letters).filter(|seen| !is_known(seen));
    found.extend(unknown.map(|seen| format!("{} was never sent", seen.id)));
    found.extend(disordered(tasks, topic));
    found
}

fn by_id(seen: &[Seen]) -> HashMap<&str, Vec<Seen>> {
    let mut places: HashMap<&str, Vec<Seen>> = HashMap::new();
    for seen in seen {
        places.entry(&seen.id).or_default().push(seen.clone());
    }
    places
}

/// **owned**: what has a receipt is there, and where the receipt says.
fn lost(task: &Task, here: &[Seen]) -> Option<String> {
    let id = &task.invoice.number;
    let receipt = task.receipt.as_ref()?;
    if here.is_empty() {
        return Some(format!(
            "{id} is lost: it was sent {} times, receipt {receipt:?}",
            task.sent
        ));
    }
    let at = receipt.partition.zip(receipt.offset)?;
    let is_there = here.iter().any(|seen| (seen.partition, seen.offset) == at);
    (!is_there).then(|| format!("{id} is not where its receipt says: {receipt:?}, but {here:?}"))
}

/// **told-apart**: what violates the contract is a dead letter and says why, all else is on its way to `topic`.
fn misjudged(task: &Task, topic: &str) -> Option<String> {
    let receipt = task.receipt.as_ref()?;
    let is_letter = receipt.outcome == Outcome::DeadLettered;
    let says_why = receipt
        .cause
        .as_ref()
        .is_some_and(|cause| cause.contains("customer_id"));
    let is_right = receipt.topic.as_deref() == Some(topic)
        && is_letter == task.invoice.customer.is_empty()
        && is_letter == says_why;
    (!is_right).then(|| format!("{} has the wrong receipt {receipt:?}", task.invoice.number))
}

/// **once**: as often as the script sent it at most, unless marked.
fn twice(task: &Task, here: &[Seen]) -> Option<String> {
    let unmarked = here.iter().filter(|seen| !seen.marked).count();
    let places: Vec<(i32, i64)> = here.iter().map(|seen| (seen.partition, seen.offset)).collect();
    (unmarked > task.sent).then(|| {
        format!(
            "{} was sent {} times and lies unmarked {unmarked} times: {places:?}, receipt {:?}",
            task.invoice.number, task.sent, task.receipt
        )
    })
}

/// Every occurrence is the event: its key, and its number within the data.
fn changed(task: &Task, here: &[Seen]) -> Option<String> {
    let number = task.invoice.number.as_bytes();
    let is_it = |seen: &&Seen| {
        seen.key == task.invoice.key() && seen.value.windows(number.len()).any(|part| part == number)
    };
    let other = here.iter().find(|seen| !is_it(seen))?;
    Some(format!("{} was changed: {other:?}", task.invoice.number))
}

/// **in-order**: the first occurrences of a key's events stand in the order of the script.
fn disordered(tasks: &[Task], topic: &[Seen]) -> Vec<String> {
    let turns: HashMap<&str, usize> = tasks
        .iter()
        .enumerate()
        .map(|(turn, task)| (task.invoice.number.as_str(), turn))
        .collect();
    let mut first: HashMap<&str, (i32, i64)> = HashMap::new();
    for seen in topic {
        first.entry(&seen.id).or_insert((seen.partition, seen.offset));
    }
    let mut keys: BTreeMap<&str, Vec<(i32, i64, usize)>> = BTreeMap::new();
    for (id, (partition, offset)) in first {
        if let Some(turn) = turns.get(id) {
            let key = tasks[*turn].invoice.key();
            keys.entry(key).or_default().push((partition, offset, *turn));
        }
    }
    let mut found = Vec::new();
    for (key, mut places) in keys {
        places.sort_unstable();
        if !places.is_sorted_by_key(|place| place.2) {
            let ids: Vec<_> = places
                .iter()
                .map(|(partition, offset, turn)| (&tasks[*turn].invoice.number, partition, offset))
                .collect();
            found.push(format!("events of key {key} are out of order: {ids:?}"));
        }
    }
    found
}

mod tests {
    use super::super::script::Receipt;
    use super::*;
    use crate::invoices::invoices;

    /// The first four invoices, two of which share a customer, sent once and published.
    fn perfect() -> (Vec<Task>, Vec<Seen>) {
        let four = invoices().into_iter().take(4).zip(0..);
        four.map(|(invoice, offset)| {
            let seen = Seen {
                partition: 1,
                offset,
                id: invoice.number.clone(),
                key: invoice.key().to_owned(),
                value: invoice.number.clone().into_bytes(),
                marked: false,
            };
            let receipt = Receipt {
                id: Some(invoice.number.clone()),
                outcome: Outcome::Published,
                topic: Some("orders".to_owned()),
                partition: Some(1),
                offset: Some(offset),
                cause: None,
            };
            let task = Task {
                invoice,
                sent: 1,
                receipt: Some(receipt),
            };
            (task, seen)
        })
        .unzip()
    }

    fn check(change: impl FnOnce(&mut Vec<Task>, &mut Vec<Seen>), expected: &[&str]) {
        let (mut tasks, mut topic) = perfect();
        change(&mut tasks, &mut topic);
        let found = broken(&tasks, ["orders", "letters"], &topic, &[]);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_faithful_topic_breaks_nothing() {
        check(|_, _| (), &[]);
    }

    #[test]
    fn a_lost_event_is_noticed() {
        check(
            |_, topic| {
                topic.pop();
            },
            &["is lost"],
        );
    }

    #[test]
    fn a_double_is_the_scripts_own_or_marked_or_noticed() {
        let double = |topic: &mut Vec<Seen>| {
            topic.push(Seen {
                offset: 9,
                ..topic[0].clone()
            });
        };
        check(|_, topic| double(topic), &["unmarked 2 times"]);
        check(
            |tasks, topic| {
                double(topic);
                tasks[0].sent = 2;
            },
            &[],
        );
        check(
            |_, topic| {
                double(topic);
                topic[4].marked = true;
            },
            &[],
        );
    }

    #[test]
    fn events_of_one_key_in_the_wrong_order_are_noticed() {
        // The first two orders are of one customer.
        check(
            |tasks, topic| {
                for (task, seen) in tasks.iter_mut().zip(topic.iter_mut()).take(2) {
                    seen.offset = 9 - seen.offset;
                    task.receipt.as_mut().unwrap().offset = Some(seen.offset);
                }
                topic.swap(0, 1);
            },
            &["out of order"],
        );
    }

    #[test]
    fn a_receipt_that_names_another_place_is_noticed() {
        check(|_, topic| topic[3].offset = 7, &["not where its receipt says"]);
    }

    #[test]
    fn a_wrong_receipt_is_noticed() {
        check(
            |tasks, _| tasks[2].receipt.as_mut().unwrap().outcome = Outcome::DeadLettered,
            &["wrong receipt"],
        );
    }

    #[test]
    fn what_was_never_sent_is_noticed() {
        check(
            |_, topic| {
                let foreign = Seen {
                    id: "nobody".to_owned(),
                    ..topic[0].clone()
                };
                topic.push(foreign);
            },
            &["was never sent"],
        );
    }
}
