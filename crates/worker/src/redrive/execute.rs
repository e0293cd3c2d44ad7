//! Carries a plan out: claim, publish, mark done.
//!
//! The rules it keeps:
//! - a letter is claimed before it is sent, and the first claim on the log wins, so that two redrives send it once;
//! - what an earlier run of the same store claimed and did not mark is looked for first: in the standby store, then on
//!   the log from the offset that the claim noted;
//! - what another store claimed is left alone and told.

use std::collections::HashMap;

use evenkeel::{Publisher, Receipt};
use evenkeel_broker::batch::{Batch, DECOMPRESSED_BYTES_MAX};
use evenkeel_event::clock::Clock;
use evenkeel_event::{TopicPartition, headers, partitioner};
use evenkeel_schema::{Payload, Valid};

use super::{Error, Judgement, Ledger, Letter, Plan, Who};

/// Bytes of parked rows that are looked through at a time.
const READ_BYTES_MAX: usize = 4 << 20;

/// What became of the letters of a plan.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// Sent by this run.
    pub sent: usize,
    /// Found to have been sent by an earlier run that ended before it could say so.
    pub found: usize,
    /// Claimed by somebody else: the letter and who has it.
    pub claimed: Vec<(String, String)>,
}

/// A letter on its way.
struct Going {
    letter: Letter,
    valid: Valid<Payload>,
    from: i64,
}

/// Sends the ready letters of `plan`, in its order.
///
/// # Errors
/// When the ledger cannot be written, the log cannot be searched, or an event is not taken. Running the redrive again
/// goes on where it ended.
pub async fn execute(
    plan: Plan,
    publisher: &Publisher,
    ledger: &mut Ledger,
    clock: &dyn Clock,
    who: &Who,
) -> Result<Redriven, Error> {
    let run = format!("{:032x}", rand::random::<u128>());
    let mut redriven = Redriven::default();
    let going = ready(plan, publisher).await?;
    let mut earlier = HashMap::new();
    let mut claims = Vec::new();
    for going in &going {
        match ledger.claim(&going.letter.identity) {
            Some(claim) => drop(earlier.insert(going.letter.identity.clone(), claim.clone())),
            None => claims.push((going.letter.identity.clone(), going.from)),
        }
    }
    ledger
        .write_claims(publisher.cluster(), clock, &run, who, &claims)
        .await?;
    let mut done = Vec::new();
    let mut pending = Vec::new();
    for going in going {
        let identity = going.letter.identity.clone();
        let ours = ledger
            .claim(&identity)
            .filter(|claim| claim.run == run || claim.who.store == who.store);
        if ours.is_none() {
            let holder = ledger
                .claim(&identity)
                .map(|claim| claim.who.by.clone())
                .unwrap_or_default();
            redriven.claimed.push((identity, holder));
            continue;
        }
        if let Some(claim) = earlier.get(&identity)
            && was_sent(publisher, &going.letter, claim.from).await?
        {
            redriven.found += 1;
            done.push((identity, "found".to_owned()));
            continue;
        }
        let failed = |source| Error::Publish {
            identity: going.letter.identity.clone(),
            source,
        };
        let begun = publisher
            .begin_valid(&going.letter.event, &going.valid)
            .await
            .map_err(failed)?;
        pending.push((identity, begun));
    }
    for (identity, begun) in pending {
        let receipt = begun.receipt().await.map_err(|source| Error::Publish {
            identity: identity.clone(),
            source,
        })?;
        redriven.sent += 1;
        done.push((identity, describe(&receipt)));
    }
    ledger
        .write_done(publisher.cluster(), clock, &run, who, &done)
        .await?;
    Ok(redriven)
}

/// The letters to send, each with the end of its partition as it is now.
async fn ready(plan: Plan, publisher: &Publisher) -> Result<Vec<Going>, Error> {
    let mut ends: HashMap<TopicPartition, i64> = HashMap::new();
    let mut going = Vec::new();
    for entry in plan.entries {
        let Judgement::Ready(valid) = entry.judgement else {
            continue;
        };
        let partition = partition(publisher, &entry.letter).await?;
        let from = match ends.get(&partition) {
            Some(end) => *end,
            None => {
                let end = publisher
                    .cluster()
                    .offset(&partition, evenkeel_broker::fetch::At::Latest)
                    .await?;
                let end = end.offset.unwrap_or(0);
                ends.insert(partition, end);
                end
            }
        };
        going.push(Going {
            letter: entry.letter,
            valid,
            from,
        });
    }
    Ok(going)
}

