//! What an operator holds back: parked events that are not sent on until they are released.
//!
//! The list lies beside the standby store, in the application's directory, so that commands write it while the
//! application runs, and it outlives both; what is held of a store that processes share lies in it, for all of them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use evenkeel_event::TopicName;
use evenkeel_event::clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Place, durable_file};

/// Most holds of one application.
const HOLDS_MAX: usize = 1_000;
/// Longest reason that is kept, characters.
const REASON_CHARS_MAX: usize = 500;
const FILE: &str = "holds.json";

/// What is held of one application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    list: Vec<Hold>,
}

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What it covers.
    pub scope: Scope,
    /// When it was set.
    pub since: Timestamp,
    /// Why, in the operator's words; empty when none were given.
    pub reason: String,
}

/// Some of an application's places: all, those of a topic, or one partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Scope {
    /// The topic; `None` for all.
    pub topic: Option<TopicName>,
    /// The partition; `None` for all of the topic, and what was parked before the partitions were known.
    pub partition: Option<i32>,
}

/// Why the list could not be read or changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HoldsError {
    /// The file cannot be read or written.
    #[error("the holds in {path} cannot be {action}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        source: std::sync::Arc<io::Error>,
    },
    /// The file holds something else.
    #[error(
        "{path} is no list of holds ({reason}): mend or delete it; until then nothing of this application is sent on"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There are as many as one application may have.
    #[error("{HOLDS_MAX} holds are the most of one application: release some, or hold the whole application")]
    TooMany,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    holds: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    topic: Option<String>,
    partition: Option<i32>,
    since: String,
    reason: String,
}

impl Scope {
    /// True when the place is one of these.
    #[must_use]
    pub fn covers(&self, place: &Place) -> bool {
        self.topic.as_ref().is_none_or(|topic| *topic == place.topic)
            && (self.partition.is_none() || self.partition == place.partition)
    }
}

impl Holds {
    /// The holds of the application that keeps its data in `directory`.
    ///
    /// # Errors
    /// When the list is there and cannot be read.
    pub fn read(directory: &Path) -> Result<Self, HoldsError> {
        let path = directory.join(FILE);
        let bytes = durable_file::read(&path).map_err(failed(&path, "read"))?;
        let Some(bytes) = bytes else {
            return Ok(Self::default());
        };
        parse(&bytes).map_err(|reason| HoldsError::Content { path, reason })
    }

    /// Holds everything, as long as it is not known what is to be held.
    #[must_use]
    pub fn everything(now: Timestamp, reason: &str) -> Self {
        let mut holds = Self::default();
        holds.add(Scope::default(), now, reason);
        holds
    }

    /// The hold that covers a place.
    #[must_use]
    pub fn of(&self, place: &Place) -> Option<&Hold> {
        self.list.iter().find(|hold| hold.scope.covers(place))
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Hold] {
        &self.list
    }

    /// Holds `scope` too. Held again, it has the new reason.
    ///
    /// # Errors
    /// When the list is full.
    pub fn keep(&mut self, scope: Scope, since: Timestamp, reason: &str) -> Result<(), HoldsError> {
        if self.list.len() >= HOLDS_MAX && self.list.iter().all(|hold| hold.scope != scope) {
            return Err(HoldsError::TooMany);
        }
        self.add(scope, since, reason);
        Ok(())
    }

    /// Releases the holds that lie within `scope`.
    pub fn let_go(&mut self, scope: &Scope) {
        self.list.retain(|hold| !is_within(&hold.scope, scope));
    }

    fn add(&mut self, scope: Scope, since: Timestamp, reason: &str) {
        let reason = reason.chars().take(REASON_CHARS_MAX).collect();
        self.list.retain(|hold| hold.scope != scope);
        self.list.push(Hold { scope, since, reason });
    }

    /// Holds `scope` from now on, durably, also while the application runs. Held again, it has the new reason.
    ///
    /// # Errors
    /// When the list cannot be read or written, or is full.
    pub fn hold(directory: &Path, scope: Scope, now: Timestamp, reason: &str) -> Result<Self, HoldsError> {
        change(directory, |holds| holds.keep(scope, now, reason))
    }

    /// Releases the holds that lie within `scope`, durably, and returns those that are left.
    ///
    /// # Errors
    /// When the list cannot be read or written.
    pub fn release(directory: &Path, scope: &Scope) -> Result<Self, HoldsError> {
        change(directory, |holds| {
            holds.let_go(scope);
            Ok(())
        })
    }
}

