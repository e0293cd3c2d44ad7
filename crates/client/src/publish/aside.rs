//! Dead letters that their own topic refuses, because they are larger than it takes or it wants what they lack.
//!
//! There is no letter about a letter. Such a one is appended to its topic's aside place in the standby store, an alarm says
//! how to mend it, and only then it leaves its lane: nothing is lost, and others pass. It is tried again at the start and
//! after growing waits; what is refused again goes behind the others there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_event::backoff::Backoff;
use evenkeel_event::{Code, EventId, Record, TopicName, headers};
use evenkeel_store::{Alarm, AlarmKind, AppendId, Error, Place, Standby, StoredRow};

use super::batch::Batch;
use super::done::Done;
use super::encoding::Encoding;
use super::engine::Engine;
use super::front::Entry;
use super::receipt::{Lane, LetterPlace};
use super::shared::Shared;
use super::store_step::{end_of, row, unreadable};

/// Wait before what is kept aside is tried for the first time after a start.
const FIRST_AFTER: Duration = Duration::from_millis(200);
/// Waits after it was refused again.
const AGAIN_AFTER: Backoff = Backoff {
    first: Duration::from_secs(60),
    longest: Duration::from_secs(3_600),
};

/// Topics with letters aside, and how often these were refused in a row.
pub(super) type Aside = HashMap<TopicName, u32>;

impl Engine {
    /// Goes on with what an earlier process kept aside.
    pub(super) fn recover_aside(&mut self) {
        let places: Vec<Place> = self
            .recovered
            .keys()
            .filter(|place| place.is_aside())
            .cloned()
            .collect();
        for place in places {
            self.recovered.remove(&place);
            self.aside.insert(place.topic.clone(), 0);
            self.try_aside_after(FIRST_AFTER, place.topic);
        }
    }

    /// Keeps the one letter of `payload`, which its topic refuses, aside.
    pub(super) fn set_aside(&mut self, id: u32, number: u64, payload: &Batch, code: Code, cause: String) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        line.letters.insert(number, (code, cause));
        let topic = line.partition.topic.clone();
        let (place, now) = (Place::aside(topic), self.shared.clock.now());
        let (store, rows) = (self.store.clone(), vec![row(payload, None, now)]);
        // Of another process than the lanes' appends, so that their numbers do not meet.
        let append = AppendId {
            process: rand::random(),
            number: 0,
        };
        self.work.push(Box::pin(async move {
            let result = store.append(&place, append, rows).await;
            Done::SetAside {
                line: id,
                letter: number,
                result,
            }
        }));
    }

    pub(super) fn has_set_aside(&mut self, id: u32, letter: u64, result: Result<u64, Error>) {
        let Some(line) = self.lines.get(&id) else {
            return;
        };
        let topic = line.partition.topic.clone();
        let cause = line.letters.get(&letter).map(|(_, cause)| cause.clone());
        let sequence = match result {
            Ok(sequence) => sequence,
            Err(error) => {
                tracing::warn!(%topic, %error, "a letter that its topic refuses cannot be kept aside; it stays where it is");
                return self.lettered(id, letter, None);
            }
        };
        self.raise(
            AlarmKind::LetterRefused,
            topic.clone(),
            None,
            format!(
                "{topic} refuses dead letters ({}): raise its max.message.bytes, or see docs/errors/too-large.md; they are \
                 kept aside and tried again",
                cause.unwrap_or_default()
            ),
        );
        if !self.aside.contains_key(&topic) {
            self.aside.insert(topic.clone(), 1);
            self.try_aside_after(AGAIN_AFTER.wait(1, u8::MAX), topic.clone());
        }
        let lane = Lane {
            topic,
            partition: None,
        };
        self.lettered(id, letter, Some(LetterPlace::Standby { lane, sequence }));
    }

    fn try_aside_after(&mut self, wait: Duration, topic: TopicName) {
        let (shared, store) = (self.shared.clone(), self.store.clone());
        self.work.push(Box::pin(async move {
            tokio::time::sleep(wait).await;
            let is_empty = match try_again(&shared, &*store, &Place::aside(topic.clone())).await {
                Ok(is_empty) => is_empty,
                Err(error) => {
                    tracing::debug!(%topic, error, "letters that are kept aside cannot be sent yet");
                    false
                }
            };
            Done::AsideTried { topic, is_empty }
        }));
    }

    pub(super) fn aside_tried(&mut self, topic: TopicName, is_empty: bool) {
        if is_empty {
            self.aside.remove(&topic);
            self.clear(&topic, None, &[AlarmKind::LetterRefused]);
            return;
        }
        let failures = self.aside.entry(topic.clone()).or_default();
        *failures = failures.saturating_add(1);
        let wait = AGAIN_AFTER.wait(*failures, u8::MAX);
        self.try_aside_after(wait, topic);
    }
}

/// Sends what was aside at the beginning on its way again, one after the other. Each is removed here when another durable
/// place has it. True when nothing is left.
async fn try_again(shared: &Arc<Shared>, store: &dyn Standby, place: &Place) -> Result<bool, String> {
    let said = |error: Error| error.to_string();
    let span = store.span(place).await.map_err(said)?;
    let mut from = span.head;
    while from < span.tail {
        let piece = store.read(place, from, 1).await.map_err(said)?;
        let Some(stored) = piece.rows.first().filter(|stored| stored.position <= from) else {
            return Err(unreadable(from).to_string());
        };
        enter_again(shared, &place.topic, stored).await?;
        from = end_of(stored);
        store.remove(place, from).await.map_err(said)?;
    }
    Ok(store.span(place).await.map_err(said)?.is_empty())
}

async fn enter_again(shared: &Arc<Shared>, topic: &TopicName, stored: &StoredRow) -> Result<(), String> {
    let batch = Batch::revive(stored).ok_or("a row that is kept aside holds no batch")?;
    let records = batch.open().map_err(|error| error.to_string())?;
    for record in records.iter() {
        let id = record
            .header(headers::CE_ID)
            .and_then(|id| EventId::new(&String::from_utf8_lossy(id)).ok());
        let again = Record {
            topic: topic.clone(),
            partition: None,
            key: record.key.map(bytes::Bytes::copy_from_slice),
            value: record.value.map(bytes::Bytes::copy_from_slice),
            headers: record.to_headers(),
        };
        let entered = Encoding::with(|encoding| {
            let entry = Entry {
                kind: batch.kind(),
                id: id.as_ref(),
                key: again.key.as_deref(),
                body: encoding.letter(&again),
                bytes: 0,
                parks: false,
            };
            shared.enter(&shared.topic(topic), &entry)
        });
        let (fates, index) = entered.map_err(|error| error.to_string())?;
        fates.of(index).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// True while an alarm that an earlier process left says something of what the store still holds.
pub(super) fn still_stands(alarm: &Alarm, places: &[evenkeel_store::PlaceStats]) -> bool {
    places.iter().any(|held| {
        let is_partition = alarm.partition.is_none() || alarm.partition == held.place.partition;
        held.place.topic == alarm.topic && is_partition
    })
}
