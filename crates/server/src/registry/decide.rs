//! What a write comes to: an answer, a refusal, or records and the answer to give once they have been read back.

use evenkeel_schema::avro::compatibility::Level;
use serde_json::Map;

use super::candidate::{Candidate, Sent};
use super::compare::{conflicts, earlier};
use super::content::Content;
use super::error::Error;
use super::records::{self, ConfigValue, DeleteSubjectValue, Key, SchemaValue};
use super::state::{Mode, State, Subject, Version};
use crate::journal::Entry;

/// Longest name of a subject, bytes.
const SUBJECT_BYTES_MAX: usize = 1000;
/// Schema ids are positive 32-bit numbers on the wire.
const ID_MAX: u32 = i32::MAX as u32;

/// Something that changes the registry.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Register {
        subject: String,
        sent: Box<Sent>,
    },
    DeleteSubject {
        subject: String,
        permanent: bool,
    },
    DeleteVersion {
        subject: String,
        version: VersionName,
        permanent: bool,
    },
    SetLevel {
        subject: Option<String>,
        level: Level,
    },
    UnsetLevel {
        subject: Option<String>,
    },
}

/// A version as a path names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionName {
    Number(u32),
    Latest,
}

impl VersionName {
    /// Reads `latest`, `-1` or a number from 1 to 2^31-1.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        if matches!(text, "latest" | "-1") {
            return Ok(Self::Latest);
        }
        let number = text
            .parse::<u32>()
            .ok()
            .filter(|number| (1..=ID_MAX).contains(number));
        number
            .map(Self::Number)
            .ok_or_else(|| Error::invalid_version(text))
    }
}

/// What a write is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The id of the schema, where it is registered.
    Registered { id: u32 },
    /// The versions that were deleted.
    Versions(Vec<u32>),
    /// The version that was deleted.
    Version(u32),
    /// The compatibility level that was set or taken away.
    Level(Level),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Records for `_schemas`, in this order.
    pub(crate) entries: Vec<Entry>,
    /// Ids up to this one must be noted as given out first: the records remove the last trace of them.
    pub(crate) id_floor: Option<u32>,
    /// The answer, once the records have been read back.
    pub(crate) answer: Answer,
}

impl Write {
    /// The subject that is written; `None` for the global settings.
    pub(crate) fn subject(&self) -> Option<&str> {
        match self {
            Self::Register { subject, .. }
            | Self::DeleteSubject { subject, .. }
            | Self::DeleteVersion { subject, .. } => Some(subject),
            Self::SetLevel { subject, .. } | Self::UnsetLevel { subject } => subject.as_deref(),
        }
    }
}

impl Write {
    /// Its name in the audit.
    pub(crate) fn action(&self) -> &'static str {
        match self {
            Self::Register { .. } => "schema.register",
            Self::DeleteSubject { permanent: false, .. } => "subject.delete",
            Self::DeleteSubject { permanent: true, .. } => "subject.erase",
            Self::DeleteVersion { permanent: false, .. } => "version.delete",
            Self::DeleteVersion { permanent: true, .. } => "version.erase",
            Self::SetLevel { .. } => "compatibility.set",
            Self::UnsetLevel { .. } => "compatibility.unset",
        }
    }
}

impl Answer {
    /// What came of a write, for the audit.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Registered { id } => format!("id {id}"),
            Self::Versions(versions) => format!("versions {versions:?}"),
            Self::Version(version) => format!("version {version}"),
            Self::Level(level) => level.to_string(),
        }
    }
}

/// The answer to a write that changes nothing because it has been done: a schema that is registered under the subject.
/// That is a read, open to all.
pub(crate) fn done_already(state: &State, write: &Write) -> Result<Option<Answer>, Error> {
    let Write::Register { subject, sent } = write else {
        return Ok(None);
    };
    if sent.is_import() {
        return Err(Error::not_permitted(format!(
            "Subject {subject} is not in import mode"
        )));
    }
    let candidate = sent.resolve(state)?.parse()?;
    let found = state.find(subject, candidate.content.identity(), false);
    Ok(found.map(|(_, version)| Answer::Registered { id: version.id }))
}

