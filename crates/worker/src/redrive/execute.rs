//! Carries a plan out: the shell around the machine in [`evenkeel_flow::redrive`], which says in which order letters are
//! claimed, looked for, put into the standby store and marked as done.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use evenkeel::{Event, Publisher, Receipt};
use evenkeel_broker::fetch::At;
use evenkeel_event::clock::Clock;
use evenkeel_event::{Header, TopicPartition, headers};
use evenkeel_flow::redrive::{Claim, Input, Order, Redrive, Seen};
use evenkeel_flow::session::StoreResult;
use evenkeel_schema::{Payload, Valid};

use super::ledger::{Behind, Note};
use super::look::{on_the_log, parked, partition};
use super::{Error, Judgement, Ledger, Plan, Who};

/// A standby store that refuses every letter for this long ends the redrive.
const REFUSED_MAX: Duration = Duration::from_secs(30);
/// Endings that are written together while there is other work.
const ENDINGS_MAX: usize = 32;

/// How a plan is carried out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Letters a second; 0: no limit.
    pub rate_per_second: u32,
    /// Letters that a redrive through another standby store has claimed are taken over. For a store that is gone for
    /// good: should it come back, its events land too, which is why those sent here are marked as possible doubles.
    pub take_over: bool,
}

/// What became of the letters of a plan.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// Put into the standby store by this run, which sends them on in order.
    pub sent: usize,
    /// Of those: marked, because an earlier run may have sent them and nothing can tell.
    pub marked: usize,
    /// Found to have been sent by an earlier run that ended before it could say so.
    pub found: usize,
    /// Claimed by somebody else: the letter and who has it.
    pub claimed: Vec<(String, String)>,
}

/// A letter on its way.
#[derive(Debug)]
struct Going {
    event: Event,
    valid: Valid<Payload>,
    behind: Behind,
    /// Where its event was found, or is put.
    outcome: String,
}

/// Puts the ready letters of `plan`, in its order, into the standby store of `publisher`, from where they are sent on;
/// tells `progress` after each.
///
/// # Errors
/// When the ledger cannot be written, the log cannot be searched, or the standby store refuses events for 30 seconds.
/// Running the redrive again goes on where it ended.
pub async fn execute(
    plan: Plan,
    publisher: &Publisher,
    ledger: &mut Ledger,
    clock: &dyn Clock,
    who: &Who,
    options: Options,
    progress: impl FnMut(&Redriven),
) -> Result<Redriven, Error> {
    let (keys, going) = ready(plan, publisher).await?;
    let mut desk = Desk {
        publisher,
        ledger,
        clock,
        who,
        run: format!("{:032x}", rand::random::<u128>()),
        machine: Redrive::new(keys.clone(), options.rate_per_second),
        going,
        found_parked: HashSet::new(),
        orders: Vec::new(),
        endings: Vec::new(),
        wake: None,
        refused_since: None,
        redriven: Redriven::default(),
        progress,
    };
    desk.begin(&keys, options.take_over).await?;
    desk.run().await?;
    Ok(desk.redriven)
}

/// The letters to send in their order, each with the end of its partition as it is now.
async fn ready(plan: Plan, publisher: &Publisher) -> Result<(Vec<String>, HashMap<String, Going>), Error> {
    let mut ends: HashMap<TopicPartition, i64> = HashMap::new();
    let (mut keys, mut going) = (Vec::new(), HashMap::new());
    for entry in plan.entries {
        let Judgement::Ready(valid) = entry.judgement else {
            continue;
        };
        let event = entry.letter.event;
        let partition = partition(publisher, &event).await?;
        let from = match ends.get(&partition) {
            Some(end) => *end,
            None => {
                let end = publisher.cluster().offset(&partition, At::Latest).await?;
                let end = end.offset.unwrap_or(0);
                ends.insert(partition.clone(), end);
                end
            }
        };
        let behind = Behind {
            partition: partition.partition,
            from,
        };
        keys.push(entry.letter.identity.clone());
        going.insert(
            entry.letter.identity,
            Going {
                event,
                valid,
                behind,
                outcome: String::new(),
            },
        );
    }
    Ok((keys, going))
}

