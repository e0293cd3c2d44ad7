//! Alarms: what only an operator can mend is kept beside the store, as long as it stands, and logged once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_broker::{Error, Outcome};
use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_flow::session::Reason;
use evenkeel_flow::{Answer, Trouble};
use evenkeel_store::{Alarm, AlarmKind, Alarms};

use super::done::Done;
use super::engine::Engine;

/// Between writes of the file.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Alarms against a partition that end when it takes events again.
const OF_SENDING: [AlarmKind; 5] = [
    AlarmKind::TopicMissing,
    AlarmKind::AuthenticationRefused,
    AlarmKind::PermissionRefused,
    AlarmKind::TimestampRefused,
    AlarmKind::Refused,
];

/// The alarms, and whether the file says the same.
#[derive(Debug)]
pub(super) struct Book {
    directory: PathBuf,
    pub(super) alarms: Alarms,
    is_new: bool,
    is_writing: bool,
}

impl Book {
    /// Goes on with what an earlier process left: of its alarms those whose place still holds something.
    pub(super) fn read(directory: &Path, is_held: impl Fn(&Alarm) -> bool) -> Self {
        let alarms = Alarms::read(directory).unwrap_or_else(|error| {
            tracing::warn!(%error, directory = %directory.display(), "the alarms of an earlier process cannot be read");
            Alarms::default()
        });
        let mut book = Self {
            directory: directory.to_owned(),
            alarms,
            is_new: false,
            is_writing: false,
        };
        book.is_new = book.alarms.retain(is_held);
        book
    }

    pub(super) fn is_raised(&self, topic: &TopicName, partition: Option<i32>) -> bool {
        let is_it = |alarm: &Alarm| alarm.topic == *topic && alarm.partition == partition;
        self.alarms.all().iter().any(is_it)
    }
}

/// The kind of alarm for what Kafka answers, and how to mend it.
pub(super) fn of_trouble(trouble: Trouble, topic: &TopicName) -> (AlarmKind, String) {
    match trouble {
        Trouble::TopicMissing => (
            AlarmKind::TopicMissing,
            format!("topic {topic} does not exist: evenkeel topic create {topic}"),
        ),
        Trouble::AuthenticationRefused => (
            AlarmKind::AuthenticationRefused,
            "Kafka refuses the credentials: mend kafka.sasl and kafka.tls of the application".to_owned(),
        ),
        Trouble::PermissionRefused => (
            AlarmKind::PermissionRefused,
            format!(
                "Kafka refuses to let the application write {topic}: give it the ACL Write on topic {topic}"
            ),
        ),
        Trouble::TimestampRefused => (
            AlarmKind::TimestampRefused,
            format!(
                "Kafka refuses the timestamps on {topic}: mend the clock of this machine or of the brokers"
            ),
        ),
        other => (
            AlarmKind::Refused,
            format!("Kafka answers {other:?} on {topic}: see the brokers' log"),
        ),
    }
}

impl Engine {
    pub(super) fn raise(
        &mut self,
        kind: AlarmKind,
        topic: TopicName,
        partition: Option<i32>,
        message: String,
    ) {
        let alarm = Alarm {
            kind,
            topic,
            partition,
            since: self.shared.clock.now(),
            message,
        };
        let (topic, partition, message) = (alarm.topic.clone(), alarm.partition, alarm.message.clone());
        if self.book.alarms.raise(alarm) {
            tracing::error!(alarm = kind.as_str(), %topic, partition, "{message}");
            self.note_alarms();
        }
    }

    /// What stood against a place does so no longer.
    pub(super) fn clear(&mut self, topic: &TopicName, partition: Option<i32>, kinds: &[AlarmKind]) {
        let stands = |alarm: &Alarm| {
            alarm.topic != *topic || alarm.partition != partition || !kinds.contains(&alarm.kind)
        };
        if self.book.alarms.retain(stands) {
            self.note_alarms();
        }
    }

    /// Raises what only an operator can mend of a failed look-up.
    pub(super) fn raise_for(&mut self, topic: &TopicName, error: &Error) {
        if error.is_access_refused() {
            let trouble = match error {
                Error::AuthenticationRefused { .. } => Trouble::AuthenticationRefused,
                _ => Trouble::PermissionRefused,
            };
            let (kind, message) = of_trouble(trouble, topic);
            self.raise(kind, topic.clone(), None, message);
        }
    }

    /// A partition takes events again: nothing stands against it.
    pub(super) fn note_appended(&mut self, id: u32, outcome: &Outcome) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        if matches!(outcome.answer, Answer::Appended { .. }) && std::mem::take(&mut line.is_alarmed) {
            self.clear_of(id, &OF_SENDING);
        }
    }

    /// What stood against a line's partition does so no longer.
    pub(super) fn clear_of(&mut self, id: u32, kinds: &[AlarmKind]) {
        if let Some(line) = self.lines.get(&id) {
            let TopicPartition { topic, partition } = line.partition.clone();
            self.clear(&topic, Some(partition), kinds);
        }
    }

    pub(super) fn count_refused(&mut self, reason: Reason, is_full: bool, events: i32) {
        let cause = match reason {
            Reason::StandbyRefused if is_full => "standby-full",
            Reason::StandbyRefused | Reason::StandbyUnknown => "standby-unavailable",
            Reason::QueueFull => "overloaded",
            Reason::LetterLost => "letter-lost",
            Reason::Closed => return,
        };
        self.book
            .alarms
            .count_refused(cause, u64::try_from(events).unwrap_or(0));
        self.note_alarms();
    }

    /// Lets the file follow, soon.
    fn note_alarms(&mut self) {
        self.book.is_new = true;
        self.write_alarms();
    }

    pub(super) fn write_alarms(&mut self) {
        if !self.book.is_new || std::mem::replace(&mut self.book.is_writing, true) {
            return;
        }
        self.book.is_new = false;
        let (alarms, directory) = (self.book.alarms.clone(), self.book.directory.clone());
        self.work.push(Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || alarms.write(&directory)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!(%error, "the alarms cannot be kept; they are logged only");
            }
            tokio::time::sleep(WRITE_EVERY).await;
            Done::AlarmsWritten
        }));
    }

    pub(super) fn alarms_written(&mut self) {
        self.book.is_writing = false;
        self.write_alarms();
    }

    /// The last word before the process ends. What it did without a shared store ends with it.
    pub(super) fn close_book(&mut self) {
        let outlives = |alarm: &Alarm| alarm.kind != AlarmKind::StandbyUnreachable;
        self.book.is_new |= self.book.alarms.retain(outlives);
        if std::mem::take(&mut self.book.is_new)
            && let Err(error) = self.book.alarms.write(&self.book.directory)
        {
            tracing::warn!(%error, "the alarms cannot be kept; they are logged only");
        }
    }
}
