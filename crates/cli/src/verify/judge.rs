//! Reads the topics as a stranger would (no SDK, no group, no counters), and compares them with what publishers were told.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, anyhow};
use evenkeel_broker::Cluster;
use evenkeel_broker::batch::RecordView;
use evenkeel_event::{TopicName, TopicPartition, headers};
use evenkeel_flow::inbox::Inbox;
use serde::Serialize;

use super::event::Recipe;
use super::ledger::{Fate, Ledger};
use crate::topic_reader;

/// What a consumer's inbox remembers by default, events of a partition.
const INBOX_WINDOW: usize = 10_000;
/// Findings that are told by their events.
const EXAMPLES_MAX: usize = 5;

/// What is wrong with the topics. All zero means that every promise held.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Findings {
    /// Events with a receipt that are not where it says.
    pub(super) lost: u64,
    /// Events that were published before the broker lost data or the topic was deleted, and are gone with it.
    pub(super) lost_by_broker: u64,
    /// Occurrences beyond those that were asked for, unmarked: a defect.
    pub(super) doubles_unmarked: u64,
    /// Occurrences beyond those that were asked for, marked as possible doubles.
    pub(super) doubles_marked: u64,
    /// Records that are marked as possible doubles, whether they are or not.
    pub(super) marked: u64,
    /// Occurrences made by publishing again what had no answer, after a kill.
    pub(super) doubles_own: u64,
    /// Occurrences that a consumer's inbox does not drop.
    pub(super) doubles_after_inbox: u64,
    /// Events that came, for the first time, behind a later one of their key.
    pub(super) out_of_order: u64,
    /// Records that nobody sent, or that are not what was sent.
    pub(super) strangers: u64,
    /// Events that were parked, and became dead letters when they were sent on.
    pub(super) lettered_later: u64,
    /// Events that were refused or are wrong, and lie on the topic nevertheless.
    pub(super) unwanted: u64,
    /// Some of the events that are meant, for people.
    pub(super) examples: Vec<String>,
}

/// The events of a run that lie on a topic, those that came twice told twice.
pub(super) async fn events_on(cluster: &Cluster, topic: &TopicName, recipe: &Recipe) -> Result<Vec<u64>> {
    let mut events = Vec::new();
    topic_reader::read_all(cluster, topic, |record| {
        events.extend(Seen::of(record).id.and_then(|id| recipe.number(id)));
        Ok(())
    })
    .await?;
    Ok(events)
}

/// One run's topics as they are compared.
pub(super) struct Judge<'run> {
    recipe: &'run Recipe,
    ledger: &'run Ledger,
    broker_may_lose: bool,
    /// Occurrences of each event on the topic.
    seen: Vec<u8>,
    findings: Findings,
}

impl<'run> Judge<'run> {
    pub(super) fn new(recipe: &'run Recipe, ledger: &'run Ledger, broker_may_lose: bool) -> Self {
        let count = usize::try_from(ledger.handed_over()).unwrap_or(0);
        Self {
            recipe,
            ledger,
            broker_may_lose,
            seen: vec![0; count],
            findings: Findings::default(),
        }
    }

    /// Reads both topics, and says what is wrong.
    pub(super) async fn judge(
        mut self,
        cluster: &Cluster,
        topic: &TopicName,
        letters: &TopicName,
    ) -> Result<Findings> {
        let found = cluster.topic_anew(topic).await?;
        for partition in &found.partitions {
            let mut course = Course::default();
            let place = TopicPartition::new(topic.clone(), partition.index);
            topic_reader::read(cluster, &place, |record| {
                self.record(&Seen::of(record), &mut course);
                Ok(())
            })
            .await?;
        }
        let mut lettered = vec![false; self.seen.len()];
        match cluster.topic_anew(letters).await {
            Ok(found) => {
                for partition in &found.partitions {
                    let place = TopicPartition::new(letters.clone(), partition.index);
                    topic_reader::read(cluster, &place, |record| {
                        self.letter(&Seen::of(record), &mut lettered);
                        Ok(())
                    })
                    .await?;
                }
            }
            Err(error) if self.ledger.count(Fate::DeadLettered) > 0 => {
                return Err(anyhow!(error).context(format!("the letters in {letters} cannot be read")));
            }
            Err(_) => {}
        }
        self.compare(&lettered);
        // What is still parked is not lost; the report says how much that is.
        self.findings.lost = self.findings.lost.saturating_sub(self.ledger.parked_now());
        Ok(self.findings)
    }

