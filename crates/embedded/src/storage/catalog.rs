//! The facts about topics, producer ids and the cluster, kept in one journal.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    checkpoint::sync_directory,
    disk::Disk,
    journal::Journal,
    log,
    partition::Partition,
    recovery,
    topic_config::{Given, Obeyed},
    topics::Topic,
};
use crate::Error;

/// Producer ids that are set aside with one write.
const PRODUCER_IDS: i64 = 1_000;

/// One fact of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fact {
    Cluster {
        id: String,
    },
    Topic {
        id: Uuid,
        known: KnownTopic,
    },
    /// The topic was deleted; its files may still be there.
    TopicGone {
        id: Uuid,
    },
    /// The first producer id that was never given out.
    ProducerIds {
        next: i64,
    },
    /// The first offset of a partition after records were deleted.
    Start {
        id: Uuid,
        partition: i32,
        offset: i64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownTopic {
    name: String,
    partitions: i32,
    given: Given,
    #[serde(default)]
    starts: BTreeMap<i32, i64>,
}

/// What the journal says, and the way to say more.
#[derive(Debug)]
pub(super) struct Catalog {
    journal: Journal<Fact>,
    state: State,
    /// The next producer id, and the end of those set aside.
    producer_ids: (i64, i64),
    directory: PathBuf,
    disk: Arc<Disk>,
}

#[derive(Debug, Default)]
struct State {
    cluster: String,
    topics: BTreeMap<Uuid, KnownTopic>,
    gone: Vec<Uuid>,
    producer_ids_next: i64,
}

impl State {
    fn take_in(&mut self, fact: Fact) {
        match fact {
            Fact::Cluster { id } => self.cluster = id,
            Fact::Topic { id, known } => {
                self.topics.insert(id, known);
            }
            Fact::TopicGone { id } => {
                self.topics.remove(&id);
                self.gone.push(id);
            }
            Fact::ProducerIds { next } => self.producer_ids_next = next,
            Fact::Start {
                id,
                partition,
                offset,
            } => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.starts.insert(partition, offset);
                }
            }
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![
            Fact::Cluster {
                id: self.cluster.clone(),
            },
            Fact::ProducerIds {
                next: self.producer_ids_next,
            },
        ];
        facts.extend(self.topics.iter().map(|(id, known)| Fact::Topic {
            id: *id,
            known: known.clone(),
        }));
        facts.extend(self.gone.iter().map(|id| Fact::TopicGone { id: *id }));
        facts
    }
}

impl Catalog {
    /// Reads the journal of a data directory and removes what was left of deleted topics.
    pub(super) fn open(directory: &Path, disk: Arc<Disk>) -> Result<Self, Error> {
        let path = directory.join("catalog.journal");
        let topics = directory.join("topics");
        let mut state = State::default();
        let absent = !path.exists();
        let mut journal = Journal::open(&path, Arc::clone(&disk), |fact| state.take_in(fact))?;
        if state.cluster.is_empty() {
            if absent && has_entries(&topics)? {
                let reason = "it is missing while there are topics".into();
                return Err(Error::Damaged {
                    path,
                    position: 0,
                    reason,
                });
            }
            let fact = Fact::Cluster {
                id: Uuid::new_v4().simple().to_string(),
            };
            journal
                .append(std::slice::from_ref(&fact))
                .map_err(Error::io("write", &path))?;
            state.take_in(fact);
        }
        let producer_ids = (state.producer_ids_next, state.producer_ids_next);
        let mut catalog = Self {
            journal,
            state,
            producer_ids,
            directory: topics,
            disk,
        };
        catalog.clear_away()?;
        Ok(catalog)
    }

