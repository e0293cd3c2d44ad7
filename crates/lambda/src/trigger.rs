//! What invokes the function.

use anyhow::{Result, bail};
use serde::Deserialize;

/// What of an event is looked at. The keys and contents of a stream's records are not.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Payload {
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    /// Where the whole of a batch comes from (Kafka, Amazon MQ).
    #[serde(rename = "eventSource")]
    event_source: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Record {
    #[serde(rename = "eventSource", alias = "EventSource")]
    event_source: Option<String>,
}

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// A schedule, or a person.
    Asked,
    /// A stream of the table: something was written.
    Woken,
}

const STREAM: &str = "aws:dynamodb";

impl Payload {
    /// # Errors
    /// When it is a batch whose records an answer would remove, unread.
    pub(crate) fn trigger(&self) -> Result<Trigger> {
        let sources = self.records.iter().flatten().map(|record| &record.event_source);
        let foreign = sources
            .chain(self.event_source.is_some().then_some(&self.event_source))
            .find(|source| source.as_deref() != Some(STREAM));
        if let Some(source) = foreign {
            bail!(
                "this event is a batch of {}, which this function does not read: invoke it by a schedule, or by the stream of \
                 the standby table ({STREAM})",
                source.as_deref().unwrap_or("an unnamed source")
            );
        }
        Ok(match self.records {
            None => Trigger::Asked,
            Some(_) => Trigger::Woken,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_from_who_wakes_and_other_batches_are_refused() {
        let check = |event: &str, expected: Result<Trigger, &str>| {
            let payload: Option<Payload> = serde_json::from_str(event).unwrap();
            let trigger = payload.unwrap_or_default().trigger();
            match (trigger, expected) {
                (Ok(trigger), Ok(expected)) => assert_eq!(trigger, expected, "{event}"),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (trigger, expected) => panic!("{event}: {trigger:?}, not {expected:?}"),
            }
        };
        let scheduled =
            r#"{"version":"0","source":"aws.events","detail-type":"Scheduled Event","detail":{}}"#;
        check(scheduled, Ok(Trigger::Asked));
        check("{}", Ok(Trigger::Asked));
        check("null", Ok(Trigger::Asked));
        let stream = r#"{"Records":[{"eventID":"1","eventName":"INSERT","eventSource":"aws:dynamodb","dynamodb":{"Keys":{"pk":{"S":"place/orders/0"}},"SequenceNumber":"1"}}]}"#;
        check(stream, Ok(Trigger::Woken));
        check(r#"{"Records":[]}"#, Ok(Trigger::Woken));
        check(
            r#"{"Records":[{"eventSource":"aws:sqs","body":"x"}]}"#,
            Err("aws:sqs"),
        );
        check(r#"{"Records":[{"EventSource":"aws:sns"}]}"#, Err("aws:sns"));
        check(r#"{"Records":[{}]}"#, Err("an unnamed source"));
        check(r#"{"eventSource":"aws:kafka","records":{}}"#, Err("aws:kafka"));
    }
}
