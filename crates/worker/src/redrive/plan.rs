//! What a redrive would do, before it does it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use evenkeel_broker::Cluster;
use evenkeel_broker::fetch::{At, Until};
use evenkeel_event::clock::Timestamp;
use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_schema::{Contract, Payload, Valid};

use super::letter::readable;
use super::{Data, Error, Ledger, Letter};

/// Bytes of a batch's header (record batch format, version 2).
const BATCH_OVERHEAD_BYTES: usize = 61;

/// A redrive as it would run.
#[derive(Debug)]
pub struct Plan {
    /// Every letter, in the order in which they would be sent.
    pub entries: Vec<Entry>,
}

/// One letter of a plan.
#[derive(Debug)]
pub struct Entry {
    /// The letter.
    pub letter: Letter,
    /// Whether it can be sent.
    pub judgement: Judgement,
    /// Events of its key that are younger than its failure and stand on the topic already: it will land behind them.
    pub younger: u64,
}

/// Whether a letter can be sent on.
#[derive(Debug)]
pub enum Judgement {
    /// It obeys the contract.
    Ready(Valid<Payload>),
    /// It obeys the contract, and was redriven before, through a standby store that is taken over from: it is sent on
    /// again if its event is not on the topic.
    Doubtful(Valid<Payload>),
    /// It was redriven before.
    Done,
    /// It cannot be sent, and why.
    Refused(String),
}

impl Plan {
    /// Letters that would be sent.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.count(|judgement| matches!(judgement, Judgement::Ready(_)))
    }

    /// Letters that would be looked for.
    #[must_use]
    pub fn doubtful(&self) -> usize {
        self.count(|judgement| matches!(judgement, Judgement::Doubtful(_)))
    }

    fn count(&self, is_counted: impl Fn(&Judgement) -> bool) -> usize {
        let judgements = self.entries.iter().map(|entry| &entry.judgement);
        judgements.filter(|judgement| is_counted(judgement)).count()
    }
}

impl Judgement {
    /// The event's encoded data, unless nothing is to be sent.
    pub(super) fn valid(&self) -> Option<&Valid<Payload>> {
        match self {
            Self::Ready(valid) | Self::Doubtful(valid) => Some(valid),
            Self::Done | Self::Refused(_) => None,
        }
    }

    pub(super) fn into_valid(self) -> Option<Valid<Payload>> {
        match self {
            Self::Ready(valid) | Self::Doubtful(valid) => Some(valid),
            Self::Done | Self::Refused(_) => None,
        }
    }
}

/// Judges each of `letters` by the contract of its event type and by the size that its topic takes, looks whether it was
/// redriven before, and counts the younger events of its key. Letters may be sent to the topics `allowed` alone, whatever
/// their headers say. With `take_over_to`, the name of a standby store, what was redriven through other stores alone is
/// doubtful.
///
/// # Errors
/// When a topic cannot be read.
pub async fn plan(
    cluster: &Cluster,
    letters: Vec<Letter>,
    contracts: &HashMap<String, Arc<Contract>>,
    allowed: &[TopicName],
    ledger: &Ledger,
    take_over_to: Option<&str>,
) -> Result<Plan, Error> {
    let mut entries: Vec<Entry> = letters
        .into_iter()
        .map(|letter| {
            let judgement = judge(&letter, contracts, allowed, ledger, take_over_to);
            Entry {
                letter,
                judgement,
                younger: 0,
            }
        })
        .collect();
    judge_sizes(cluster, &mut entries).await?;
    let to_send = |entry: &&mut Entry| entry.judgement.valid().is_some();
    count_younger(cluster, entries.iter_mut().filter(to_send)).await?;
    Ok(Plan { entries })
}

fn judge(
    letter: &Letter,
    contracts: &HashMap<String, Arc<Contract>>,
    allowed: &[TopicName],
    ledger: &Ledger,
    take_over_to: Option<&str>,
) -> Judgement {
    let identity = &letter.identity;
    let is_mistrusted = take_over_to.is_some_and(|store| ledger.is_done_elsewhere(identity, store));
    if ledger.is_done(identity) && !is_mistrusted {
        return Judgement::Done;
    }
    if !allowed.contains(&letter.event.topic) {
        return Judgement::Refused(format!(
            "it names the topic {topic}, which is missing, or none that this redrive may write to (evenkeel topic create \
             {topic})",
            topic = letter.event.topic
        ));
    }
    let Some(contract) = contracts.get(&letter.event.event_type) else {
        return Judgement::Refused(format!(
            "no contract was chosen for events of type {}",
            letter.event.event_type
        ));
    };
    let valid = match &letter.data {
        Data::Json(json) => contract.encode_json(json),
        Data::Framed(bytes) => contract.check(bytes),
    };
    match valid {
        Ok(valid) if ledger.was_done(identity) => Judgement::Doubtful(valid),
        Ok(valid) => Judgement::Ready(valid),
        Err(violation) => Judgement::Refused(violation.to_string()),
    }
}

