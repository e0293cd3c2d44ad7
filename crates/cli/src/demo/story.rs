//! The steps of the demo.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use evenkeel::schema_cache::Registry as SchemaRegistry;
use evenkeel::{
    Config, Consumer, Event, EventId, EventType, NewTopics, Publisher, Receipt, Subject, Version,
};
use evenkeel_broker::admin::NewTopic;
use evenkeel_event::TopicName;
use evenkeel_event::clock::Timestamp;
use serde_json::{Value, json};

use super::contracts::{CANCELLED, INCOMPATIBLE, KINDS, Kind, PLACED};
use super::narrator::Narrator;
use super::orders::{Invoice, Orders};
use super::reader;
use super::reconcile::{Difference, Receipts, Report, reconcile};
use super::redrive;
use super::revenue::Revenue;
use super::stage::Stage;
use crate::registry::{Refused, Registry, encoded};

/// Partitions of the events' topic.
const PARTITIONS: i32 = 4;
/// Events that are published without waiting for the receipts of earlier ones.
const PENDING_MAX: usize = 1_000;
/// Longest wait for parked events to drain and for the consumer to catch up, per 10,000 events.
const PATIENCE: Duration = Duration::from_secs(60);
/// The event that the demo makes up: an order without customer under the key of one that orders later again.
const CONSTRUCTED: &str = "constructed-order-without-customer";

/// One run of the demo.
pub(super) struct Story<'stage> {
    pub(super) stage: &'stage mut Stage,
    pub(super) orders: &'stage Orders,
    /// Events to publish.
    pub(super) count: usize,
    pub(super) directory: &'stage Path,
    pub(super) narrator: Narrator,
}

