//! What is registered, made of the records of `_schemas` in their order and of nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use evenkeel_schema::avro::compatibility::Level;
use serde_json::{Map, Value};

use super::content::{Content, Identity};
use super::records::{ConfigValue, DeleteSubjectValue, Key, ModeValue, SchemaValue, value};
use crate::journal::{Machine, Record};

/// The registry's state.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    subjects: BTreeMap<String, Subject>,
    schemas: BTreeMap<u32, Stored>,
    by_identity: HashMap<Identity, BTreeSet<u32>>,
    global: Settings,
    id_max: u32,
    skipped: u64,
    conflicts: u64,
}

/// What is known of a subject.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Subject {
    versions: BTreeMap<u32, Version>,
    settings: Settings,
}

/// A version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: u32,
    pub(crate) deleted: bool,
    pub(crate) content: Arc<Content>,
}

/// Compatibility level and mode, of a subject or of all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) level: Option<Level>,
    /// What other registries keep beside the level.
    pub(crate) rest: Map<String, Value>,
    pub(crate) mode: Option<Mode>,
}

/// What may be done with a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    ReadWrite,
    ReadOnly,
    ReadOnlyOverride,
    Import,
    Forward,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "READWRITE",
            Self::ReadOnly => "READONLY",
            Self::ReadOnlyOverride => "READONLY_OVERRIDE",
            Self::Import => "IMPORT",
            Self::Forward => "FORWARD",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::ReadWrite,
            Self::ReadOnly,
            Self::ReadOnlyOverride,
            Self::Import,
            Self::Forward,
        ];
        all.into_iter().find(|mode| mode.as_str() == word)
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Stored {
    content: Arc<Content>,
    identity: Identity,
    uses: BTreeSet<(String, u32)>,
}

impl Subject {
    /// Versions by number, the soft-deleted ones too if asked.
    pub(crate) fn versions(&self, deleted: bool) -> impl DoubleEndedIterator<Item = (u32, &Version)> {
        let versions = self
            .versions
            .iter()
            .filter(move |(_, version)| deleted || !version.deleted);
        versions.map(|(number, version)| (*number, version))
    }