async fn partition(publisher: &Publisher, letter: &Letter) -> Result<TopicPartition, Error> {
    let topic = publisher.cluster().topic(&letter.event.topic).await?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let index = letter
        .event
        .key
        .as_deref()
        .map_or(0, |key| partitioner::partition_for(key, count));
    Ok(TopicPartition::new(letter.event.topic.clone(), index))
}

/// True when an earlier run's event is in the standby store or on the log. The store is asked first: what has left it
/// since is on the log.
async fn was_sent(publisher: &Publisher, letter: &Letter, from: i64) -> Result<bool, Error> {
    if is_parked(publisher, letter).await? {
        return Ok(true);
    }
    let wanted = letter.event.id.as_str().as_bytes();
    for (place, from) in candidates(publisher, letter, from).await? {
        let found = publisher
            .cluster()
            .search(&place, from, 1, |record| {
                record.header(headers::CE_ID) == Some(wanted)
            })
            .await?;
        if !found.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where a sent event can be: behind `from` on the partition of its key, anywhere without one.
async fn candidates(
    publisher: &Publisher,
    letter: &Letter,
    from: i64,
) -> Result<Vec<(TopicPartition, i64)>, Error> {
    if letter.event.key.is_some() {
        return Ok(vec![(partition(publisher, letter).await?, from)]);
    }
    let topic = publisher.cluster().topic(&letter.event.topic).await?;
    let places = topic.partitions.iter().map(|partition| {
        let place = TopicPartition::new(letter.event.topic.clone(), partition.index);
        (place, 0)
    });
    Ok(places.collect())
}

/// True when the standby store holds the letter's event.
async fn is_parked(publisher: &Publisher, letter: &Letter) -> Result<bool, Error> {
    let store = publisher.standby();
    let wanted = letter.event.id.as_str().as_bytes();
    for open in store.open_places().await? {
        if open.place.topic != letter.event.topic {
            continue;
        }
        let mut from = open.span.head;
        loop {
            let piece = store.read(&open.place, from, READ_BYTES_MAX).await?;
            for stored in &piece.rows {
                let records = Batch::read(stored.row.records.clone())?.open(DECOMPRESSED_BYTES_MAX)?;
                if records
                    .iter()
                    .any(|record| record.header(headers::CE_ID) == Some(wanted))
                {
                    return Ok(true);
                }
            }
            match piece.rows.last() {
                Some(last) => from = last.position + u64::from(last.row.count),
                None => break,
            }
        }
    }
    Ok(false)
}

fn describe(receipt: &Receipt) -> String {
    match receipt {
        Receipt::Published {
            topic,
            partition,
            offset: Some(offset),
        } => format!("{topic}-{partition}@{offset}"),
        Receipt::Published {
            topic,
            partition,
            offset: None,
        } => format!("{topic}-{partition}"),
        Receipt::Parked { lane, sequence } => format!("parked {} {sequence}", lane.topic),
        Receipt::DeadLettered { cause, .. } => format!("dead-lettered again: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;

    use evenkeel::{Config, Kafka, TopicName};
    use evenkeel_broker::admin::NewTopic;
    use evenkeel_broker::fetch::At;
    use evenkeel_embedded::Broker;
    use evenkeel_event::clock::{SystemClock, Timestamp};
    use evenkeel_event::letter::{Cause, Origin, Stage};
    use evenkeel_event::{Code, Event, EventId};
    use evenkeel_schema::avro::Schema;
    use evenkeel_schema::{Contract, SchemaId};

    use super::*;
    use crate::redrive::{plan, read};

    /// A broker with a topic `orders`, an application with one dead letter, and the contract that the letter obeys by now.
    struct Scene {
        broker: Broker,
        publisher: Publisher,
        contracts: HashMap<String, Arc<Contract>>,
        ledger: Ledger,
        orders: TopicName,
        _directory: tempfile::TempDir,
    }

    fn who(store: &str) -> Who {
        Who {
            by: "anna".to_owned(),
            reason: "mended".to_owned(),
            store: store.to_owned(),
        }
    }

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    fn letter() -> evenkeel_event::Letter {
        let origin = Origin {
            topic: topic("orders"),
            partition: None,
            offset: None,
            group: None,
        };
        let cause = Cause {
            code: Code::SchemaViolation,
            stage: Stage::Publish,
            message: "no".to_owned(),
            application: "shop".to_owned(),
            failed_at: Timestamp::from_millis(0),
            schema_id: Some(1),
            delivery_count: 0,
        };
        let id = EventId::new("e1").unwrap();
        let event = Event::new(id, "/shop", "order", Timestamp::default(), topic("orders")).with_key("k");
        let headers = event.to_headers("application/json", None);
        let value = Some("\"x\"".into());
        evenkeel_event::Letter::new(
            topic("shop.publish.dlt"),
            event.key,
            value,
            headers,
            &origin,
            &cause,
        )
    }

    async fn scene() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let mut config = evenkeel_embedded::Config::new(directory.path().join("broker"));
        config.listen = ([127, 0, 0, 1], 0).into();
        let broker = evenkeel_embedded::start(config).await.unwrap();
        let kafka = Kafka::at(broker.address().to_string());
        let config = Config::new("shop", kafka, directory.path().join("shop"));
        let publisher = Publisher::start(config).await.unwrap();
        for name in ["orders", "shop.publish.dlt", "_evenkeel"] {
            let new = NewTopic {
                name: topic(name),
                partitions: 1,
                replication: -1,
                configs: Vec::new(),
            };
            publisher.cluster().create_topic(&new).await.unwrap();
        }
        publisher.publish_letter(letter()).await.unwrap();
        let contract = Contract::new(SchemaId(2), Arc::new(Schema::parse("\"string\"").unwrap()));
        let ledger = Ledger::read(publisher.cluster(), topic("_evenkeel"))
            .await
            .unwrap();
        Scene {
            broker,
            publisher,
            contracts: HashMap::from([("order".to_owned(), Arc::new(contract))]),
            ledger,
            orders: topic("orders"),
            _directory: directory,
        }
    }

    impl Scene {
        async fn plan(&self) -> Plan {
            let cluster = self.publisher.cluster();
            let (letters, others) = read(cluster, &topic("shop.publish.dlt"), 10).await.unwrap();
            assert_eq!((letters.len(), others), (1, 0));
            let allowed = [self.orders.clone()];
            plan(cluster, letters, &self.contracts, &allowed, &self.ledger)
                .await
                .unwrap()
        }

        async fn redrive(&mut self, store: &str) -> Redriven {
            let plan = self.plan().await;
            let clock = SystemClock::default();
            execute(plan, &self.publisher, &mut self.ledger, &clock, &who(store))
                .await
                .unwrap()
        }

        /// What an earlier run did that was killed: it claimed, and sent when `sends`.
        async fn interrupted(&mut self, store: &str, sends: bool) {
            let mut going = ready(self.plan().await, &self.publisher).await.unwrap();
            let going = going.pop().unwrap();
            let claims = [(going.letter.identity.clone(), going.from)];
            let clock = SystemClock::default();
            self.ledger
                .write_claims(self.publisher.cluster(), &clock, "killed", &who(store), &claims)
                .await
                .unwrap();
            if sends {
                let begun = self
                    .publisher
                    .begin_valid(&going.letter.event, &going.valid)
                    .await;
                begun.unwrap().receipt().await.unwrap();
            }
        }

        async fn on_topic(&self) -> i64 {
            let partition = TopicPartition::new(self.orders.clone(), 0);
            let found = self.publisher.cluster().offset(&partition, At::Latest).await;
            found.unwrap().offset.unwrap()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_letter_is_sent_once_however_often_it_is_redriven() {
        let mut scene = scene().await;
        assert_eq!(scene.redrive("s").await.sent, 1);
        assert_eq!(scene.redrive("s").await, Redriven::default());
        assert_eq!(scene.on_topic().await, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_was_killed_after_it_sent_is_not_repeated() {
        let mut scene = scene().await;
        scene.interrupted("s", true).await;
        let redriven = scene.redrive("s").await;
        assert_eq!((redriven.sent, redriven.found), (0, 1));
        assert_eq!(scene.on_topic().await, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_was_killed_before_it_sent_is_gone_on_with() {
        let mut scene = scene().await;
        scene.interrupted("s", false).await;
        assert_eq!(scene.redrive("s").await.sent, 1);
        assert_eq!(scene.on_topic().await, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_claim_of_another_store_is_left_alone() {
        let mut scene = scene().await;
        scene.interrupted("other", false).await;
        let redriven = scene.redrive("s").await;
        assert_eq!((redriven.sent, redriven.claimed.len()), (0, 1));
        assert_eq!(scene.on_topic().await, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_that_is_parked_counts_as_sent() {
        let scene = scene().await;
        let going = ready(scene.plan().await, &scene.publisher).await.unwrap().pop();
        let going = going.unwrap();
        assert!(!is_parked(&scene.publisher, &going.letter).await.unwrap());
        scene.broker.stop().await.unwrap();
        let begun = scene
            .publisher
            .begin_valid(&going.letter.event, &going.valid)
            .await;
        let receipt = tokio::time::timeout(Duration::from_secs(60), begun.unwrap().receipt()).await;
        let receipt = receipt.unwrap().unwrap();
        assert!(matches!(receipt, Receipt::Parked { .. }), "{receipt:?}");
        assert!(is_parked(&scene.publisher, &going.letter).await.unwrap());
    }
}