fn is_within(inner: &Scope, outer: &Scope) -> bool {
    (outer.topic.is_none() || inner.topic == outer.topic)
        && (outer.partition.is_none() || inner.partition == outer.partition)
}

/// Changes the list while no other command does.
fn change(
    directory: &Path,
    change: impl FnOnce(&mut Holds) -> Result<(), HoldsError>,
) -> Result<Holds, HoldsError> {
    let path = directory.join(FILE);
    let lock = File::create(directory.join("holds.lock")).map_err(failed(&path, "locked"))?;
    lock.lock().map_err(failed(&path, "locked"))?;
    let mut holds = Holds::read(directory)?;
    change(&mut holds)?;
    let text = write(&holds).map_err(|error| failed(&path, "written")(error.into()))?;
    durable_file::replace(&path, &text).map_err(failed(&path, "written"))?;
    Ok(holds)
}

fn content(holds: &Holds) -> Content {
    let line = |hold: &Hold| Line {
        topic: hold.scope.topic.as_ref().map(ToString::to_string),
        partition: hold.scope.partition,
        since: hold.since.to_rfc3339(),
        reason: hold.reason.clone(),
    };
    Content {
        format: 1,
        holds: holds.list.iter().map(line).collect(),
    }
}

/// The list as bytes, which [`parse`] reads.
pub(crate) fn write(holds: &Holds) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec_pretty(&content(holds))
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Holds, String> {
    let content: Content = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if content.format != 1 || content.holds.len() > HOLDS_MAX {
        return Err(format!(
            "format {} with {} holds",
            content.format,
            content.holds.len()
        ));
    }
    let hold = |line: Line| {
        let topic = line.topic.as_deref().map(TopicName::new).transpose();
        Ok(Hold {
            scope: Scope {
                topic: topic.map_err(|error| error.to_string())?,
                partition: line.partition,
            },
            since: Timestamp::parse_rfc3339(&line.since)
                .ok_or_else(|| format!("\"{}\" is no time", line.since))?,
            reason: line.reason,
        })
    };
    let list: Result<Vec<Hold>, String> = content.holds.into_iter().map(hold).collect();
    Ok(Holds { list: list? })
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> HoldsError {
    let path = path.to_owned();
    move |source| HoldsError::File {
        path,
        action,
        source: std::sync::Arc::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(topic: &str, partition: Option<i32>) -> Scope {
        Scope {
            topic: (!topic.is_empty()).then(|| TopicName::new(topic).unwrap()),
            partition,
        }
    }

    fn place(topic: &str, partition: Option<i32>) -> Place {
        Place {
            topic: TopicName::new(topic).unwrap(),
            partition,
        }
    }

    #[test]
    fn holds_outlive_the_process_and_are_released_by_what_covers_them() {
        let directory = tempfile::tempdir().unwrap();
        let (at, path) = (Timestamp::from_millis(5_000), directory.path());
        assert_eq!(Holds::read(path).unwrap(), Holds::default());
        Holds::hold(path, scope("orders", Some(3)), at, "poison").unwrap();
        Holds::hold(path, scope("bills", None), at, "").unwrap();
        Holds::hold(path, scope("orders", Some(3)), at, "still poison").unwrap();
        let holds = Holds::read(path).unwrap();
        assert_eq!(holds.all().len(), 2);
        assert_eq!(
            holds.of(&place("orders", Some(3))).unwrap().reason,
            "still poison"
        );
        assert_eq!(holds.of(&place("orders", Some(4))), None);
        assert_eq!(holds.of(&place("orders", None)), None);
        assert!(holds.of(&place("bills", None)).is_some() && holds.of(&place("bills", Some(0))).is_some());
        Holds::release(path, &scope("orders", Some(4))).unwrap();
        assert_eq!(Holds::read(path).unwrap(), holds);
        Holds::release(path, &scope("orders", None)).unwrap();
        assert_eq!(Holds::read(path).unwrap().all().len(), 1);
        Holds::release(path, &scope("", None)).unwrap();
        assert_eq!(Holds::read(path).unwrap(), Holds::default());
    }

    #[test]
    fn a_file_that_is_no_list_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for text in [
            "",
            "{}",
            "{\"format\": 2, \"holds\": []}",
            "{\"format\": 1, \"holds\": [{\"topic\": \"a b\"}]}",
        ] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            let error = Holds::read(directory.path()).unwrap_err().to_string();
            assert!(error.contains("holds.json is no list of holds"), "{error}");
        }
    }
}
