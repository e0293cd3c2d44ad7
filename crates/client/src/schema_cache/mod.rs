//! The schemas of an application's events: fetched at the start, kept on disk, there when the registry is not.

mod kept;
mod registry;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use evenkeel_event::TopicName;
use evenkeel_schema::avro::Schema;
use evenkeel_schema::{Contract, SchemaId};

pub use registry::{Auth, Registered, Registry, SchemaError};

use crate::config::{EventType, Version};

/// How long a failed look-up answers for those that follow.
const FAILURE_COUNTS_FOR: Duration = Duration::from_secs(1);

/// Contracts by topic and event type, and schemas by id.
#[derive(Debug)]
pub struct SchemaCache {
    registry: Option<Registry>,
    directory: PathBuf,
    event_types: RwLock<HashMap<TopicName, HashMap<String, EventType>>>,
    contracts: RwLock<HashMap<TopicName, HashMap<String, Arc<Contract>>>>,
    by_id: RwLock<HashMap<SchemaId, Arc<Contract>>>,
    failures: Mutex<HashMap<(TopicName, String), Failure>>,
}

/// When a look-up failed, and why.
type Failure = (Instant, Arc<SchemaError>);

impl SchemaCache {
    /// A cache that keeps schemas in `directory`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(registry: Option<Registry>, directory: &Path) -> Result<Self, SchemaError> {
        std::fs::create_dir_all(directory).map_err(|source| SchemaError::Disk {
            path: directory.to_owned(),
            source,
        })?;
        Ok(Self {
            registry,
            directory: directory.to_owned(),
            event_types: RwLock::default(),
            contracts: RwLock::default(),
            by_id: RwLock::default(),
            failures: Mutex::default(),
        })
    }

    /// Gets the contracts of these events, from the registry where it answers, else from disk. What neither has is
    /// looked for again when such an event is published.
    pub async fn prepare(&self, event_types: &[EventType]) {
        for event in event_types {
            self.event_types
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(event.topic.clone())
                .or_default()
                .insert(event.name.clone(), event.clone());
            if let Err(error) = self.contract(&event.topic, &event.name).await {
                tracing::warn!(event_type = event.name, topic = %event.topic, %error, "no schema yet");
            }
        }
    }

    /// The contract for events of `event_type` on `topic`. An event type that was not named at the start obeys the
    /// newest schema of `<topic>-value`.
    ///
    /// # Errors
    /// When it is neither known nor on disk nor to be had from the registry.
    pub async fn contract(
        &self,
        topic: &TopicName,
        event_type: &str,
    ) -> Result<Arc<Contract>, Arc<SchemaError>> {
        if let Some(contract) = self.known(topic, event_type) {
            return Ok(contract);
        }
        let name = (topic.clone(), event_type.to_owned());
        if let Some((at, error)) = lock(&self.failures).get(&name)
            && at.elapsed() < FAILURE_COUNTS_FOR
        {
            return Err(error.clone());
        }
        let wanted = self.wanted(topic, event_type);
        match self.look_up(&wanted).await {
            Ok(contract) => {
                self.contracts
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(topic.clone())
                    .or_default()
                    .insert(event_type.to_owned(), contract.clone());
                lock(&self.failures).remove(&name);
                Ok(contract)
            }
            Err(error) => {
                let error = Arc::new(error);
                lock(&self.failures).insert(name, (Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The contract with this id, for reading.
    ///
    /// # Errors
    /// [`SchemaError::is_unknown`] when the registry says that there is no such id; else why it could not be had.
    pub async fn by_id(&self, id: SchemaId) -> Result<Arc<Contract>, SchemaError> {
        if let Some(contract) = self.known_by_id(id) {
            return Ok(contract);
        }
        let name = kept::by_id(id);
        let registered = match kept::read(&self.directory, &name) {
            Some(registered) => registered,
            None => {
                let registered = self.registry()?.by_id(id).await?;
                kept::write(&self.directory, &name, &registered);
                registered
            }
        };
        self.compile(&registered)
    }

    /// The contract with this id that a cache keeps in `directory`, for those who look at what an application parked
    /// while no registry is there. Waits for the disk.
    #[must_use]
    pub fn kept(directory: &Path, id: SchemaId) -> Option<Arc<Contract>> {
        let registered = kept::read(directory, &kept::by_id(id))?;
        compiled(&registered).ok()
    }

    /// The contract for events of `event_type` on `topic`, where it is known already.
    pub(crate) fn known(&self, topic: &TopicName, event_type: &str) -> Option<Arc<Contract>> {
        let contracts = self.contracts.read().unwrap_or_else(PoisonError::into_inner);
        contracts.get(topic)?.get(event_type).cloned()
    }

    fn known_by_id(&self, id: SchemaId) -> Option<Arc<Contract>> {
        let known = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).cloned()
    }

    fn wanted(&self, topic: &TopicName, event_type: &str) -> EventType {
        let event_types = self.event_types.read().unwrap_or_else(PoisonError::into_inner);
        event_types
            .get(topic)
            .and_then(|types| types.get(event_type))
            .cloned()
            .unwrap_or_else(|| EventType::new(event_type, topic.clone()))
    }

    async fn look_up(&self, wanted: &EventType) -> Result<Arc<Contract>, SchemaError> {
        let subject = wanted.subject.name(&wanted.topic);
        let name = kept::by_subject(&subject, &wanted.version);
        let fetched = match self.registry() {
            Ok(registry) => match &wanted.version {
                Version::Latest => registry.latest(&subject).await,
                Version::Number(number) => registry.version(&subject, *number).await,
                Version::Text(text) => registry.find(&subject, text).await,
            },
            Err(error) => Err(error),
        };
        match fetched {
            Ok(registered) => {
                kept::write(&self.directory, &name, &registered);
                // What was written by it can be read for good, also when the subject has moved on.
                kept::write(
                    &self.directory,
                    &kept::by_id(SchemaId(registered.id)),
                    &registered,
                );
                self.compile(&registered)
            }
            // The registry knows better than the disk; only when it does not answer does the disk count.
            Err(error) if error.is_unknown() => Err(error),
            Err(error) => match kept::read(&self.directory, &name) {
                Some(registered) => self.compile(&registered),
                None => Err(error),
            },
        }
    }

    fn compile(&self, registered: &Registered) -> Result<Arc<Contract>, SchemaError> {
        let contract = compiled(registered)?;
        self.by_id
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(contract.id(), contract.clone());
        Ok(contract)
    }

    fn registry(&self) -> Result<&Registry, SchemaError> {
        self.registry.as_ref().ok_or(SchemaError::NoRegistry)
    }
}

fn compiled(registered: &Registered) -> Result<Arc<Contract>, SchemaError> {
    let references: Vec<&str> = registered.references.iter().map(String::as_str).collect();
    let schema =
        Schema::parse_with(&registered.text, &references).map_err(|error| SchemaError::Unusable {
            id: registered.id,
            reason: error.to_string(),
        })?;
    Ok(Arc::new(Contract::new(SchemaId(registered.id), Arc::new(schema))))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
