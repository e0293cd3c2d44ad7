//! What was done to letters, by whom, when and why: records in the topic `_evenkeel` (invariant **untouched**).
//!
//! Keys are unique, so that compaction keeps every record; of several claims of one letter the first on the log wins.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_broker::Cluster;
use evenkeel_broker::fetch::{At, Until};
use evenkeel_event::clock::Clock;
use evenkeel_event::{Record, TopicName, TopicPartition};
use serde::{Deserialize, Serialize};

use super::Error;
use super::letter::readable;

/// Longest wait for a record to be taken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Records that are written in one batch.
const BATCH_MAX: usize = 500;

const CLAIM: &str = "REDRIVE_CLAIM";
const TAKEOVER: &str = "REDRIVE_TAKEOVER";
const DONE: &str = "REDRIVE_DONE";

/// Who redrives, and why.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Who {
    /// The person or program.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
    /// The standby store that the redrive goes through; a claim of another one is not taken over silently.
    pub store: String,
}

/// Claims and completed redrives, as far as the topic was read.
#[derive(Debug)]
pub struct Ledger {
    partition: TopicPartition,
    next: i64,
    claims: HashMap<String, Claim>,
    /// The stores through which letters were sent on.
    done: HashMap<String, HashSet<String>>,
}

/// The claim of a letter that counts: the first, or what took it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) run: String,
    pub(super) who: Who,
    pub(super) behind: Behind,
    pub(super) taken_over: bool,
}

/// Where a claimed letter's event is not: below this offset of this partition, its end when the letter was first claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Behind {
    #[serde(default)]
    pub(super) partition: i32,
    #[serde(default)]
    pub(super) from: i64,
}

/// What is written of a letter.
#[derive(Debug)]
pub(super) enum Note {
    /// It is claimed.
    Claim(Behind),
    /// The claim of this run is taken over.
    Takeover(String),
    /// It is sent on, and what the receipt said.
    Done(String),
}

#[derive(Serialize, Deserialize)]
struct Key {
    keytype: String,
    letter: String,
    run: String,
}

#[derive(Serialize, Deserialize)]
struct Value {
    #[serde(flatten)]
    who: Who,
    at: String,
    #[serde(flatten)]
    behind: Option<Behind>,
    /// The run whose claim is taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

impl Ledger {
    /// Reads the ledger from the topic `evenkeel`. Where that is missing, nothing was redriven yet.
    ///
    /// # Errors
    /// When the topic cannot be read.
    pub async fn read(cluster: &Cluster, evenkeel: TopicName) -> Result<Self, Error> {
        let partition = TopicPartition::new(evenkeel, 0);
        let mut ledger = Self {
            partition,
            next: 0,
            claims: HashMap::new(),
            done: HashMap::new(),
        };
        match cluster.topic_anew(&ledger.partition.topic).await {
            Err(error) if error.is_topic_missing() => {}
            found => {
                found?;
                ledger.catch_up(cluster).await?;
            }
        }
        Ok(ledger)
    }

    /// True when the letter was sent on by the redrive whose claim of it counts.
    #[must_use]
    pub fn is_done(&self, identity: &str) -> bool {
        let Some(stores) = self.done.get(identity) else {
            return false;
        };
        let claim = self.claims.get(identity);
        claim.is_none_or(|claim| stores.contains(&claim.who.store))
    }

    /// True when the letter was sent on by any redrive.
    pub(super) fn was_done(&self, identity: &str) -> bool {
        self.done.contains_key(identity)
    }

    /// True when the letter was sent on, but only through standby stores other than `store`: its event may have been
    /// lost with one of those.
    #[must_use]
    pub fn is_done_elsewhere(&self, identity: &str, store: &str) -> bool {
        let stores = self.done.get(identity);
        self.claims.contains_key(identity) && stores.is_some_and(|stores| !stores.contains(store))
    }

    pub(super) fn claim(&self, identity: &str) -> Option<&Claim> {
        self.claims.get(identity)
    }

    /// Writes notes of letters for `run`, and reads the log up to them: [`Ledger::claim`] then tells whose claims count.
    pub(super) async fn write(
        &mut self,
        cluster: &Cluster,
        clock: &dyn Clock,
        run: &str,
        who: &Who,
        notes: Vec<(String, Note)>,
    ) -> Result<(), Error> {
        let at = clock.now().to_rfc3339();
        let topic = &self.partition.topic;
        let records: Vec<Record> = notes
            .into_iter()
            .map(|(letter, note)| record(topic, run, who, &at, letter, note))
            .collect();
        for batch in records.chunks(BATCH_MAX) {
            cluster.append(&self.partition, batch, clock, PATIENCE).await?;
        }
        self.catch_up(cluster).await
    }

    async fn catch_up(&mut self, cluster: &Cluster) -> Result<(), Error> {
        let mut range = match self.next {
            0 => {
                cluster
                    .read(self.partition.clone(), At::Earliest, Until::End)
                    .await?
            }
            next => {
                cluster
                    .read_from(self.partition.clone(), next, Until::End)
                    .await?
            }
        };
        while let Some(piece) = range.next().await? {
            for record in readable(&self.partition.clone(), &piece)?.records() {
                self.apply(record.key, record.value);
            }
        }
        self.next = range.position();
        Ok(())
    }

