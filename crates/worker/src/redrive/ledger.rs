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
    done: HashSet<String>,
}

/// The first claim of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) run: String,
    pub(super) who: Who,
    /// End of the event's partition when it was claimed: the event is not below it.
    pub(super) from: i64,
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
    #[serde(default)]
    from: i64,
    #[serde(default)]
    outcome: String,
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
            done: HashSet::new(),
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

    /// True when the letter was sent on.
    #[must_use]
    pub fn is_done(&self, identity: &str) -> bool {
        self.done.contains(identity)
    }

    pub(super) fn claim(&self, identity: &str) -> Option<&Claim> {
        self.claims.get(identity)
    }

    /// Claims letters for `run`; then tells by [`Ledger::claim`] who has them.
    pub(super) async fn write_claims(
        &mut self,
        cluster: &Cluster,
        clock: &dyn Clock,
        run: &str,
        who: &Who,
        letters: &[(String, i64)],
    ) -> Result<(), Error> {
        let records = letters
            .iter()
            .map(|(letter, from)| (CLAIM, letter.as_str(), *from, String::new()));
        self.write(cluster, clock, run, who, records.collect()).await
    }

    /// Notes that letters were sent on, and what the receipts said.
    pub(super) async fn write_done(
        &mut self,
        cluster: &Cluster,
        clock: &dyn Clock,
        run: &str,
        who: &Who,
        letters: &[(String, String)],
    ) -> Result<(), Error> {
        let records = letters
            .iter()
            .map(|(letter, outcome)| (DONE, letter.as_str(), 0, outcome.clone()));
        self.write(cluster, clock, run, who, records.collect()).await
    }

    async fn write(
        &mut self,
        cluster: &Cluster,
        clock: &dyn Clock,
        run: &str,
        who: &Who,
        records: Vec<(&str, &str, i64, String)>,
    ) -> Result<(), Error> {
        let at = clock.now().to_rfc3339();
        let record = |(keytype, letter, from, outcome): (&str, &str, i64, String)| {
            let key = Key {
                keytype: keytype.to_owned(),
                letter: letter.to_owned(),
                run: run.to_owned(),
            };
            let value = Value {
                who: who.clone(),
                at: at.clone(),
                from,
                outcome,
            };
            Record {
                topic: self.partition.topic.clone(),
                partition: Some(0),
                key: json(&key),
                value: json(&value),
                headers: Vec::new(),
            }
        };
        let records: Vec<Record> = records.into_iter().map(record).collect();
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
                    from: value.from,
                };
                self.claims.entry(key.letter).or_insert(claim);
            }
            DONE => {
                self.done.insert(key.letter);
            }
            _ => {}
        }
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
            done: HashSet::new(),
        }
    }

    fn apply(ledger: &mut Ledger, keytype: &str, run: &str) {
        let who = Who {
            by: "anna".to_owned(),
            reason: "v2".to_owned(),
            store: "s".to_owned(),
        };
        let key = Key {
            keytype: keytype.to_owned(),
            letter: "l".to_owned(),
            run: run.to_owned(),
        };
        let value = Value {
            who,
            at: String::new(),
            from: 7,
            outcome: String::new(),
        };
        ledger.apply(json(&key).as_deref(), json(&value).as_deref());
    }

    #[test]
    fn the_first_claim_wins() {
        let mut ledger = ledger();
        apply(&mut ledger, CLAIM, "first");
        apply(&mut ledger, CLAIM, "second");
        assert_eq!(ledger.claim("l").unwrap().run, "first");
        assert!(!ledger.is_done("l"));
        apply(&mut ledger, DONE, "first");
        assert!(ledger.is_done("l"));
    }

    #[test]
    fn records_of_others_are_left_alone() {
        let mut ledger = ledger();
        ledger.apply(Some(b"{\"keytype\":\"DOMAIN\",\"name\":\"x\"}"), Some(b"{}"));
        ledger.apply(None, Some(b"x"));
        ledger.apply(Some(b"\xff"), None);
        assert!(ledger.claims.is_empty() && ledger.done.is_empty());
    }
}