/// Refuses letters that are too large for their topics as these are now. Headers are not counted, so that what is
/// refused here would be refused by Kafka for certain.
async fn judge_sizes(cluster: &Cluster, entries: &mut [Entry]) -> Result<(), Error> {
    let mut limits: HashMap<TopicName, usize> = HashMap::new();
    for entry in entries {
        let Some(valid) = entry.judgement.valid() else {
            continue;
        };
        let event = &entry.letter.event;
        let limit = match limits.get(&event.topic) {
            Some(limit) => *limit,
            None => {
                let limit = limit(cluster, &event.topic).await?;
                limits.insert(event.topic.clone(), limit);
                limit
            }
        };
        let key = event.key.as_ref().map_or(0, Bytes::len);
        let bytes = BATCH_OVERHEAD_BYTES + key + valid.get().bytes().len();
        if bytes > limit {
            entry.judgement = Judgement::Refused(format!(
                "it takes more than {bytes} bytes, and {topic} takes {limit} at most: raise that first, for example by \
                 evenkeel topic set {topic} max.message.bytes={enough}",
                topic = event.topic,
                enough = bytes.next_power_of_two().max(2 * limit)
            ));
        }
    }
    Ok(())
}

/// Most bytes of a batch on `topic`; no limit where its settings may not be seen: Kafka judges then.
async fn limit(cluster: &Cluster, topic: &TopicName) -> Result<usize, Error> {
    match cluster.batch_bytes_max(topic).await {
        Err(error) if !error.is_outage() => Ok(usize::MAX),
        other => Ok(other?),
    }
}

async fn count_younger(cluster: &Cluster, entries: impl Iterator<Item = &mut Entry>) -> Result<(), Error> {
    let mut by_topic: BTreeMap<TopicName, Vec<&mut Entry>> = BTreeMap::new();
    for entry in entries {
        by_topic
            .entry(entry.letter.event.topic.clone())
            .or_default()
            .push(entry);
    }
    for (topic, mut entries) in by_topic {
        let oldest = entries
            .iter()
            .map(|entry| failed_at(&entry.letter))
            .min()
            .unwrap_or_default();
        let younger = sent_since(cluster, &topic, oldest, &entries).await?;
        for entry in &mut entries {
            let Some(key) = &entry.letter.event.key else {
                continue;
            };
            let since = failed_at(&entry.letter);
            let times = younger.get(key).map(Vec::as_slice).unwrap_or_default();
            entry.younger = times.iter().filter(|time| **time >= since).count() as u64;
        }
    }
    Ok(())
}

/// Times of the records since `oldest` whose key is one of the letters'.
async fn sent_since(
    cluster: &Cluster,
    topic: &TopicName,
    oldest: Timestamp,
    entries: &[&mut Entry],
) -> Result<HashMap<Bytes, Vec<Timestamp>>, Error> {
    let mut times: HashMap<Bytes, Vec<Timestamp>> = entries
        .iter()
        .filter_map(|entry| entry.letter.event.key.clone())
        .map(|key| (key, Vec::new()))
        .collect();
    for partition in &cluster.topic_anew(topic).await?.partitions {
        let place = TopicPartition::new(topic.clone(), partition.index);
        let mut range = cluster.read(place.clone(), At::Time(oldest), Until::End).await?;
        while let Some(piece) = range.next().await? {
            for record in readable(&place, &piece)?.records() {
                if let Some(times) = record.key.and_then(|key| times.get_mut(key)) {
                    times.push(record.timestamp);
                }
            }
        }
    }
    Ok(times)
}

/// When the letter's event failed; the beginning of time when its headers do not say.
fn failed_at(letter: &Letter) -> Timestamp {
    letter
        .diagnosis
        .failed_at
        .as_deref()
        .and_then(Timestamp::parse_rfc3339)
        .unwrap_or_default()
}
