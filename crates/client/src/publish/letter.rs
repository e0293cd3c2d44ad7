//! Dead letters of the publish side: events that violate their contract, and records that Kafka refuses alone.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_event::clock::Timestamp;
use evenkeel_event::letter::{Cause, Letter, Origin, Stage};
use evenkeel_event::{Code, Record, TopicName, headers};
use evenkeel_flow::answer::Refusal;
use evenkeel_flow::session::{Input, Payload as _};
use evenkeel_store::Kind;

use super::batch::Batch;
use super::done::Done;
use super::encoding::Encoding;
use super::engine::Engine;
use super::fate::Fates;
use super::front::Entry;
use super::receipt::{LetterPlace, PublishError};
use super::shared::Shared;

/// Puts a letter on its way to `letters`, as any event: its lane parks it when Kafka cannot take it.
pub(super) fn enter(
    shared: &Shared,
    letters: &TopicName,
    letter: Letter,
    bytes: usize,
) -> Result<(Arc<Fates>, u32), PublishError> {
    let record = letter.into_record();
    let id = record
        .header(headers::CE_ID)
        .and_then(|id| evenkeel_event::EventId::new(id).ok());
    Encoding::with(|encoding| {
        let entry = Entry {
            kind: Kind::Letter,
            id: id.as_ref(),
            key: record.key.as_deref(),
            body: encoding.letter(&record),
            bytes,
            parks: false,
        };
        shared.enter(&shared.topic(letters), &entry)
    })
}

/// A letter for a record that never reached `topic`.
pub(super) fn letter(
    letters: &TopicName,
    application: &str,
    record: Record,
    code: Code,
    message: String,
    failed_at: Timestamp,
    schema_id: Option<u32>,
) -> Letter {
    let origin = Origin {
        topic: record.topic,
        partition: None,
        offset: None,
        group: None,
    };
    let cause = Cause {
        code,
        stage: Stage::Publish,
        message,
        application: application.to_owned(),
        failed_at,
        schema_id,
        delivery_count: 0,
    };
    Letter::new(
        letters.clone(),
        record.key,
        record.value,
        record.headers,
        &origin,
        &cause,
    )
}

/// What is wrong with the one record of `payload`.
fn said(payload: &Batch, refusal: Refusal) -> (Code, String) {
    match refusal {
        Refusal::TooLarge => (
            Code::TooLarge,
            format!(
                "the event has {} bytes, more than its topic takes",
                payload.bytes()
            ),
        ),
        Refusal::InvalidRecord => (
            Code::InvalidRecord,
            "Kafka refuses the record as invalid".to_owned(),
        ),
        Refusal::Corrupt => (
            Code::InvalidRecord,
            "Kafka refuses the record as corrupt, or its topic wants keys and it has none".to_owned(),
        ),
    }
}

impl Engine {
    /// Writes a letter for the one record of `payload`, which Kafka refuses alone.
    pub(super) fn order_letter(&mut self, id: u32, number: u64, payload: &Batch, refusal: Refusal) {
        let (code, message) = said(payload, refusal);
        if payload.kind() == Kind::Letter {
            return self.set_aside(id, number, payload, code, message);
        }
        let at = match self.refused_letter(id, number, payload, (code, message)) {
            Some(letter) => enter(&self.shared, &self.letters, letter, 0),
            None => return self.lettered(id, number, None),
        };
        match at {
            Ok((fates, index)) => self.work.push(Box::pin(async move {
                let at = fates.of(index).await.ok().and_then(LetterPlace::of);
                Done::Lettered {
                    line: id,
                    letter: number,
                    at,
                }
            })),
            Err(_) => self.lettered(id, number, None),
        }
    }

    fn refused_letter(
        &mut self,
        id: u32,
        number: u64,
        payload: &Batch,
        (code, message): (Code, String),
    ) -> Option<Letter> {
        let line = self.lines.get_mut(&id)?;
        let records = payload.open().ok()?;
        let view = records.iter().next()?;
        let record = Record {
            topic: line.partition.topic.clone(),
            partition: None,
            key: view.key.map(Bytes::copy_from_slice),
            value: view.value.map(Bytes::copy_from_slice),
            headers: view.to_headers(),
        };
        line.letters.insert(number, (code, message.clone()));
        let failed_at = self.shared.clock.now();
        let application = &self.application;
        Some(letter(
            &self.letters,
            application,
            record,
            code,
            message,
            failed_at,
            None,
        ))
    }

    /// Tells a line what became of its letter.
    pub(super) fn lettered(&mut self, id: u32, letter: u64, at: Option<LetterPlace>) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let durable = at.is_some();
        let about = line.letters.remove(&letter);
        line.letter = about.zip(at).map(|((code, cause), at)| (code, cause, at));
        self.step(id, Input::Lettered { letter, durable });
        if let Some(line) = self.lines.get_mut(&id) {
            line.letter = None;
        }
    }
}