/// Decides on a write by a domain that may do it. `id_floor`: ids up to this one have been given out before.
pub(crate) fn decide(state: &State, write: &Write, id_floor: u32) -> Result<Decision, Error> {
    if let Some(subject) = write.subject() {
        let held = match state.mode(subject) {
            Mode::ReadWrite => None,
            Mode::ReadOnly | Mode::ReadOnlyOverride => Some("read-only"),
            Mode::Import => Some("import"),
            Mode::Forward => Some("forward"),
        };
        if let Some(mode) = held {
            return Err(Error::not_permitted(format!(
                "Subject {subject} is in {mode} mode"
            )));
        }
    }
    match write {
        Write::Register { subject, sent } => {
            register(state, subject, &sent.resolve(state)?.parse()?, id_floor)
        }
        Write::DeleteSubject {
            subject,
            permanent: false,
        } => delete_subject(state, subject),
        Write::DeleteSubject {
            subject,
            permanent: true,
        } => erase_subject(state, subject),
        Write::DeleteVersion {
            subject,
            version,
            permanent: false,
        } => delete_version(state, subject, *version),
        Write::DeleteVersion {
            subject,
            version,
            permanent: true,
        } => erase_version(state, subject, *version),
        Write::SetLevel { subject, level } => Ok(set_level(state, subject.as_deref(), *level)),
        Write::UnsetLevel { subject } => unset_level(state, subject.as_deref()),
    }
}

fn register(state: &State, subject: &str, candidate: &Candidate, id_floor: u32) -> Result<Decision, Error> {
    if subject.is_empty()
        || subject.len() > SUBJECT_BYTES_MAX
        || subject.starts_with(":.")
        || subject.contains(char::is_control)
    {
        return Err(Error::invalid_subject(subject));
    }
    let known = state.subject(subject);
    let level = state.level(subject);
    let live = known
        .into_iter()
        .flat_map(|known| known.versions(false).rev())
        .rev();
    let conflicts = conflicts(candidate, &earlier(state, level, live)?, level)?;
    if !conflicts.is_empty() {
        return Err(Error::incompatible(subject, &conflicts));
    }
    let last = known.and_then(|known| known.versions(true).next_back());
    let version = last.map_or(1, |(number, _)| number.saturating_add(1));
    let id = state.id_of(candidate.content.identity());
    let id = id.unwrap_or_else(|| state.id_max().max(id_floor).saturating_add(1));
    if id > ID_MAX || version > ID_MAX {
        return Err(Error::not_permitted(format!(
            "Subject {subject}: no number is left for an id or a version"
        )));
    }
    let Content {
        kind,
        text,
        references,
        rest,
    } = candidate.content.clone();
    let value = SchemaValue {
        subject: subject.to_owned(),
        version,
        id,
        kind,
        references,
        schema: text,
        deleted: false,
        rest,
    };
    let key = Key::Schema {
        subject: subject.to_owned(),
        version,
    };
    Ok(Decision {
        entries: vec![records::entry(&key, &value)],
        id_floor: None,
        answer: Answer::Registered { id },
    })
}

fn delete_subject(state: &State, subject: &str) -> Result<Decision, Error> {
    let known = state
        .subject(subject)
        .filter(|known| known.versions(true).next().is_some());
    let known = known.ok_or_else(|| Error::subject_not_found(subject))?;
    let versions: Vec<u32> = known.versions(false).map(|(number, _)| number).collect();
    let last = *versions
        .last()
        .ok_or_else(|| Error::subject_soft_deleted(subject))?;
    versions
        .iter()
        .try_for_each(|&version| unreferenced(state, subject, version))?;
    let value = DeleteSubjectValue {
        subject: subject.to_owned(),
        version: last,
    };
    let mut entries = vec![records::entry(
        &Key::DeleteSubject {
            subject: subject.to_owned(),
        },
        &value,
    )];
    entries.extend(forget_level(known, subject));
    Ok(Decision {
        entries,
        id_floor: None,
        answer: Answer::Versions(versions),
    })
}

fn erase_subject(state: &State, subject: &str) -> Result<Decision, Error> {
    let known = state
        .subject(subject)
        .filter(|known| known.versions(true).next().is_some());
    let known = known.ok_or_else(|| Error::subject_not_found(subject))?;
    if known.versions(false).next().is_some() {
        return Err(Error::subject_not_soft_deleted(subject));
    }
    let versions: Vec<u32> = known.versions(true).map(|(number, _)| number).collect();
    versions
        .iter()
        .try_for_each(|&version| unreferenced(state, subject, version))?;
    let keys = versions.iter().map(|&version| Key::Schema {
        subject: subject.to_owned(),
        version,
    });
    let mut entries: Vec<Entry> = keys.map(|key| records::tombstone(&key)).collect();
    entries.extend(forget_level(known, subject));
    Ok(Decision {
        entries,
        id_floor: Some(state.id_max()),
        answer: Answer::Versions(versions),
    })
}

