//! Letters as they lie on a dead-letter topic.

use bytes::Bytes;
use evenkeel_broker::Cluster;
use evenkeel_broker::batch::RecordView;
use evenkeel_broker::fetch::{At, Piece, Until};
use evenkeel_event::clock::Timestamp;
use evenkeel_event::{Diagnosis, Event, EventId, Header, TopicName, TopicPartition, headers, record};

use super::Error;

/// A dead letter and the event that can be made of it.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Where it lies.
    pub partition: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// One letter however often it was written: by event id on the publish side, by the original's topic, partition,
    /// offset and group on the consume side.
    pub identity: String,
    /// The event, with the id, type, time and key of the original, bound for its topic. Its target is untrusted until
    /// the plan has checked it.
    pub event: Event,
    /// The event's data.
    pub data: Data,
    /// What its headers say of the failure.
    pub diagnosis: Diagnosis,
}

/// The data of a letter.
#[derive(Debug, Clone)]
pub enum Data {
    /// Plain JSON: it could not be encoded.
    Json(Bytes),
    /// The original bytes of a record.
    Framed(Bytes),
}

/// Reads the letters on `topic`, oldest first in each partition, and each identity once: the first time. Records that
/// are no letters, or whose headers name no topic, are left out and counted.
///
/// # Errors
/// When the topic cannot be read, or holds more than `letters_max` letters.
pub async fn read(
    cluster: &Cluster,
    topic: &TopicName,
    letters_max: usize,
) -> Result<(Vec<Letter>, usize), Error> {
    let mut letters: Vec<Letter> = Vec::new();
    let mut known = std::collections::HashSet::new();
    let mut others = 0;
    for partition in &cluster.topic_anew(topic).await?.partitions {
        let place = TopicPartition::new(topic.clone(), partition.index);
        let mut range = cluster.read(place.clone(), At::Earliest, Until::End).await?;
        while let Some(piece) = range.next().await? {
            for record in readable(&place, &piece)?.records() {
                let Some(letter) = Letter::of(&place, &record) else {
                    others += 1;
                    continue;
                };
                if known.insert(letter.identity.clone()) {
                    letters.push(letter);
                }
            }
            if letters.len() > letters_max {
                return Err(Error::TooMany {
                    topic: topic.clone(),
                    limit: letters_max,
                });
            }
        }
    }
    Ok((letters, others))
}

/// The letter at `offset` of `partition`; `None` when there is no record, or one that is no letter.
///
/// # Errors
/// When the partition cannot be read.
pub async fn find(
    cluster: &Cluster,
    partition: &TopicPartition,
    offset: i64,
) -> Result<Option<Letter>, Error> {
    let [first, end] = [At::Earliest, At::Latest].map(|at| cluster.offset(partition, at));
    let (first, end) = (first.await?.offset.unwrap_or(0), end.await?.offset.unwrap_or(0));
    if offset < first || offset >= end {
        return Ok(None);
    }
    let until = Until::Offset(offset.saturating_add(1));
    let mut range = cluster.read_from(partition.clone(), offset, until).await?;
    while let Some(piece) = range.next().await? {
        for record in readable(partition, &piece)?.records() {
            if record.offset == offset {
                return Ok(Letter::of(partition, &record));
            }
        }
    }
    Ok(None)
}

/// The piece, unless its batch cannot be read.
pub(super) fn readable<'piece>(
    partition: &TopicPartition,
    piece: &'piece Piece,
) -> Result<&'piece Piece, Error> {
    match piece {
        Piece::Unreadable(unreadable) => Err(Error::Unreadable {
            partition: partition.clone(),
            offset: unreadable.base_offset,
            reason: unreadable.reason.to_string(),
        }),
        piece @ Piece::Read { .. } => Ok(piece),
    }
}

impl Letter {
    fn of(partition: &TopicPartition, record: &RecordView<'_>) -> Option<Self> {
        let list = record.to_headers();
        let diagnosis = Diagnosis::read(&list)?;
        let topic = TopicName::new(diagnosis.topic.as_deref()?).ok()?;
        let id = record::text(&list, headers::CE_ID).and_then(|id| EventId::new(id).ok());
        let value = Bytes::copy_from_slice(record.value?);
        let json = record::text(&list, headers::CONTENT_TYPE) == Some("application/json");
        let identity = identity(partition, record.offset, id.as_ref(), &diagnosis);
        let mut event = Event::new(
            id.unwrap_or_else(|| EventId::v7(record.timestamp, rand::random())),
            record::text(&list, headers::CE_SOURCE).unwrap_or("/redrive"),
            record::text(&list, headers::CE_TYPE)
                .unwrap_or(topic.as_str())
                .to_owned(),
            time(&list).unwrap_or(record.timestamp),
            topic,
        );
        event.subject = record::text(&list, headers::CE_SUBJECT).map(str::to_owned);
        event.key = record.key.map(Bytes::copy_from_slice);
        event.headers = kept(list, diagnosis.redrive_count);
        let data = if json {
            Data::Json(value)
        } else {
            Data::Framed(value)
        };
        Some(Self {
            partition: partition.clone(),
            offset: record.offset,
            identity,
            event,
            data,
            diagnosis,
        })
    }
}

fn identity(letter: &TopicPartition, offset: i64, id: Option<&EventId>, diagnosis: &Diagnosis) -> String {
    match (&diagnosis.topic, diagnosis.partition, diagnosis.offset, id) {
        (Some(topic), Some(partition), Some(offset), _) => {
            format!(
                "{topic}/{partition}/{offset}/{}",
                diagnosis.group.as_deref().unwrap_or_default()
            )
        }
        (_, _, _, Some(id)) => match diagnosis.redrive_count {
            0 => format!("{}/{id}", letter.topic),
            // It was sent on, and came back: a letter of its own, which is open until it is redriven in its turn.
            times => format!("{}#{times}/{id}", letter.topic),
        },
        _ => format!("{}/{}/{offset}", letter.topic, letter.partition),
    }
}

fn time(list: &[Header]) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(record::text(list, headers::CE_TIME)?)
}

/// The original's own headers, and how often it was redriven.
fn kept(list: Vec<Header>, redrive_count: u32) -> Vec<Header> {
    let is_own = |header: &Header| {
        let name = header.name.as_str();
        !(name.starts_with("ce_")
            || name.starts_with("__dlq.errors.")
            || name.starts_with("evenkeel-dlq-")
            || name == headers::CONTENT_TYPE
            || name == headers::POSSIBLE_DOUBLE)
    };
    let mut kept: Vec<Header> = list.into_iter().filter(is_own).collect();
    kept.push(Header::new(
        headers::DLQ_REDRIVE_COUNT,
        redrive_count.saturating_add(1).to_string(),
    ));
    kept
}