    fn record(&mut self, record: &Seen<'_>, course: &mut Course) {
        let Some(number) = self.known(record) else {
            self.findings.strangers += 1;
            let about = format!("the record at offset {} is of nobody", record.offset);
            return self.example(about);
        };
        let id = self.recipe.id(number);
        if course.inbox.has_seen(&number) {
            // Dropped by who consumes.
        } else if self.count(number) > 0 {
            self.findings.doubles_after_inbox += 1;
        }
        course.inbox.remember(number);
        self.findings.marked += u64::from(record.marked);
        let before = self.count(number);
        self.note(number);
        if before > 0 {
            return self.double(number, before, record.marked);
        }
        let publisher = self.recipe.publisher(number);
        let newest = course.newest.entry(self.recipe.lane(number)).or_insert(number);
        if *newest > number {
            let newest = self.recipe.id(*newest);
            self.findings.out_of_order += 1;
            return self.example(format!("{id} of publisher {publisher} came behind {newest}"));
        }
        *newest = number;
        if self.recipe.shared {
            self.judge_across(number, course);
        }
    }

    /// What was answered before an event of the same key was even handed over comes before it, whoever published them.
    fn judge_across(&mut self, number: u64, course: &mut Course) {
        let (handed_over, answered) = self.ledger.times(number);
        let key = self.recipe.key(number);
        let (latest, latest_is) = course.latest.entry(key).or_insert((handed_over, number));
        if answered.is_some_and(|answered| answered < *latest) {
            let (id, latest) = (self.recipe.id(number), self.recipe.id(*latest_is));
            self.findings.out_of_order += 1;
            self.example(format!(
                "{id} came behind {latest}, which was published after its receipt"
            ));
        } else if handed_over > *latest {
            (*latest, *latest_is) = (handed_over, number);
        }
    }

    /// The event that a record is, if it is what that event has to be.
    fn known(&self, record: &Seen<'_>) -> Option<u64> {
        let number = self.recipe.number(record.id?)?;
        let is_handed_over = usize::try_from(number).is_ok_and(|number| number < self.seen.len());
        let is_keyed = record.key == Some(self.recipe.key(number).as_bytes());
        // Magic byte and schema id, the number, the length of the filler.
        let least = 5 + 1 + self.recipe.bytes.saturating_sub(10);
        let is_whole = record
            .value
            .is_some_and(|value| value.len() >= least && value.first() == Some(&0));
        (is_handed_over && is_keyed && is_whole).then_some(number)
    }

    fn count(&self, number: u64) -> u8 {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        self.seen.get(place).copied().unwrap_or(0)
    }

    fn note(&mut self, number: u64) {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(count) = self.seen.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    /// A further occurrence, behind so many.
    fn double(&mut self, number: u64, before: u8, marked: bool) {
        if before < self.ledger.times_handed_over(number) {
            self.findings.doubles_own += 1;
        } else if marked {
            self.findings.doubles_marked += 1;
            self.example(format!("{} came twice, marked", self.recipe.id(number)));
        } else {
            self.findings.doubles_unmarked += 1;
            self.example(format!("{} came twice, unmarked", self.recipe.id(number)));
        }
    }

    fn letter(&mut self, record: &Seen<'_>, lettered: &mut [bool]) {
        let number = record.id.and_then(|id| self.recipe.number(id));
        let place = number.and_then(|number| usize::try_from(number).ok());
        match place.and_then(|place| lettered.get_mut(place)) {
            Some(known) => *known = true,
            None => {
                self.findings.strangers += 1;
                self.example(format!("the letter at offset {} is of nobody", record.offset));
            }
        }
    }

    /// Compares what was seen with what publishers were told.
    fn compare(&mut self, lettered: &[bool]) {
        let ledger = self.ledger;
        for ((number, fate), is_lettered) in ledger.fates().zip(lettered) {
            let is_there = self.count(number) > 0;
            match fate {
                // What was parked can turn out to be too large, or otherwise wrong, when it is sent.
                Fate::Parked if *is_lettered && !is_there => self.findings.lettered_later += 1,
                Fate::Published | Fate::Parked if !is_there => self.missing(number, fate),
                Fate::DeadLettered if !is_lettered => self.missing(number, fate),
                // An earlier call, whose process died before it answered, may have left it in the store for others to send.
                Fate::Refused if self.recipe.shared && ledger.times_handed_over(number) > 1 => {}
                Fate::Refused | Fate::DeadLettered if is_there => {
                    self.findings.unwanted += 1;
                    self.example(format!(
                        "{} is {fate:?}, and on the topic",
                        self.recipe.id(number)
                    ));
                }
                _ => {}
            }
        }
    }

    fn missing(&mut self, number: u64, fate: Fate) {
        // What was parked may have been sent on, and taken, before the broker lost it.
        let was_taken = fate == Fate::Published || (fate == Fate::Parked && self.broker_may_lose);
        let is_excused = was_taken && self.ledger.is_excused(number);
        if is_excused || self.ledger.was_taken(number) {
            self.findings.lost_by_broker += 1;
            return;
        }
        self.findings.lost += 1;
        self.example(format!(
            "{} has the receipt {fate:?}, and is lost",
            self.recipe.id(number)
        ));
    }

    fn example(&mut self, about: String) {
        if self.findings.examples.len() < EXAMPLES_MAX {
            self.findings.examples.push(about);
        }
    }
}

/// What the judge looks at in a record.
struct Seen<'batch> {
    offset: i64,
    id: Option<&'batch [u8]>,
    key: Option<&'batch [u8]>,
    value: Option<&'batch [u8]>,
    marked: bool,
}