/// The subject and the version that a request to delete names. The latest is the newest of those not deleted, or of all
/// with `deleted`.
fn named<'state>(
    state: &'state State,
    subject: &str,
    version: VersionName,
    deleted: bool,
) -> Result<(&'state Subject, u32, &'state Version), Error> {
    let known = state
        .subject(subject)
        .filter(|known| known.versions(true).next().is_some());
    let known = known.ok_or_else(|| Error::subject_not_found(subject))?;
    let number = match version {
        VersionName::Number(number) => number,
        VersionName::Latest => {
            known
                .versions(deleted)
                .next_back()
                .ok_or_else(|| Error::subject_not_found(subject))?
                .0
        }
    };
    let found = known
        .version(number)
        .ok_or_else(|| Error::version_not_found(number))?;
    Ok((known, number, found))
}

fn delete_version(state: &State, subject: &str, version: VersionName) -> Result<Decision, Error> {
    let (known, number, found) = named(state, subject, version, false)?;
    if found.deleted {
        return Err(Error::version_soft_deleted(subject, number));
    }
    unreferenced(state, subject, number)?;
    let Content {
        kind,
        text,
        references,
        rest,
    } = found.content.as_ref().clone();
    let key = Key::Schema {
        subject: subject.to_owned(),
        version: number,
    };
    let value = SchemaValue {
        subject: subject.to_owned(),
        version: number,
        id: found.id,
        kind,
        references,
        schema: text,
        deleted: true,
        rest,
    };
    let mut entries = vec![records::entry(&key, &value)];
    if known.versions(false).count() == 1 {
        entries.extend(forget_level(known, subject));
    }
    Ok(Decision {
        entries,
        id_floor: None,
        answer: Answer::Version(number),
    })
}

fn erase_version(state: &State, subject: &str, version: VersionName) -> Result<Decision, Error> {
    let (_, number, found) = named(state, subject, version, true)?;
    if !found.deleted {
        return Err(Error::version_not_soft_deleted(subject, number));
    }
    unreferenced(state, subject, number)?;
    let entries = vec![records::tombstone(&Key::Schema {
        subject: subject.to_owned(),
        version: number,
    })];
    Ok(Decision {
        entries,
        id_floor: Some(state.id_max()),
        answer: Answer::Version(number),
    })
}

fn unreferenced(state: &State, subject: &str, version: u32) -> Result<(), Error> {
    let users = state.referenced_by(subject, version);
    if users.is_empty() {
        Ok(())
    } else {
        Err(Error::referenced(subject, version, &users))
    }
}

/// A subject that is deleted loses its compatibility level, as with Confluent's registry.
fn forget_level(known: &Subject, subject: &str) -> Option<Entry> {
    known.settings().level?;
    Some(records::tombstone(&Key::Config {
        subject: Some(subject.to_owned()),
    }))
}

fn set_level(state: &State, subject: Option<&str>, level: Level) -> Decision {
    let known = match subject {
        None => Some(state.global()),
        Some(subject) => state.subject(subject).map(Subject::settings),
    };
    let rest = known.map_or_else(Map::new, |settings| settings.rest.clone());
    let subject = subject.map(str::to_owned);
    let value = ConfigValue {
        subject: subject.clone(),
        level: Some(level.as_str().to_owned()),
        rest,
    };
    let entries = vec![records::entry(&Key::Config { subject }, &value)];
    Decision {
        entries,
        id_floor: None,
        answer: Answer::Level(level),
    }
}

