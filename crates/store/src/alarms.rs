//! What only an operator can mend, and what was refused: kept beside the standby store, so that commands see it while
//! the application runs and after it died. Bounded, and replaced as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use evenkeel_event::TopicName;
use evenkeel_event::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::durable_file;

/// Most alarms that are kept; further ones are only logged.
const ALARMS_MAX: usize = 256;
/// Longest message, characters.
const MESSAGE_CHARS_MAX: usize = 400;
const FILE: &str = "alarms.json";

/// What stands against sending parked events on, and what the store refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alarms {
    list: Vec<Alarm>,
    refused: BTreeMap<String, u64>,
}

/// One thing that only an operator can mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// What kind of thing it is.
    pub kind: AlarmKind,
    /// The topic that it stands against.
    pub topic: TopicName,
    /// The partition; `None` for all of the topic.
    pub partition: Option<i32>,
    /// Since when.
    pub since: Timestamp,
    /// What it is, and how to mend it. Neither a secret nor a payload.
    pub message: String,
}

/// Kinds of alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AlarmKind {
    /// The topic does not exist and may not be created.
    TopicMissing,
    /// The credentials are refused.
    AuthenticationRefused,
    /// A permission (ACL) is missing.
    PermissionRefused,
    /// A clock is wrong: timestamps are out of the topic's range.
    TimestampRefused,
    /// Parked rows cannot be read back.
    DamagedRows,
    /// The disk of the standby store is full, so that what was parked before its partition was known stays there.
    StandbyFull,
    /// The standby store that several processes share does not answer.
    StandbyUnreachable,
    /// A dead letter is refused by its own topic. It is kept aside, and tried again.
    LetterRefused,
    /// Kafka answers something else that waiting does not help against.
    Refused,
}

impl AlarmKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::TopicMissing,
        Self::AuthenticationRefused,
        Self::PermissionRefused,
        Self::TimestampRefused,
        Self::DamagedRows,
        Self::StandbyFull,
        Self::StandbyUnreachable,
        Self::LetterRefused,
        Self::Refused,
    ];

    /// The kind's name in metrics, files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TopicMissing => "topic-missing",
            Self::AuthenticationRefused => "authentication-refused",
            Self::PermissionRefused => "permission-refused",
            Self::TimestampRefused => "timestamp-refused",
            Self::DamagedRows => "damaged-rows",
            Self::StandbyFull => "standby-full",
            Self::StandbyUnreachable => "standby-unreachable",
            Self::LetterRefused => "letter-refused",
            Self::Refused => "refused",
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    format: u32,
    alarms: Vec<Line>,
    refused: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    kind: AlarmKind,
    topic: String,
    partition: Option<i32>,
    since: String,
    message: String,
}

impl Alarms {
    /// The alarms of the application that keeps its data in `directory`; none where nothing readable is there: the file
    /// is told to people, and nothing is decided by it.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let Some(bytes) = durable_file::read(&directory.join(FILE))? else {
            return Ok(Self::default());
        };
        let content: Content = serde_json::from_slice(&bytes)?;
        let alarm = |line: Line| {
            Some(Alarm {
                kind: line.kind,
                topic: TopicName::new(&line.topic).ok()?,
                partition: line.partition,
                since: Timestamp::parse_rfc3339(&line.since)?,
                message: line.message,
            })
        };
        Ok(Self {
            list: content
                .alarms
                .into_iter()
                .filter_map(alarm)
                .take(ALARMS_MAX)
                .collect(),
            refused: content.refused,
        })
    }

    /// Keeps them durably.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let line = |alarm: &Alarm| Line {
            kind: alarm.kind,
            topic: alarm.topic.to_string(),
            partition: alarm.partition,
            since: alarm.since.to_rfc3339(),
            message: alarm.message.clone(),
        };
        let content = Content {
            format: 1,
            alarms: self.list.iter().map(line).collect(),
            refused: self.refused.clone(),
        };
        durable_file::replace(&directory.join(FILE), &serde_json::to_vec_pretty(&content)?)
    }

    /// All of them, in the order in which they came.
    #[must_use]
    pub fn all(&self) -> &[Alarm] {
        &self.list
    }

    /// Events that were refused since the file was begun, by cause.
    #[must_use]
    pub const fn refused(&self) -> &BTreeMap<String, u64> {
        &self.refused
    }

    /// Raises an alarm. True when it is new, or says something new.
    pub fn raise(&mut self, mut alarm: Alarm) -> bool {
        alarm.message = alarm.message.chars().take(MESSAGE_CHARS_MAX).collect();
        let has_room = self.list.len() < ALARMS_MAX;
        let known = self.list.iter_mut().find(|other| {
            (other.kind, &other.topic, other.partition) == (alarm.kind, &alarm.topic, alarm.partition)
        });
        match known {
            Some(known) if known.message == alarm.message => false,
            Some(known) => {
                known.message = alarm.message;
                true
            }
            None if has_room => {
                self.list.push(alarm);
                true
            }
            None => false,
        }
    }

    /// Keeps the alarms that `is_left` says. True when some went.
    pub fn retain(&mut self, is_left: impl FnMut(&Alarm) -> bool) -> bool {
        let before = self.list.len();
        self.list.retain(is_left);
        self.list.len() != before
    }

    /// Counts refused events under a cause: one of a few fixed words.
    pub fn count_refused(&mut self, cause: &'static str, events: u64) {
        *self.refused.entry(cause.to_owned()).or_default() += events;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(kind: AlarmKind, topic: &str, message: &str) -> Alarm {
        Alarm {
            kind,
            topic: TopicName::new(topic).unwrap(),
            partition: Some(1),
            since: Timestamp::from_millis(1_000),
            message: message.to_owned(),
        }
    }

    #[test]
    fn alarms_outlive_the_process_and_are_one_a_kind_and_place() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Alarms::read(directory.path()).unwrap(), Alarms::default());
        let mut alarms = Alarms::default();
        for (number, kind) in AlarmKind::ALL.into_iter().enumerate() {
            assert!(alarms.raise(alarm(kind, "orders", "first")), "{number}");
        }
        assert!(!alarms.raise(alarm(AlarmKind::TopicMissing, "orders", "first")));
        assert!(alarms.raise(alarm(AlarmKind::TopicMissing, "orders", "second")));
        alarms.count_refused("standby-full", 3);
        alarms.write(directory.path()).unwrap();
        assert_eq!(Alarms::read(directory.path()).unwrap(), alarms);
        assert!(alarms.retain(|alarm| alarm.kind != AlarmKind::TopicMissing));
        assert_eq!(alarms.all().len(), AlarmKind::ALL.len() - 1);
    }

    #[test]
    fn there_are_never_too_many() {
        let mut alarms = Alarms::default();
        for topic in 0..1_000 {
            alarms.raise(alarm(
                AlarmKind::Refused,
                &format!("topic-{topic}"),
                &"x".repeat(5_000),
            ));
        }
        assert_eq!(alarms.all().len(), ALARMS_MAX);
        assert!(
            alarms
                .all()
                .iter()
                .all(|alarm| alarm.message.len() == MESSAGE_CHARS_MAX)
        );
    }
}
