//! The publisher that an application holds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_broker::Cluster;
use evenkeel_event::clock::{Clock, SystemClock};
use evenkeel_event::topic::NameError;
use evenkeel_event::{Code, Event, EventId, Letter, Record, TopicName};
use evenkeel_flow::session::Settings;
use evenkeel_schema::{Contract, Payload, Valid, Violation};
use evenkeel_store::{Holds, Kind, Standby, Stats};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::alarm::Book;
use super::aside::still_stands;
use super::claim;
use super::encoding::Encoding;
use super::engine::{Command, Engine, Parts};
use super::fate::Fates;
use super::front::{Closing, Entry};
use super::hold::{Held, List};
use super::letter;
use super::many::Many;
use super::receipt::{LetterPlace, PublishError, Receipt};
use super::shared::Shared;
use super::topic::Topic;
use crate::config::Config;
use crate::failpoint::{Point, pass};
use crate::schema_cache::{SchemaCache, SchemaError};

/// What the data of a letter is that could not be encoded.
const LETTER_CONTENT_TYPE: &str = "application/json";
/// What a record is taken to need beside its key and value, its headers included.
const RECORD_OVERHEAD_BYTES: usize = 320;

/// Publishes an application's events. Cheap to clone; all clones are one.
///
/// One per process and directory. [`Publisher::close`] it before the process ends.
#[derive(Debug, Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    cluster: Cluster,
    schemas: SchemaCache,
    store: Arc<dyn Standby>,
    list: List,
    application: String,
    letters: TopicName,
    commands: mpsc::Sender<Command>,
}