    pub(crate) fn version(&self, number: u32) -> Option<&Version> {
        self.versions.get(&number)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl State {
    /// Subjects that have versions, those that are wholly soft-deleted too if asked.
    pub(crate) fn subjects(&self, deleted: bool) -> impl Iterator<Item = (&str, &Subject)> {
        let subjects = self
            .subjects
            .iter()
            .map(|(name, subject)| (name.as_str(), subject));
        subjects.filter(move |(_, subject)| subject.versions(deleted).next().is_some())
    }

    /// All that is known of a subject.
    pub(crate) fn subject(&self, name: &str) -> Option<&Subject> {
        self.subjects.get(name)
    }

    pub(crate) fn global(&self) -> &Settings {
        &self.global
    }

    /// The compatibility level that holds for a subject.
    pub(crate) fn level(&self, subject: &str) -> Level {
        let own = self.subject(subject).and_then(|subject| subject.settings.level);
        own.or(self.global.level).unwrap_or_default()
    }

    /// The mode that holds for a subject; one for all that overrides comes first.
    pub(crate) fn mode(&self, subject: &str) -> Mode {
        if self.global.mode == Some(Mode::ReadOnlyOverride) {
            return Mode::ReadOnlyOverride;
        }
        let own = self.subject(subject).and_then(|subject| subject.settings.mode);
        own.or(self.global.mode).unwrap_or(Mode::ReadWrite)
    }

    pub(crate) fn schema(&self, id: u32) -> Option<&Content> {
        self.schemas.get(&id).map(|stored| stored.content.as_ref())
    }

    /// Where a schema is registered, soft-deleted versions too if asked.
    pub(crate) fn uses(&self, id: u32, deleted: bool) -> impl Iterator<Item = (&str, u32)> {
        let uses = self.schemas.get(&id).into_iter().flat_map(|stored| &stored.uses);
        let uses = uses.map(|(subject, version)| (subject.as_str(), *version));
        uses.filter(move |(subject, number)| {
            let version = self.subject(subject).and_then(|subject| subject.version(*number));
            version.is_some_and(|version| deleted || !version.deleted)
        })
    }

    /// The id of a schema that is registered anywhere.
    pub(crate) fn id_of(&self, identity: Identity) -> Option<u32> {
        self.by_identity.get(&identity)?.first().copied()
    }

    /// The latest version of a subject that holds a schema, soft-deleted ones too if asked.
    pub(crate) fn find(&self, subject: &str, identity: Identity, deleted: bool) -> Option<(u32, &Version)> {
        let ids = self.by_identity.get(&identity)?;
        let mut versions = self.subject(subject)?.versions(deleted).rev();
        versions.find(|(_, version)| ids.contains(&version.id))
    }

    /// The ids of live schemas that refer to a version.
    pub(crate) fn referenced_by(&self, subject: &str, version: u32) -> Vec<u32> {
        let refers = |stored: &Stored| {
            let mut references = stored.content.references.iter();
            references.any(|one| one.subject == subject && one.version == i64::from(version))
        };
        let users = self
            .schemas
            .iter()
            .filter(|(_, stored)| refers(stored))
            .map(|(id, _)| *id);
        users
            .filter(|&id| self.uses(id, false).next().is_some())
            .collect()
    }

    /// The highest id that the log has shown.
    pub(crate) fn id_max(&self) -> u32 {
        self.id_max
    }

    pub(crate) fn schema_count(&self) -> usize {
        self.schemas.len()
    }

    /// Records left aside: not understood, or of a context other than the default one.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Records refused because they give an id to a second schema.
    pub(crate) fn conflicts(&self) -> u64 {
        self.conflicts
    }

    fn take(&mut self, record: &Record) -> Option<()> {
        let key = Key::parse(record.key.as_ref()?)?;
        match key {
            Key::Schema { subject, version } => {
                let subject = default_context(subject)?;
                if record.value.is_none() {
                    self.remove(&subject, version);
                } else {
                    self.put(subject, version, value(record)?);
                }
            }
            Key::Config { subject } => {
                let config: Option<ConfigValue> = optional(record)?;
                let level = config
                    .as_ref()
                    .and_then(|config| config.level.as_deref()?.parse().ok());
                self.set(subject, |settings| {
                    settings.level = level;
                    settings.rest = config.map(|config| config.rest).unwrap_or_default();
                })?;
            }
            Key::Mode { subject } => {
                let mode: Option<ModeValue> = optional(record)?;
                self.set(subject, |settings| {
                    settings.mode = mode.and_then(|mode| Mode::parse(&mode.mode))
                })?;
            }
            Key::DeleteSubject { subject } => {
                let subject = default_context(subject)?;
                let deletion: Option<DeleteSubjectValue> = optional(record)?;
                // A log that was compacted may have forgotten the subject before its deletion.
                if let (Some(deletion), Some(known)) = (deletion, self.subjects.get_mut(&subject)) {
                    let versions = known.versions.range_mut(..=deletion.version);
                    versions.for_each(|(_, version)| version.deleted = true);
                }
            }
            Key::ClearSubject { subject } => {
                let subject = default_context(subject)?;
                let known = self
                    .subject(&subject)
                    .into_iter()
                    .flat_map(|known| known.versions(true));
                let gone: Vec<u32> = known
                    .filter(|(_, version)| version.deleted)
                    .map(|(number, _)| number)
                    .collect();
                gone.into_iter().for_each(|number| self.remove(&subject, number));
            }
            Key::Noop => {}
        }
        Some(())
    }

    fn set(&mut self, subject: Option<String>, change: impl FnOnce(&mut Settings)) -> Option<()> {
        let Some(name) = subject else {
            change(&mut self.global);
            return Some(());
        };
        let name = default_context(name)?;
        change(&mut self.subjects.entry(name.clone()).or_default().settings);
        self.prune(&name);
        Some(())
    }

    fn put(&mut self, subject: String, number: u32, value: SchemaValue) {
        let SchemaValue {
            id,
            kind,
            references,
            schema,
            deleted,
            rest,
            ..
        } = value;
        let content = Content {
            kind,
            text: schema,
            references,
            rest,
        };
        let identity = content.identity();
        let is_this = |used: &(String, u32)| used.0 == subject && used.1 == number;
        let other = self.schemas.get(&id).filter(|known| known.identity != identity);
        if other.is_some_and(|other| !other.uses.iter().all(is_this)) {
            // The first schema of an id keeps it. Two registries that write at once come to this.
            self.conflicts += 1;
            return;
        }
        self.remove(&subject, number);
        let content = Arc::new(content);
        let stored = self.schemas.entry(id).or_insert_with(|| Stored {
            content: Arc::clone(&content),
            identity,
            uses: BTreeSet::new(),
        });
        stored.uses.insert((subject.clone(), number));
        self.by_identity.entry(identity).or_default().insert(id);
        self.id_max = self.id_max.max(id);
        let versions = &mut self.subjects.entry(subject).or_default().versions;
        versions.insert(number, Version { id, deleted, content });
    }

    fn remove(&mut self, subject: &str, number: u32) {
        let Some(version) = self
            .subjects
            .get_mut(subject)
            .and_then(|subject| subject.versions.remove(&number))
        else {
            return;
        };
        self.prune(subject);
        let Some(stored) = self.schemas.get_mut(&version.id) else {
            return;
        };
        stored.uses.remove(&(subject.to_owned(), number));
        if !stored.uses.is_empty() {
            return;
        }
        let identity = stored.identity;
        self.schemas.remove(&version.id);
        if let Some(ids) = self.by_identity.get_mut(&identity) {
            ids.remove(&version.id);
            if ids.is_empty() {
                self.by_identity.remove(&identity);
            }
        }
    }

    /// Forgets a subject of which nothing is known any more.
    fn prune(&mut self, subject: &str) {
        if self.subjects.get(subject) == Some(&Subject::default()) {
            self.subjects.remove(subject);
        }
    }
}

/// A value that may be a tombstone; `None` if it is neither that nor of its type.
fn optional<T: serde::de::DeserializeOwned>(record: &Record) -> Option<Option<T>> {
    if record.value.is_none() {
        Some(None)
    } else {
        value(record).map(Some)
    }
}

/// A subject without the prefix of the default context; `None` for one of another context, whose ids are numbered apart.
pub(crate) fn default_context(subject: String) -> Option<String> {
    match subject.strip_prefix(":.") {
        None => Some(subject),
        Some(rest) => rest.strip_prefix(':').map(str::to_owned),
    }
}

impl Machine for State {
    fn apply(&mut self, record: &Record) {
        if self.take(record).is_none() {
            self.skipped += 1;
        }
    }
}

#[cfg(test)]
impl State {
    /// For comparisons with a state rebuilt from a compacted log, which has forgotten the highest id.
    pub(crate) fn without_id_max(&self) -> Self {
        Self {
            id_max: 0,
            ..self.clone()
        }
    }
}