impl<'batch> Seen<'batch> {
    fn of(record: &RecordView<'batch>) -> Self {
        Self {
            offset: record.offset,
            id: record.header(headers::CE_ID),
            key: record.key,
            value: record.value,
            marked: record.header(headers::POSSIBLE_DOUBLE).is_some(),
        }
    }
}

/// What is kept while one partition is read.
struct Course {
    inbox: Inbox<u64>,
    /// The newest event of every key so far.
    newest: HashMap<String, u64>,
    /// Of every key that publishers share, when the event was handed over that was handed over last, and that event.
    latest: HashMap<String, (Duration, u64)>,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            inbox: Inbox::new(INBOX_WINDOW),
            newest: HashMap::new(),
            latest: HashMap::new(),
        }
    }
}

impl Findings {
    /// The promises that were broken, as sentences. `may_mark` where a broker forgets or loses data: doubles are marked then.
    pub(super) fn violations(&self, may_mark: bool) -> Vec<String> {
        let marked = if may_mark { 0 } else { self.doubles_marked };
        let counted = [
            (
                marked,
                "events came twice, marked, although no broker forgot anything",
            ),
            (self.lost, "events with a receipt are lost"),
            (self.doubles_unmarked, "events came twice, unmarked"),
            (self.out_of_order, "events came behind a later one of their key"),
            (self.strangers, "records are of nobody"),
            (
                self.unwanted,
                "events are on the topic that were refused or are wrong",
            ),
        ];
        let broken = counted.iter().filter(|(count, _)| *count > 0);
        broken.map(|(count, what)| format!("{count} {what}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: Recipe = Recipe {
        shared: true,
        ..RECIPE
    };

    const RECIPE: Recipe = Recipe {
        run: 1,
        publishers: 1,
        keys: 1,
        shared: false,
        bytes: 0,
        wrong_every: 0,
        oversize_every: 0,
        oversize_bytes: 0,
    };

    /// The findings over the numbers as they lie in one partition, where 0, 1, 2 were published or parked, 3 was handed over
    /// twice, 4 was refused, and 5 dead-lettered.
    fn judged(course: &[u64], marked: &[usize], letters: &[u64]) -> Findings {
        let mut ledger = Ledger::new(1).unwrap();
        for number in [0, 1, 2, 3, 3, 4, 5] {
            ledger.hand_over(number);
        }
        let parked_or_published = [(0, Fate::Published), (1, Fate::Parked), (2, Fate::Published)];
        for (number, fate) in parked_or_published.into_iter().chain([
            (3, Fate::Published),
            (4, Fate::Refused),
            (5, Fate::DeadLettered),
        ]) {
            ledger.receipt(number, fate, 1);
        }
        let mut judge = Judge::new(&RECIPE, &ledger, false);
        let (mut state, mut lettered) = (Course::default(), vec![false; 6]);
        for (place, number) in course.iter().enumerate() {
            let (id, key) = (RECIPE.id(*number), RECIPE.key(*number));
            let seen = Seen {
                offset: 0,
                id: Some(id.as_bytes()),
                key: Some(key.as_bytes()),
                value: Some(b"\0\0\0\0\x01\0"),
                marked: marked.contains(&place),
            };
            judge.record(&seen, &mut state);
        }
        for number in letters {
            let id = RECIPE.id(*number);
            let seen = Seen {
                offset: 0,
                id: Some(id.as_bytes()),
                key: None,
                value: None,
                marked: false,
            };
            judge.letter(&seen, &mut lettered);
        }
        judge.compare(&lettered);
        Findings {
            examples: Vec::new(),
            ..judge.findings
        }
    }

    /// What is found when the first of four events are missing, of which the first two were handed over before the broker lost
    /// data: lost, and lost by the broker.
    fn missing(fates: [Fate; 4], broker_may_lose: bool) -> (u64, u64) {
        let mut ledger = Ledger::new(1).unwrap();
        for (number, fate) in (0..).zip(fates) {
            ledger.hand_over(number);
            ledger.receipt(number, fate, 1);
            if number == 1 {
                ledger.excuse();
            }
        }
        let mut judge = Judge::new(&RECIPE, &ledger, broker_may_lose);
        judge.compare(&[false; 4]);
        (judge.findings.lost, judge.findings.lost_by_broker)
    }

    #[test]
    fn only_what_the_broker_had_before_it_lost_data_is_excused() {
        use Fate::{DeadLettered, Parked, Published};
        assert_eq!(missing([Published, Parked, Published, Parked], false), (3, 1));
        assert_eq!(missing([Published, Parked, Published, Parked], true), (2, 2));
        assert_eq!(missing([DeadLettered; 4], true), (4, 0));
    }

    /// What was parked, and read on the topic before that was deleted, went with it; what else was parked did not.
    #[test]
    fn what_was_parked_and_sent_on_before_the_topic_was_deleted_is_excused() {
        let mut ledger = Ledger::new(1).unwrap();
        for number in 0..4 {
            ledger.hand_over(number);
            ledger.receipt(number, Fate::Parked, 1);
        }
        ledger.excuse_taken(&[1, 2, 1, 99]);
        let mut judge = Judge::new(&RECIPE, &ledger, false);
        judge.compare(&[false; 4]);
        let found = judge.findings;
        assert_eq!((found.lost, found.lost_by_broker), (2, 2));
    }

    fn nothing() -> Findings {
        Findings::default()
    }

    #[test]
    fn what_holds_is_not_found() {
        let own = Findings {
            doubles_own: 1,
            ..nothing()
        };
        assert_eq!(judged(&[0, 1, 2, 3], &[], &[5]), nothing());
        assert_eq!(judged(&[0, 1, 2, 3, 3], &[], &[5]), own);
        assert_eq!(own.violations(false), Vec::<String>::new());
    }

    #[test]
    fn each_broken_promise_is_found() {
        let parked = judged(&[0, 2, 3], &[], &[1, 5]);
        assert_eq!((parked.lost, parked.lettered_later), (0, 1));
        let cases: [(Findings, Findings); 7] = [
            (judged(&[0, 2, 3], &[], &[5]), Findings { lost: 1, ..nothing() }),
            (judged(&[0, 1, 2, 3], &[], &[]), Findings { lost: 1, ..nothing() }),
            (
                judged(&[0, 1, 1, 2, 3], &[], &[5]),
                Findings {
                    doubles_unmarked: 1,
                    ..nothing()
                },
            ),
            (
                judged(&[0, 1, 1, 2, 3], &[2], &[5]),
                Findings {
                    doubles_marked: 1,
                    marked: 1,
                    ..nothing()
                },
            ),
            (
                judged(&[1, 0, 2, 3], &[], &[5]),
                Findings {
                    out_of_order: 1,
                    ..nothing()
                },
            ),
            (
                judged(&[0, 1, 2, 3, 9], &[], &[5]),
                Findings {
                    strangers: 1,
                    ..nothing()
                },
            ),
            (
                judged(&[0, 1, 2, 3, 4], &[], &[5]),
                Findings {
                    unwanted: 1,
                    ..nothing()
                },
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
            assert_eq!(found.violations(false).len(), 1, "{found:?}");
        }
    }

    /// How many refused events on the topic are found where processes share a store, one that was handed over so often.
    fn unwanted(recipe: &Recipe, hand_overs: usize) -> u64 {
        let mut ledger = Ledger::new(1).unwrap();
        (0..hand_overs).for_each(|_| ledger.hand_over(0));
        ledger.receipt(0, Fate::Refused, 1);
        let mut judge = Judge::new(recipe, &ledger, false);
        judge.note(0);
        judge.compare(&[false]);
        judge.findings.unwanted
    }

    #[test]
    fn what_a_dead_process_left_in_a_shared_store_is_its_own() {
        assert_eq!((unwanted(&SHARED, 1), unwanted(&SHARED, 2)), (1, 0));
        assert_eq!(unwanted(&RECIPE, 2), 1);
    }

    #[test]
    fn what_an_inbox_forgot_is_counted() {
        let mut ledger = Ledger::new(1).unwrap();
        let count = INBOX_WINDOW as u64 + 2;
        (0..count).for_each(|number| {
            ledger.hand_over(number);
            ledger.receipt(number, Fate::Published, 1);
        });
        let mut judge = Judge::new(&RECIPE, &ledger, false);
        let mut state = Course::default();
        for number in (0..count).chain([count - 1, 0]) {
            let (id, key) = (RECIPE.id(number), RECIPE.key(number));
            let seen = Seen {
                offset: 0,
                id: Some(id.as_bytes()),
                key: Some(key.as_bytes()),
                value: Some(b"\0\0\0\0\x01\0"),
                marked: true,
            };
            judge.record(&seen, &mut state);
        }
        let found = &judge.findings;
        assert_eq!((found.doubles_marked, found.doubles_after_inbox), (2, 1));
    }
}