/// Why a publisher could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The standby store cannot be used.
    #[error(transparent)]
    Standby(#[from] evenkeel_store::Error),
    /// The settings for Kafka cannot be used.
    #[error(transparent)]
    Kafka(#[from] evenkeel_broker::Error),
    /// The application's name makes no topic name.
    #[error("the application cannot have a dead-letter topic: {0}")]
    Name(#[from] NameError),
    /// The directory for schemas cannot be used.
    #[error(transparent)]
    Schemas(#[from] SchemaError),
}

/// An event that was put on its way, behind those that were before it. Dropping this does not take it back.
#[derive(Debug)]
pub struct Pending {
    fates: Arc<Fates>,
    index: u32,
    /// What is wrong with it, for a letter.
    wrong: Option<(Code, String)>,
}

impl Publisher {
    /// Starts: opens the standby store, gets the schemas of the application's events (from disk when the registry is
    /// down), and goes on with what an earlier process left parked. Kafka need not be there.
    ///
    /// # Errors
    /// When the directory or the settings cannot be used.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_by(config, Arc::new(SystemClock::default())).await
    }

    /// As [`start`](Self::start), by another clock: for `evenkeel verify`, whose publishers' clocks can be off. No part of the API.
    ///
    /// # Errors
    /// As `start`.
    #[doc(hidden)]
    pub async fn start_by(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        TopicName::publish_letters(&config.application)?;
        let schemas = SchemaCache::open(config.registry.clone(), &config.directory.join("schemas"))?;
        schemas.prepare(&config.event_types).await;
        if let Some(fleet) = &config.fleet {
            let store: Arc<dyn Standby> = fleet.store.clone();
            return Self::start_with(config, schemas, store, clock).await;
        }
        let standby = evenkeel_store::Config {
            limit_bytes: config.standby_bytes_max,
            ..evenkeel_store::Config::new(config.directory.join("standby"))
        };
        let store = claim::open(&config.directory, standby, config.store_wait_max).await?;
        let store: Arc<dyn Standby> = Arc::new(store);
        Self::start_with(config, schemas, store, clock).await
    }

    async fn start_with(
        config: Config,
        schemas: SchemaCache,
        store: Arc<dyn Standby>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let letters = TopicName::publish_letters(&config.application)?;
        let cluster = Cluster::new(config.kafka.clone())?;
        let closing = Closing {
            bytes_max: config.batch_bytes_max,
            compression: config.compression,
        };
        let shared = Arc::new(Shared::new(
            clock,
            closing,
            config.linger,
            config.buffer_bytes_max,
            config.room_wait_max,
        ));
        let places = match config.fleet {
            None => store.open_places().await?,
            // What it holds is found when it answers: it need not do so now.
            Some(_) => Vec::new(),
        };
        let now = shared.clock.now();
        let held = match &config.fleet {
            None => Held::read(&config.directory, config.drain.only, now),
            Some(fleet) => Held::shared(fleet.store.clone(), config.drain.only, now),
        };
        let list = held.list();
        let book = Book::read(&config.directory, |alarm| still_stands(alarm, &places));
        let mut topics: Vec<TopicName> = places.iter().map(|held| held.place.topic.clone()).collect();
        topics.extend(config.event_types.iter().map(|event| event.topic.clone()));
        let (commands, received) = mpsc::channel(4);
        let engine = Engine::new(Parts {
            shared: shared.clone(),
            cluster: cluster.clone(),
            store: store.clone(),
            settings: Settings {
                out_after: config.out_after,
                ..Settings::default()
            },
            new_topics: config.new_topics,
            send_timeout: config.send_timeout,
            letters: letters.clone(),
            application: config.application.clone(),
            held,
            book,
            events_per_second: config.drain.events_per_second,
            recovered: places
                .into_iter()
                .map(|held| (held.place.clone(), held))
                .collect(),
            fleet: config.fleet,
            commands: received,
        });
        tokio::spawn(engine.run(topics));
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                cluster,
                schemas,
                store,
                list,
                application: config.application,
                letters,
                commands,
            }),
        })
    }

    /// An event of this application that happens now, with an id of its own.
    #[must_use]
    pub fn event(&self, event_type: &str, topic: &TopicName) -> Event {
        let now = self.inner.shared.clock.now();
        let source = format!("/{}", self.inner.application);
        Event::new(
            EventId::v7(now, rand::random()),
            source,
            event_type,
            now,
            topic.clone(),
        )
    }

    /// Publishes an event whose data is `data`, and waits until a durable place has it.
    ///
    /// An event that violates its contract becomes a dead letter, with its data as JSON. Dropping the future does not
    /// take the event back.
    ///
    /// # Errors
    /// When nothing durable is known to have it; see [`PublishError::may_have_landed`].
    pub async fn publish<T: Serialize + ?Sized>(
        &self,
        event: &Event,
        data: &T,
    ) -> Result<Receipt, PublishError> {
        self.begin(event, data).await?.receipt().await
    }

    /// Publishes an event whose data is given as JSON. See [`Publisher::publish`].
    ///
    /// # Errors
    /// When nothing durable is known to have it; see [`PublishError::may_have_landed`].
    pub async fn publish_json(&self, event: &Event, json: &[u8]) -> Result<Receipt, PublishError> {
        self.begin_json(event, json).await?.receipt().await
    }

    /// Puts an event on its way without waiting for its receipt. Events begun one after the other keep that order.
    ///
    /// # Errors
    /// When it was not put on its way.
    pub async fn begin<T: Serialize + ?Sized>(
        &self,
        event: &Event,
        data: &T,
    ) -> Result<Pending, PublishError> {
        let contract = self.contract(event).await?;
        let encoded = contract.encode(data);
        let json = || serde_json::to_vec(data).unwrap_or_default().into();
        self.enter(event, &contract, encoded, json).await
    }

    /// As [`Publisher::begin`], with the data as JSON.
    ///
    /// # Errors
    /// When it was not put on its way.
    pub async fn begin_json(&self, event: &Event, json: &[u8]) -> Result<Pending, PublishError> {
        let contract = self.contract(event).await?;
        let encoded = contract.encode_json(json);
        let json = || Bytes::copy_from_slice(json);
        self.enter(event, &contract, encoded, json).await
    }

    /// Publishes events in their order, and waits for all. The results are in the order of the events.
    pub async fn publish_batch<T: Serialize>(
        &self,
        events: &[(Event, T)],
    ) -> Vec<Result<Receipt, PublishError>> {
        let mut many = Many::new(&self.inner.shared, &self.inner.schemas, events.len());
        for (event, data) in events {
            if !many.enter(event, data) {
                many.rest();
                many.add(self.begin(event, data).await);
            }
        }
        many.receipts().await
    }

    /// As [`Publisher::begin`], for data that is known to obey a contract, whichever version that is.
    ///
    /// # Errors
    /// When it was not put on its way.
    pub async fn begin_valid(&self, event: &Event, data: &Valid<Payload>) -> Result<Pending, PublishError> {
        self.enter_valid(event, data, false).await
    }

    /// As [`Publisher::begin_valid`], but by way of the standby store, whether Kafka is there or not: the event is sent
    /// from there under a stored stamp. Until its receipt is there it is in no request, so that whoever begins it again
    /// after a crash finds it in the store, or on the log, or knows that it is nowhere.
    ///
    /// Its receipt is [`Receipt::Parked`], unless it joins an event with its id that was begun before.
    ///
    /// # Errors
    /// When it was not put on its way.
    pub async fn begin_parked(&self, event: &Event, data: &Valid<Payload>) -> Result<Pending, PublishError> {
        self.enter_valid(event, data, true).await
    }

    /// Writes a dead letter durably: on its topic, or in the standby store bound for it.
    ///
    /// # Errors
    /// When nothing durable is known to have it; see [`PublishError::may_have_landed`].
    pub async fn publish_letter(&self, letter: Letter) -> Result<Receipt, PublishError> {
        let shared = &self.inner.shared;
        let topic = letter.record().topic.clone();
        let bytes = letter.record().payload_bytes() + RECORD_OVERHEAD_BYTES;
        shared.take_room(&topic, bytes).await?;
        let (fates, index) = letter::enter(shared, &topic, letter, bytes)?;
        fates.of(index).await
    }

    /// The cluster that it publishes to.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// What is parked.
    ///
    /// # Errors
    /// When the standby store cannot be read.
    pub async fn parked(&self) -> Result<Stats, evenkeel_store::Error> {
        self.inner.store.stats().await
    }

    /// Parked events that were sent on since the start.
    #[must_use]
    pub fn drained(&self) -> u64 {
        self.inner.shared.drained()
    }

    /// The standby store, to look into.
    #[must_use]
    pub fn standby(&self) -> &Arc<dyn Standby> {
        &self.inner.store
    }

    /// What an operator holds back of what is parked (`evenkeel standby hold`); `None` where a shared store does not answer.
    pub async fn holds(&self) -> Option<Holds> {
        let now = self.inner.shared.clock.now();
        self.inner.list.clone().look(now).await
    }

    /// The schemas of the application's events.
    #[must_use]
    pub fn schemas(&self) -> &SchemaCache {
        &self.inner.schemas
    }

    /// Takes no further event, and finishes what is there for at most `limit`: sends it where Kafka takes it, parks it
    /// otherwise. True when every caller got a receipt or an error that does not leave open what became of the event.
    pub async fn close(&self, limit: Duration) -> bool {
        let (finished, told) = oneshot::channel();
        let command = Command::Close { limit, finished };
        if self.inner.commands.send(command).await.is_err() {
            return true;
        }
        told.await.unwrap_or(true)
    }

    async fn contract(&self, event: &Event) -> Result<Arc<Contract>, PublishError> {
        let schemas = &self.inner.schemas;
        schemas
            .contract(&event.topic, &event.event_type)
            .await
            .map_err(|source| PublishError::SchemaUnavailable {
                event_type: event.event_type.clone(),
                topic: event.topic.clone(),
                source,
            })
    }

    /// Puts an event on its way: encoded to its topic, wrong to the dead-letter topic.
    async fn enter(
        &self,
        event: &Event,
        contract: &Contract,
        encoded: Result<Valid<Payload>, Violation>,
        json: impl FnOnce() -> Bytes,
    ) -> Result<Pending, PublishError> {
        match encoded {
            Ok(valid) => self.enter_valid(event, &valid, false).await,
            Err(violation) => self.enter_wrong(event, contract, &violation, json()).await,
        }
    }

    async fn enter_valid(
        &self,
        event: &Event,
        valid: &Valid<Payload>,
        parks: bool,
    ) -> Result<Pending, PublishError> {
        let shared = &self.inner.shared;
        let bytes = room_of(event, valid.get().bytes().len());
        shared.take_room(&event.topic, bytes).await?;
        self.push(event, &shared.topic(&event.topic), valid, bytes, parks)
    }

    /// Puts a valid event on its way, for which room was taken.
    fn push(
        &self,
        event: &Event,
        topic: &Topic,
        valid: &Valid<Payload>,
        bytes: usize,
        parks: bool,
    ) -> Result<Pending, PublishError> {
        pass(Point::Validate);
        let (fates, index) = Encoding::with(|encoding| {
            let entry = Entry {
                kind: Kind::Event,
                id: Some(&event.id),
                key: event.key.as_deref(),
                body: encoding.valid(event, valid),
                bytes,
                parks,
            };
            self.inner.shared.enter(topic, &entry)
        })?;
        Ok(Pending {
            fates,
            index,
            wrong: None,
        })
    }

    async fn enter_wrong(
        &self,
        event: &Event,
        contract: &Contract,
        violation: &Violation,
        json: Bytes,
    ) -> Result<Pending, PublishError> {
        let inner = &self.inner;
        let cause = violation.to_string();
        let record = Record {
            topic: event.topic.clone(),
            partition: None,
            key: event.key.clone(),
            value: Some(json),
            headers: event.to_headers(LETTER_CONTENT_TYPE, None),
        };
        let bytes = record.payload_bytes() + RECORD_OVERHEAD_BYTES;
        inner.shared.take_room(&event.topic, bytes).await?;
        let letter = letter::letter(
            &inner.letters,
            &inner.application,
            record,
            Code::SchemaViolation,
            cause.clone(),
            inner.shared.clock.now(),
            u32::try_from(contract.id().0).ok(),
        );
        let (fates, index) = letter::enter(&inner.shared, &inner.letters, letter, bytes)?;
        Ok(Pending {
            fates,
            index,
            wrong: Some((Code::SchemaViolation, cause)),
        })
    }
}

/// What an event counts for in the limit on memory.
pub(super) fn room_of(event: &Event, value_bytes: usize) -> usize {
    event.key.as_ref().map_or(0, Bytes::len) + value_bytes + RECORD_OVERHEAD_BYTES
}

impl Pending {
    /// Waits until a durable place has the event.
    ///
    /// # Errors
    /// When nothing durable is known to have it; see [`PublishError::may_have_landed`].
    pub async fn receipt(self) -> Result<Receipt, PublishError> {
        let receipt = self.fates.of(self.index).await;
        let Some((code, cause)) = self.wrong else {
            return receipt;
        };
        // What became of the letter, not of the event.
        match LetterPlace::of(receipt?) {
            Some(at) => Ok(Receipt::DeadLettered { code, cause, at }),
            None => Err(PublishError::LetterLost {
                topic: self.fates.topic().clone(),
                cause,
            }),
        }
    }
}