    /// Removes the files of deleted topics, and directories of topics whose creation was never finished.
    fn clear_away(&mut self) -> Result<(), Error> {
        for id in std::mem::take(&mut self.state.gone) {
            remove_all(&self.path_of(id)).map_err(Error::io("remove", self.path_of(id)))?;
        }
        let directory = self.directory.clone();
        for entry in fs::read_dir(&directory).map_err(Error::io("list", &directory))? {
            let path = entry.map_err(Error::io("list", &directory))?.path();
            let id = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| Uuid::parse_str(name).ok());
            if id.is_some_and(|id| self.state.topics.contains_key(&id)) {
                continue;
            }
            if holds_bytes(&path).map_err(Error::io("look at", &path))? {
                tracing::warn!(path = %path.display(), "no topic is known for this directory; it is left alone");
            } else {
                remove_all(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    pub(super) fn cluster(&self) -> &str {
        &self.state.cluster
    }

    fn path_of(&self, id: Uuid) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// Opens every topic's partitions.
    pub(super) fn open_topics(&self) -> Result<Vec<Arc<Topic>>, Error> {
        self.state
            .topics
            .iter()
            .map(|(id, known)| self.open_topic(*id, known))
            .collect()
    }

    fn open_topic(&self, id: Uuid, known: &KnownTopic) -> Result<Arc<Topic>, Error> {
        let mut partitions = Vec::new();
        for number in 0..known.partitions {
            let directory = self.path_of(id).join(number.to_string());
            let start = known.starts.get(&number).copied().unwrap_or(0);
            let (log, view) = recovery::open(&directory, start)?;
            partitions.push(Arc::new(Partition::new(
                known.name.clone(),
                id,
                number,
                log,
                view,
            )));
        }
        Ok(topic(id, known, partitions))
    }

    /// Creates a topic: its files first, then the fact.
    pub(super) fn create(&mut self, name: &str, partitions: i32, given: Given) -> io::Result<Arc<Topic>> {
        let id = Uuid::new_v4();
        let path = self.path_of(id);
        let created = self.create_at(&path, id, name, partitions, given);
        if created.is_err() {
            // What is left of it holds no bytes, so the next start removes it if this does not.
            drop(remove_all(&path));
        }
        created
    }

    fn create_at(
        &mut self,
        path: &Path,
        id: Uuid,
        name: &str,
        count: i32,
        given: Given,
    ) -> io::Result<Arc<Topic>> {
        self.disk.check_space()?;
        let mut partitions = Vec::new();
        for number in 0..count {
            let directory = path.join(number.to_string());
            let (log, view) = log::create(&directory)?;
            partitions.push(Arc::new(Partition::new(name.into(), id, number, log, view)));
        }
        sync_directory(path)?;
        sync_directory(&self.directory)?;
        let known = KnownTopic {
            name: name.into(),
            partitions: count,
            given,
            starts: BTreeMap::new(),
        };
        self.say(Fact::Topic {
            id,
            known: known.clone(),
        })?;
        Ok(topic(id, &known, partitions))
    }

    /// Gives a topic more partitions, or other settings. Files come first, then the fact: what a crash leaves of them
    /// holds no bytes.
    pub(super) fn change(&mut self, topic: &Topic, count: i32, given: Given) -> io::Result<Arc<Topic>> {
        self.disk.check_space()?;
        let path = self.path_of(topic.id);
        let mut partitions = topic.partitions.clone();
        let present = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        for number in present..count {
            let (log, view) = log::create(&path.join(number.to_string()))?;
            partitions.push(Arc::new(Partition::new(
                topic.name.clone(),
                topic.id,
                number,
                log,
                view,
            )));
        }
        sync_directory(&path)?;
        let before = self.state.topics.get(&topic.id);
        let known = KnownTopic {
            name: topic.name.clone(),
            partitions: count.max(present),
            given,
            starts: before.map(|known| known.starts.clone()).unwrap_or_default(),
        };
        self.say(Fact::Topic {
            id: topic.id,
            known: known.clone(),
        })?;
        Ok(self::topic(topic.id, &known, partitions))
    }

    /// Says that a topic is deleted; [`Catalog::remove_files`] then frees its bytes.
    pub(super) fn delete(&mut self, id: Uuid) -> io::Result<()> {
        self.say(Fact::TopicGone { id })
    }

    pub(super) fn remove_files(&mut self, id: Uuid) {
        match remove_all(&self.path_of(id)) {
            Ok(()) => self.state.gone.retain(|gone| *gone != id),
            Err(error) => tracing::warn!(%id, %error, "a deleted topic's files stay until the next start"),
        }
    }

    pub(super) fn set_start(&mut self, id: Uuid, partition: i32, offset: i64) -> io::Result<()> {
        self.say(Fact::Start {
            id,
            partition,
            offset,
        })
    }

    /// A producer id that was never given out before.
    pub(super) fn producer_id(&mut self) -> io::Result<i64> {
        let (next, end) = self.producer_ids;
        if next == end {
            self.say(Fact::ProducerIds {
                next: end + PRODUCER_IDS,
            })?;
            self.producer_ids.1 = end + PRODUCER_IDS;
        }
        self.producer_ids.0 = next + 1;
        Ok(next)
    }

    fn say(&mut self, fact: Fact) -> io::Result<()> {
        self.journal.append(std::slice::from_ref(&fact))?;
        self.state.take_in(fact);
        if self.journal.is_large()
            && let Err(error) = self.journal.rewrite(&self.state.facts())
        {
            tracing::warn!(%error, "the catalog's journal could not be written anew; it grows on");
        }
        Ok(())
    }
}

fn topic(id: Uuid, known: &KnownTopic, partitions: Vec<Arc<Partition>>) -> Arc<Topic> {
    let obeyed = Obeyed::of(&known.given);
    Arc::new(Topic {
        name: known.name.clone(),
        id,
        given: known.given.clone(),
        obeyed,
        partitions,
    })
}

fn has_entries(directory: &Path) -> Result<bool, Error> {
    Ok(fs::read_dir(directory)
        .map_err(Error::io("list", directory))?
        .next()
        .is_some())
}

fn holds_bytes(path: &Path) -> io::Result<bool> {
    if !path.is_dir() {
        return Ok(fs::metadata(path)?.len() > 0);
    }
    for entry in fs::read_dir(path)? {
        if holds_bytes(&entry?.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