fn unset_level(state: &State, subject: Option<&str>) -> Result<Decision, Error> {
    let level = match subject {
        None => state.global().level.unwrap_or_default(),
        Some(subject) => {
            let known = state
                .subject(subject)
                .ok_or_else(|| Error::subject_not_found(subject))?;
            known.settings().level.ok_or_else(|| Error::no_level(subject))?
        }
    };
    let entries = vec![records::tombstone(&Key::Config {
        subject: subject.map(str::to_owned),
    })];
    Ok(Decision {
        entries,
        id_floor: None,
        answer: Answer::Level(level),
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::journal::{Machine as _, MemoryJournal};

    const SUBJECTS: [&str; 3] = ["orders-value", "archive-value", "lines-value"];

    fn schema(number: usize) -> Sent {
        let text = json!({"type": "fixed", "name": "F", "size": number}).to_string();
        serde_json::from_value(json!({"schema": text})).unwrap()
    }

    /// A schema that refers to the latest version of a subject.
    fn referring(subject: &str) -> Sent {
        let text = json!({"type": "record", "name": "R", "fields": [{"name": "f", "type": "F"}]}).to_string();
        let references = json!([{"name": "F", "subject": subject, "version": -1}]);
        serde_json::from_value(json!({"schema": text, "references": references})).unwrap()
    }

    fn writes() -> impl Strategy<Value = Write> {
        let subject = || (0..SUBJECTS.len()).prop_map(|index| SUBJECTS[index].to_owned());
        let version = prop_oneof![
            Just(VersionName::Latest),
            (1_u32..5).prop_map(VersionName::Number)
        ];
        let level = (0..Level::ALL.len()).prop_map(|index| Level::ALL[index]);
        prop_oneof![
            6 => (subject(), 1_usize..6).prop_map(|(subject, number)| Write::Register { subject, sent: Box::new(schema(number)) }),
            1 => (subject(), subject()).prop_map(|(subject, to)| Write::Register { subject, sent: Box::new(referring(&to)) }),
            2 => (subject(), any::<bool>()).prop_map(|(subject, permanent)| Write::DeleteSubject { subject, permanent }),
            3 => (subject(), version, any::<bool>()).prop_map(|(subject, version, permanent)| Write::DeleteVersion { subject, version, permanent }),
            2 => (proptest::option::of(subject()), level).prop_map(|(subject, level)| Write::SetLevel { subject, level }),
            1 => proptest::option::of(subject()).prop_map(|subject| Write::UnsetLevel { subject }),
        ]
    }

    fn rebuilt(journal: &MemoryJournal) -> State {
        let mut state = State::default();
        journal.records().iter().for_each(|record| state.apply(record));
        state
    }

    /// Ids and what each has ever stood for.
    type Given = std::collections::HashMap<u32, String>;

    fn no_id_has_two_meanings(state: &State, given: &mut Given) -> Result<(), TestCaseError> {
        for id in 1..=state.id_max() {
            if let Some(content) = state.schema(id) {
                let meaning = format!("{} {:?}", content.text, content.references);
                let before = given.entry(id).or_insert_with(|| meaning.clone());
                prop_assert_eq!(before.as_str(), meaning.as_str());
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Rebuilding from the log, whole or compacted, gives the state that was built live; an id means one thing for ever.
        #[test]
        fn a_rebuilt_state_is_the_live_one(writes in vec(writes(), 1..40)) {
            let journal = MemoryJournal::new();
            let (mut live, mut floor, mut given) = (State::default(), 0, Given::new());
            live.apply(&crate::journal::Record { offset: 0, key: Some(Key::Noop.to_bytes()), value: None });
            for write in writes {
                let before = live.clone();
                if done_already(&live, &write).ok().flatten().is_some() {
                    continue;
                }
                let Ok(decision) = decide(&live, &write, floor) else { continue };
                floor = floor.max(decision.id_floor.unwrap_or(0));
                for entry in decision.entries {
                    journal.push(entry);
                    if let Some(record) = journal.records().last() {
                        live.apply(record);
                    }
                }
                let may_repeat = matches!(write, Write::SetLevel { .. } | Write::UnsetLevel { .. });
                prop_assert!(may_repeat || live != before, "{write:?} changed nothing");
                no_id_has_two_meanings(&live, &mut given)?;
            }
            prop_assert_eq!(&rebuilt(&journal), &live);
            journal.compact(true);
            let compacted = rebuilt(&journal);
            prop_assert_eq!(compacted.without_id_max(), live.without_id_max());
            prop_assert_eq!(compacted.id_max().max(floor), live.id_max().max(floor));
            prop_assert_eq!((live.skipped(), live.conflicts()), (0, 0));
        }
    }
}