    /// Takes in one record; others live in the topic too and are none of its business.
    fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let Some(key) = key.and_then(|key| serde_json::from_slice::<Key>(key).ok()) else {
            return;
        };
        let Some(value) = value.and_then(|value| serde_json::from_slice::<Value>(value).ok()) else {
            return;
        };
        match key.keytype.as_str() {
            CLAIM => {
                let claim = Claim {
                    run: key.run,
                    who: value.who,
                    behind: value.behind.unwrap_or(Behind {
                        partition: 0,
                        from: 0,
                    }),
                    taken_over: false,
                };
                self.claims.entry(key.letter).or_insert(claim);
            }
            TAKEOVER => {
                // Of several takeovers of one claim the first counts: behind it the claim is another run's.
                if let Some(claim) = self.claims.get_mut(&key.letter)
                    && value.of.as_deref() == Some(claim.run.as_str())
                {
                    claim.run = key.run;
                    claim.who = value.who;
                    claim.taken_over = true;
                }
            }
            DONE => {
                self.done.entry(key.letter).or_default().insert(value.who.store);
            }
            _ => {}
        }
    }
}

fn record(topic: &TopicName, run: &str, who: &Who, at: &str, letter: String, note: Note) -> Record {
    let (keytype, behind, of, outcome) = match note {
        Note::Claim(behind) => (CLAIM, Some(behind), None, None),
        Note::Takeover(of) => (TAKEOVER, None, Some(of), None),
        Note::Done(outcome) => (DONE, None, None, Some(outcome)),
    };
    let key = Key {
        keytype: keytype.to_owned(),
        letter,
        run: run.to_owned(),
    };
    let value = Value {
        who: who.clone(),
        at: at.to_owned(),
        behind,
        of,
        outcome,
    };
    Record {
        topic: topic.clone(),
        partition: Some(0),
        key: json(&key),
        value: json(&value),
        headers: Vec::new(),
    }
}

fn json(value: &impl Serialize) -> Option<Bytes> {
    serde_json::to_vec(value).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let partition = TopicPartition::new(TopicName::new("_evenkeel").unwrap(), 0);
        Ledger {
            partition,
            next: 0,
            claims: HashMap::new(),
            done: HashMap::new(),
        }
    }

    fn apply(ledger: &mut Ledger, run: &str, note: Note) {
        apply_as(ledger, run, "s", note);
    }

    fn apply_as(ledger: &mut Ledger, run: &str, store: &str, note: Note) {
        let who = Who {
            by: "anna".to_owned(),
            reason: "v2".to_owned(),
            store: store.to_owned(),
        };
        let topic = ledger.partition.topic.clone();
        let record = record(&topic, run, &who, "", "l".to_owned(), note);
        ledger.apply(record.key.as_deref(), record.value.as_deref());
    }

    fn claim(partition: i32, from: i64) -> Note {
        Note::Claim(Behind { partition, from })
    }

    #[test]
    fn the_first_claim_wins() {
        let mut ledger = ledger();
        apply(&mut ledger, "first", claim(2, 7));
        apply(&mut ledger, "second", claim(2, 9));
        let first = ledger.claim("l").unwrap();
        let behind = Behind {
            partition: 2,
            from: 7,
        };
        assert_eq!((first.run.as_str(), first.behind), ("first", behind));
        assert!(!ledger.is_done("l"));
        apply(&mut ledger, "first", Note::Done("parked".to_owned()));
        assert!(ledger.is_done("l"));
    }

    #[test]
    fn the_first_takeover_of_a_claim_wins() {
        let mut ledger = ledger();
        apply(&mut ledger, "first", claim(2, 7));
        for run in ["second", "third"] {
            apply(&mut ledger, run, Note::Takeover("first".to_owned()));
        }
        let taken = ledger.claim("l").unwrap();
        assert_eq!(
            (taken.run.as_str(), taken.behind.from, taken.taken_over),
            ("second", 7, true)
        );
    }

    #[test]
    fn records_of_others_are_left_alone() {
        let mut ledger = ledger();
        ledger.apply(Some(b"{\"keytype\":\"DOMAIN\",\"name\":\"x\"}"), Some(b"{}"));
        ledger.apply(None, Some(b"x"));
        ledger.apply(Some(b"\xff"), None);
        assert!(ledger.claims.is_empty() && ledger.done.is_empty());
    }

    #[test]
    fn what_was_done_through_another_store_is_open_from_its_takeover_on() {
        let mut ledger = ledger();
        let apply = |ledger: &mut Ledger, store: &str, note| apply_as(ledger, store, store, note);
        apply(&mut ledger, "gone", claim(2, 7));
        assert!(!ledger.is_done_elsewhere("l", "here"));
        apply(&mut ledger, "gone", Note::Done("parked".to_owned()));
        assert!(ledger.is_done("l") && ledger.is_done_elsewhere("l", "here"));
        assert!(!ledger.is_done_elsewhere("l", "gone"));
        apply(&mut ledger, "here", Note::Takeover("gone".to_owned()));
        assert!(!ledger.is_done("l") && ledger.is_done_elsewhere("l", "here"));
        apply(&mut ledger, "here", Note::Done("found".to_owned()));
        assert!(ledger.is_done("l") && !ledger.is_done_elsewhere("l", "here"));
    }
}