impl Story<'_> {
    /// Plays every step and gives the report with what differs from the file.
    pub(super) async fn play(mut self) -> Result<(Report, Vec<Difference>)> {
        let token = self.register_contracts().await?;
        let publisher = self.publisher(&self.stage.application.clone(), "shop").await?;
        let revenue = Revenue::default();
        let reading = self.publisher(&self.stage.group.clone(), "revenue").await?;
        let consumer = self.consume(&revenue, &reading, [PLACED.v1, CANCELLED.v1])?;
        let receipts = self.publish_through_an_outage(&publisher).await?;
        self.drain(&publisher).await?;
        let reading = self.evolve(&token, consumer, reading, &revenue).await?;
        let consumer = self.consume(&revenue, &reading, [PLACED.v2, CANCELLED.v2])?;
        self.redrive(&publisher, &token).await?;
        let outcome = self.check(&revenue, receipts).await;
        consumer.stop().await.context("the consumer did not stop")?;
        publisher.close(PATIENCE).await;
        reading.close(PATIENCE).await;
        outcome
    }

    /// Step 1: a domain registers its contracts; another one may not change them.
    async fn register_contracts(&mut self) -> Result<String> {
        self.narrator.step(
            1,
            "domain \"orders\" registers order-placed and order-cancelled for one topic",
        );
        let topic = NewTopic {
            name: self.stage.topic.clone(),
            partitions: PARTITIONS,
            replication: -1,
            configs: Vec::new(),
        };
        self.stage
            .direct
            .create_topic(&topic)
            .await
            .context("the events' topic was not created")?;
        let token = self
            .stage
            .domains
            .create("orders", false)
            .await?
            .reveal()
            .to_owned();
        let other = self
            .stage
            .domains
            .create("billing", false)
            .await?
            .reveal()
            .to_owned();
        let owner = self.stage.registry("orders", &token);
        for kind in KINDS {
            let subject = kind.subject(self.stage.topic.as_str());
            let id = register(&owner, &subject, kind.v1)?;
            self.narrator.tell(&format!(
                "{subject} version 1 has id {id}: a customer is required"
            ));
        }
        let intruder = self.stage.registry("billing", &other);
        let refused = register(&intruder, &PLACED.subject(self.stage.topic.as_str()), PLACED.v2);
        self.narrator.tell(&format!(
            "domain \"billing\" tries to change it: {}",
            refusal(refused, 40_301)?
        ));
        Ok(token)
    }

    async fn publisher(&self, application: &str, directory: &str) -> Result<Publisher> {
        let mut config = Config::new(
            application,
            self.stage.kafka.clone(),
            self.directory.join(directory),
        );
        config.registry = Some(SchemaRegistry::new(&self.stage.registry_url));
        config.new_topics = Some(NewTopics {
            partitions: 1,
            replication: -1,
        });
        config.event_types = KINDS
            .iter()
            .map(|kind| event_type(kind, &self.stage.topic))
            .collect();
        Publisher::start(config)
            .await
            .context("the publisher did not start")
    }

    fn consume(&self, revenue: &Revenue, publisher: &Publisher, readers: [&str; 2]) -> Result<Consumer> {
        revenue.consume(publisher, &self.stage.group, &self.stage.topic, &readers)
    }

    /// Steps 2 and 3: publishes everything; Kafka is away from the middle to three quarters.
    async fn publish_through_an_outage(&mut self, publisher: &Publisher) -> Result<Receipts> {
        self.narrator.step(
            2,
            &format!(
                "{} invoices become events; group \"revenue\" adds them up",
                self.count
            ),
        );
        let (cut_at, back_at) = (self.count / 2, self.count / 4 * 3);
        let mut tally = Tally::default();
        let orders = self.orders;
        let mut events = orders.events(self.count);
        let letter = publisher
            .begin(&self.constructed()?, &self.constructed_data())
            .await?;
        if !matches!(letter.receipt().await?, Receipt::DeadLettered { .. }) {
            bail!("the constructed order without customer was not dead-lettered");
        }
        self.publish(publisher, events.by_ref().take(cut_at), &mut tally)
            .await?;
        self.narrator.tell(&tally.to_string());
        let outage = self.stage.cut().await?;
        self.narrator.step(3, &format!("{outage}; publishing goes on"));
        self.publish(publisher, events.by_ref().take(back_at - cut_at), &mut tally)
            .await?;
        self.narrator.tell(&tally.to_string());
        self.stage.restore().await?;
        self.narrator
            .tell("Kafka is back; publishing goes on while parked events drain");
        self.publish(publisher, events, &mut tally).await?;
        self.narrator.tell(&tally.to_string());
        Ok(Receipts {
            published: tally.published,
            parked: tally.parked,
        })
    }

    async fn publish(
        &self,
        publisher: &Publisher,
        invoices: impl Iterator<Item = Invoice>,
        tally: &mut Tally,
    ) -> Result<()> {
        let mut pending = std::collections::VecDeque::new();
        for invoice in invoices {
            let event = self.event(&invoice)?;
            pending.push_back((
                invoice.invoice_no.clone(),
                publisher.begin(&event, &invoice).await?,
            ));
            if pending.len() == PENDING_MAX
                && let Some((invoice, first)) = pending.pop_front()
            {
                tally.count(
                    first
                        .receipt()
                        .await
                        .with_context(|| format!("invoice {invoice}"))?,
                );
            }
        }
        for (invoice, begun) in pending {
            tally.count(
                begun
                    .receipt()
                    .await
                    .with_context(|| format!("invoice {invoice}"))?,
            );
        }
        Ok(())
    }

    fn event(&self, invoice: &Invoice) -> Result<Event> {
        let kind = if invoice.is_cancellation() {
            &CANCELLED
        } else {
            &PLACED
        };
        let time = Timestamp::parse_rfc3339(&invoice.invoiced_at).unwrap_or_default();
        let id = EventId::new(&invoice.invoice_no)?;
        let mut event = Event::new(id, "/shop", kind.event_type, time, self.stage.topic.clone());
        event.key = Some(Bytes::from(invoice.key().to_owned()));
        Ok(event)
    }

    /// An order of the first invoice's customer that does not say so: its key has younger events on the topic later.
    fn constructed(&self) -> Result<Event> {
        let first = self.orders.events(1).next().context("the order data is empty")?;
        let mut event = self.event(&first)?;
        event.id = EventId::new(CONSTRUCTED)?;
        Ok(event)
    }

    fn constructed_data(&self) -> Invoice {
        Invoice {
            invoice_no: CONSTRUCTED.to_owned(),
            customer_id: None,
            country: "United Kingdom".to_owned(),
            invoiced_at: "2010-12-01T08:00:00.000Z".to_owned(),
            lines: Vec::new(),
        }
    }

    /// The end of step 3: everything that was parked reaches the topic.
    async fn drain(&self, publisher: &Publisher) -> Result<()> {
        let waited = tokio::time::timeout(self.patience(), async {
            loop {
                let parked = publisher.parked().await?;
                if parked.events == 0 {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited
            .await
            .unwrap_or_else(|_| bail!("parked events did not drain in time"))?;
        self.narrator
            .tell("every parked event has been sent on; nothing is parked any more");
        Ok(())
    }

    /// Step 4, first half: version 2 allows orders without customer, and the consumer reads with it.
    async fn evolve(
        &self,
        token: &str,
        consumer: Consumer,
        reading: Publisher,
        revenue: &Revenue,
    ) -> Result<Publisher> {
        self.narrator.step(
            4,
            "the contract evolves, and the dead letters are redriven against it",
        );
        let owner = self.stage.registry("orders", token);
        let topic = self.stage.topic.as_str();
        let refused = register(&owner, &PLACED.subject(topic), INCOMPATIBLE);
        self.narrator.tell(&format!(
            "a version that nobody could read is refused: {}",
            refusal(refused, 409)?
        ));
        for kind in KINDS {
            let id = register(&owner, &kind.subject(topic), kind.v2)?;
            self.narrator.tell(&format!(
                "{} version 2 has id {id}: the customer is optional",
                kind.subject(topic)
            ));
        }
        consumer.stop().await.context("the consumer did not stop")?;
        let countries = revenue.totals().len();
        self.narrator.tell(&format!(
            "the consumer, with {countries} countries so far, starts again as a reader of version 2"
        ));
        Ok(reading)
    }

    /// Step 4, second half.
    async fn redrive(&self, publisher: &Publisher, token: &str) -> Result<()> {
        let registry = Arc::new(self.stage.registry("orders", token));
        redrive::redrive(self.stage, publisher, registry, CONSTRUCTED, &self.narrator).await?;
        self.drain(publisher).await
    }

    /// Step 5: what lies on the topics, against the file.
    async fn check(&self, revenue: &Revenue, receipts: Receipts) -> Result<(Report, Vec<Difference>)> {
        self.narrator
            .step(5, "an independent reader compares the topics with the order file");
        let letters = TopicName::publish_letters(&self.stage.application)?;
        let registry = self.stage.registry("", "");
        let seen = reader::events(&self.stage.direct, &self.stage.topic, registry).await?;
        let letters = reader::letters(&self.stage.direct, &letters).await?;
        let constructed = HashSet::from([CONSTRUCTED.to_owned()]);
        let (report, mut differences) =
            reconcile(self.orders, self.count, &seen, &letters, receipts, &constructed);
        let expected = self.orders.expected(self.count).totals;
        let caught_up = tokio::time::timeout(self.patience(), async {
            while revenue.totals() != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        match caught_up.await {
            Ok(()) => self.narrator.tell(&format!(
                "group \"revenue\" comes to the same sums; {} events were delivered to it again and recognised",
                revenue.redelivered()
            )),
            Err(_) => differences.push("the consumer group's revenue differs from the file's".to_owned()),
        }
        Ok((report, differences))
    }

    fn patience(&self) -> Duration {
        PATIENCE * u32::try_from(1 + self.count / 10_000).unwrap_or(u32::MAX)
    }
}

/// Receipts so far.
#[derive(Debug, Default)]
struct Tally {
    published: usize,
    parked: usize,
    dead_lettered: usize,
}

impl Tally {
    fn count(&mut self, receipt: Receipt) {
        match receipt {
            Receipt::Published { .. } => self.published += 1,
            Receipt::Parked { .. } => self.parked += 1,
            Receipt::DeadLettered { .. } => self.dead_lettered += 1,
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            published,
            parked,
            dead_lettered,
        } = self;
        write!(
            formatter,
            "receipts so far: {published} published, {parked} parked, {dead_lettered} dead-lettered"
        )
    }
}

fn event_type(kind: &Kind, topic: &TopicName) -> EventType {
    EventType {
        name: kind.event_type.to_owned(),
        topic: topic.clone(),
        subject: Subject::TopicRecordName(kind.record.to_owned()),
        version: Version::Latest,
    }
}

fn register(registry: &Registry, subject: &str, schema: &str) -> Result<u64> {
    let path = format!("/subjects/{}/versions", encoded(subject));
    let answer: Value = tokio::task::block_in_place(|| registry.post(&path, &json!({ "schema": schema })))?;
    answer
        .get("id")
        .and_then(Value::as_u64)
        .context("the registry answered without an id")
}

/// The reason of a refusal that had to come; an error when it did not.
fn refusal(outcome: Result<u64>, code: u64) -> Result<String> {
    match outcome {
        Ok(id) => bail!("the registry accepted with id {id} what it should have refused with {code}"),
        Err(error) => match error.downcast_ref::<Refused>() {
            // The registry goes on with both schemas in full.
            Some(refused) if refused.code == code => {
                let reason = refused.message.split("additionalInfo").next().unwrap_or_default();
                Ok(reason.trim_end_matches([' ', ',']).to_owned())
            }
            _ => Err(error.context(format!("the registry should have refused with {code}"))),
        },
    }
}