struct Desk<'run, Progress> {
    publisher: &'run Publisher,
    ledger: &'run mut Ledger,
    clock: &'run dyn Clock,
    who: &'run Who,
    run: String,
    machine: Redrive<String>,
    going: HashMap<String, Going>,
    /// Events of letters claimed before that are in the standby store.
    found_parked: HashSet<evenkeel::EventId>,
    orders: Vec<Order<String>>,
    /// Letters whose endings are to be written.
    endings: Vec<String>,
    wake: Option<Duration>,
    refused_since: Option<Duration>,
    redriven: Redriven,
    progress: Progress,
}

impl<Progress: FnMut(&Redriven)> Desk<'_, Progress> {
    /// Tells the machine what the ledger holds of its letters.
    async fn begin(&mut self, keys: &[String], take_over: bool) -> Result<(), Error> {
        if take_over {
            let notes = keys.iter().filter_map(|key| {
                let claim = self.ledger.claim(key)?;
                (claim.who.store != self.who.store).then(|| (key.clone(), Note::Takeover(claim.run.clone())))
            });
            let notes = notes.collect();
            self.write(notes).await?;
        }
        let known: Vec<&String> = keys
            .iter()
            .filter(|key| self.ledger.claim(key).is_some())
            .collect();
        let wanted = |key: &&String| self.going.get(*key).map(|going| &going.event);
        let events: Vec<&Event> = known.iter().filter_map(wanted).collect();
        if !events.is_empty() {
            let topics = events.iter().map(|event| event.topic.clone()).collect();
            let ids = events.iter().map(|event| event.id.clone()).collect();
            self.found_parked = parked(self.publisher, &topics, &ids).await?;
        }
        for key in known {
            self.tell_claim(key);
        }
        self.tell(Input::Timer);
        Ok(())
    }

    async fn run(&mut self) -> Result<(), Error> {
        while !self.machine.is_done() {
            if let Some(order) = self.next_order() {
                self.carry_out(order).await?;
            } else if !self.endings.is_empty() {
                self.write_endings().await?;
            } else {
                let now = self.clock.monotonic();
                let at = self.wake.take().unwrap_or(now + Duration::from_millis(100));
                tokio::time::sleep(at.saturating_sub(now)).await;
                self.tell(Input::Timer);
            }
        }
        Ok(())
    }

    fn next_order(&mut self) -> Option<Order<String>> {
        (!self.orders.is_empty()).then(|| self.orders.remove(0))
    }

    fn tell(&mut self, input: Input<String>) {
        let now = self.clock.monotonic();
        self.machine.handle(now, input, &mut self.orders);
    }

    async fn carry_out(&mut self, order: Order<String>) -> Result<(), Error> {
        match order {
            Order::Claim { key } => self.claim(key).await,
            Order::LookFor { key } => self.look_for(key).await,
            Order::Append { key, possible_double } => self.append(key, possible_double).await,
            Order::Finish { key } => {
                self.endings.push(key);
                if self.endings.len() >= ENDINGS_MAX {
                    self.write_endings().await?;
                }
                Ok(())
            }
            Order::WakeAt(at) => {
                self.wake = Some(at);
                Ok(())
            }
        }
    }

    /// Claims a letter, together with all others that are to be claimed now.
    async fn claim(&mut self, key: String) -> Result<(), Error> {
        let mut keys = vec![key];
        self.orders.retain(|order| match order {
            Order::Claim { key } => {
                keys.push(key.clone());
                false
            }
            _ => true,
        });
        let note = |key: &String| Some((key.clone(), Note::Claim(self.going.get(key)?.behind)));
        let notes = keys.iter().filter_map(note).collect();
        self.write(notes).await?;
        for key in &keys {
            self.tell_claim(key);
        }
        Ok(())
    }

    fn tell_claim(&mut self, key: &str) {
        let Some(claim) = self.ledger.claim(key) else {
            return;
        };
        let whose = match claim {
            claim if claim.who.store != self.who.store => Claim::Anothers,
            claim if claim.taken_over => Claim::TakenOver,
            claim if claim.run == self.run => Claim::Ours,
            _ => Claim::OursBefore,
        };
        if whose == Claim::Anothers {
            let holder = claim.who.by.clone();
            self.redriven.claimed.push((key.to_owned(), holder));
        }
        self.tell(Input::Claimed {
            key: key.to_owned(),
            claim: whose,
        });
    }

    async fn look_for(&mut self, key: String) -> Result<(), Error> {
        let Some(going) = self.going.get_mut(&key) else {
            return Ok(());
        };
        let seen = if self.found_parked.contains(&going.event.id) {
            Seen::There
        } else {
            let behind = self.ledger.claim(&key).map(|claim| claim.behind);
            on_the_log(self.publisher, &going.event, behind).await?
        };
        if seen == Seen::There {
            "found".clone_into(&mut going.outcome);
            self.redriven.found += 1;
            (self.progress)(&self.redriven);
        }
        self.tell(Input::Looked { key, seen });
        Ok(())
    }

    async fn append(&mut self, key: String, possible_double: bool) -> Result<(), Error> {
        let Some(going) = self.going.get_mut(&key) else {
            return Ok(());
        };
        let mark = Header::new(headers::POSSIBLE_DOUBLE, "1");
        if possible_double && !going.event.headers.contains(&mark) {
            going.event.headers.push(mark);
        }
        let begun = self.publisher.begin_parked(&going.event, &going.valid).await;
        let receipt = match begun {
            Ok(begun) => begun.receipt().await,
            Err(error) => Err(error),
        };
        let result = match receipt {
            Ok(receipt) => {
                going.outcome = describe(&receipt);
                self.redriven.sent += 1;
                self.redriven.marked += usize::from(possible_double);
                self.refused_since = None;
                (self.progress)(&self.redriven);
                StoreResult::Durable { position: 0 }
            }
            Err(source) => {
                let now = self.clock.monotonic();
                let since = *self.refused_since.get_or_insert(now);
                if now.saturating_sub(since) >= REFUSED_MAX {
                    return Err(Error::Publish {
                        identity: key,
                        source,
                    });
                }
                match source.may_have_landed() {
                    true => StoreResult::Unknown,
                    false => StoreResult::Refused,
                }
            }
        };
        self.tell(Input::Appended { key, result });
        Ok(())
    }

    async fn write_endings(&mut self) -> Result<(), Error> {
        let keys = std::mem::take(&mut self.endings);
        let note = |key: &String| Some((key.clone(), Note::Done(self.going.get(key)?.outcome.clone())));
        let notes = keys.iter().filter_map(note).collect();
        self.write(notes).await?;
        for key in keys {
            self.going.remove(&key);
            self.tell(Input::Finished { key });
        }
        Ok(())
    }

    async fn write(&mut self, notes: Vec<(String, Note)>) -> Result<(), Error> {
        let cluster = self.publisher.cluster();
        self.ledger
            .write(cluster, self.clock, &self.run, self.who, notes)
            .await
    }
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
        Receipt::Parked { lane, sequence } => {
            let partition = lane
                .partition
                .map_or_else(String::new, |index| format!("-{index}"));
            format!(
                "{}{partition} by way of the standby store, {sequence}",
                lane.topic
            )
        }
        Receipt::DeadLettered { cause, .. } => format!("dead-lettered again: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use evenkeel::{Config, Kafka, TopicName};
    use evenkeel_broker::admin::NewTopic;
    use evenkeel_broker::batch::RecordView;
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
        _broker: Broker,
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
            _broker: broker,
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
            self.redrive_with(store, Options::default()).await
        }

        async fn redrive_with(&mut self, store: &str, options: Options) -> Redriven {
            let plan = self.plan().await;
            let (clock, who) = (SystemClock::default(), who(store));
            let (publisher, ledger) = (&self.publisher, &mut self.ledger);
            let redriven = execute(plan, publisher, ledger, &clock, &who, options, |_| {}).await;
            self.drained().await;
            redriven.unwrap()
        }

        /// Waits until nothing is parked.
        async fn drained(&self) {
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            while self.publisher.parked().await.unwrap().events > 0 {
                assert!(std::time::Instant::now() < deadline, "it does not drain");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }

        /// What an earlier run did that was killed: it claimed, and put its event into the store when `sends`.
        async fn interrupted(&mut self, store: &str, sends: bool) {
            let (keys, mut going) = ready(self.plan().await, &self.publisher).await.unwrap();
            let (key, going) = (keys[0].clone(), going.remove(&keys[0]).unwrap());
            let (clock, cluster) = (SystemClock::default(), self.publisher.cluster());
            let claims = vec![(key, Note::Claim(going.behind))];
            self.ledger
                .write(cluster, &clock, "killed", &who(store), claims)
                .await
                .unwrap();
            if sends {
                let begun = self.publisher.begin_parked(&going.event, &going.valid).await;
                let receipt = begun.unwrap().receipt().await.unwrap();
                assert!(matches!(receipt, Receipt::Parked { .. }), "{receipt:?}");
            }
        }

        /// How often the event is on its topic, and how often it is marked there.
        async fn events(&self) -> (usize, usize) {
            let partition = TopicPartition::new(self.orders.clone(), 0);
            let cluster = self.publisher.cluster();
            let all = cluster.search(&partition, 0, 100, |_| true).await.unwrap();
            let is_marked = |record: &RecordView<'_>| record.header(headers::POSSIBLE_DOUBLE).is_some();
            let marked = cluster.search(&partition, 0, 100, is_marked).await.unwrap();
            (all.len(), marked.len())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_letter_is_sent_once_however_often_it_is_redriven() {
        let mut scene = scene().await;
        assert_eq!(scene.redrive("s").await.sent, 1);
        assert_eq!(scene.redrive("s").await, Redriven::default());
        assert_eq!(scene.events().await, (1, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_was_killed_after_it_sent_is_not_repeated() {
        let mut scene = scene().await;
        scene.interrupted("s", true).await;
        let redriven = scene.redrive("s").await;
        assert_eq!((redriven.sent, redriven.found), (0, 1));
        assert_eq!(scene.events().await, (1, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_was_killed_before_it_sent_is_gone_on_with() {
        let mut scene = scene().await;
        scene.interrupted("s", false).await;
        assert_eq!(scene.redrive("s").await.sent, 1);
        assert_eq!(scene.events().await, (1, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_claim_of_another_store_is_left_alone() {
        let mut scene = scene().await;
        scene.interrupted("other", false).await;
        let redriven = scene.redrive("s").await;
        assert_eq!((redriven.sent, redriven.claimed.len()), (0, 1));
        assert_eq!(scene.events().await, (0, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_another_store_claimed_is_taken_over_on_demand_and_marked() {
        let mut scene = scene().await;
        scene.interrupted("burnt down", false).await;
        let options = Options {
            take_over: true,
            ..Options::default()
        };
        let redriven = scene.redrive_with("s", options).await;
        assert_eq!((redriven.sent, redriven.marked), (1, 1));
        assert_eq!(redriven.claimed, []);
        assert_eq!(scene.events().await, (1, 1));
        assert_eq!(scene.redrive("s").await, Redriven::default());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_another_store_sent_is_found_when_it_is_taken_over() {
        let mut scene = scene().await;
        scene.interrupted("burnt down", true).await;
        scene.drained().await;
        let options = Options {
            take_over: true,
            ..Options::default()
        };
        let redriven = scene.redrive_with("s", options).await;
        assert_eq!((redriven.sent, redriven.found), (0, 1));
        assert_eq!(scene.events().await, (1, 0));
    }
}
