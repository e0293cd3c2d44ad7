//! A redrive against the embedded broker, as it meets crashes, other redrives and lost stores.

use std::collections::HashMap;
use std::sync::Arc;

use evenkeel::{Config, Kafka};
use evenkeel_broker::admin::NewTopic;
use evenkeel_broker::batch::RecordView;
use evenkeel_broker::fetch::Until;
use evenkeel_embedded::Broker;
use evenkeel_event::clock::{SystemClock, Timestamp};
use evenkeel_event::letter::{Cause, Origin, Stage};
use evenkeel_event::{Code, Event, EventId};
use evenkeel_schema::avro::Schema;
use evenkeel_schema::{Contract, SchemaId};

use super::*;
use crate::redrive::letter::readable;
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

const TAKE_OVER: Options = Options {
    rate_per_second: 0,
    take_over: true,
};

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

fn letter(id: &str) -> evenkeel_event::Letter {
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
    let id = EventId::new(id).unwrap();
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
    publisher.publish_letter(letter("e1")).await.unwrap();
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
    async fn plan(&self, take_over_to: Option<&str>) -> Plan {
        let cluster = self.publisher.cluster();
        let (letters, others) = read(cluster, &topic("shop.publish.dlt"), 10).await.unwrap();
        assert_eq!(others, 0);
        let allowed = [self.orders.clone()];
        plan(
            cluster,
            letters,
            &self.contracts,
            &allowed,
            &self.ledger,
            take_over_to,
        )
        .await
        .unwrap()
    }

    async fn redrive(&mut self, store: &str) -> Redriven {
        self.redrive_with(store, Options::default()).await
    }

    async fn redrive_with(&mut self, store: &str, options: Options) -> Redriven {
        let plan = self.plan(options.take_over.then_some(store)).await;
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
        let (letters, mut going) = ready(self.plan(None).await, &self.publisher).await.unwrap();
        let key = letters[0].key.clone();
        let going = going.remove(&key).unwrap();
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

    /// What an earlier run did whose store was lost when it had ended: nothing of it has left that store.
    async fn done_and_lost(&mut self, store: &str) {
        self.interrupted(store, false).await;
        let (clock, cluster) = (SystemClock::default(), self.publisher.cluster());
        let who = who(store);
        let done = vec![("shop.publish.dlt/e1".to_owned(), Note::Done("parked".to_owned()))];
        let written = self.ledger.write(cluster, &clock, "ended", &who, done);
        written.await.unwrap();
    }

    /// The ids of the events on their topic, as they stand there.
    async fn ids(&self) -> Vec<String> {
        let partition = TopicPartition::new(self.orders.clone(), 0);
        let mut range = self
            .publisher
            .cluster()
            .read(partition.clone(), At::Earliest, Until::End)
            .await
            .unwrap();
        let mut ids = Vec::new();
        while let Some(piece) = range.next().await.unwrap() {
            let batch = readable(&partition, &piece).unwrap();
            ids.extend(
                batch.records().map(|record| {
                    String::from_utf8_lossy(record.header(headers::CE_ID).unwrap()).into_owned()
                }),
            );
        }
        ids
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
    let redriven = scene.redrive_with("s", TAKE_OVER).await;
    assert_eq!((redriven.sent, redriven.marked), (1, 1));
    assert_eq!(redriven.claimed, []);
    assert_eq!(scene.events().await, (1, 1));
    assert_eq!(scene.redrive("s").await, Redriven::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_store_lost_after_it_was_done_is_sent_again_when_it_is_taken_over() {
    let mut scene = scene().await;
    scene.done_and_lost("burnt down").await;
    assert_eq!(scene.redrive("s").await, Redriven::default(), "it counts as done");
    let redriven = scene.redrive_with("s", TAKE_OVER).await;
    assert_eq!((redriven.sent, redriven.marked), (1, 1));
    assert_eq!(scene.events().await, (1, 1));
    assert_eq!(scene.redrive_with("s", TAKE_OVER).await, Redriven::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_store_did_is_found_or_left_alone_when_it_is_taken_over() {
    let mut scene = scene().await;
    assert_eq!(scene.redrive("elsewhere").await.sent, 1);
    assert_eq!(scene.redrive_with("s", TAKE_OVER).await.found, 1);
    assert_eq!(scene.redrive_with("s", TAKE_OVER).await, Redriven::default());
    let orders = scene.orders.clone();
    let compact = [("cleanup.policy", Some("compact"))];
    let cluster = scene.publisher.cluster();
    cluster.change_settings(&orders, &compact).await.unwrap();
    let redriven = scene.redrive_with("another", TAKE_OVER).await;
    assert_eq!((redriven.sent, redriven.found, redriven.unknowable), (0, 0, 1));
    assert_eq!(
        scene.redrive_with("another", TAKE_OVER).await,
        Redriven::default()
    );
    assert_eq!(scene.events().await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_a_key_do_not_pass_one_that_another_store_claimed() {
    let mut scene = scene().await;
    scene.interrupted("other", false).await;
    scene.publisher.publish_letter(letter("e2")).await.unwrap();
    let redriven = scene.redrive("s").await;
    assert_eq!((redriven.sent, redriven.claimed.len()), (0, 1));
    assert_eq!(redriven.held, ["shop.publish.dlt/e2"]);
    assert_eq!(
        scene.redrive("other").await.sent,
        2,
        "none of them was claimed here"
    );
    assert_eq!(scene.redrive("s").await, Redriven::default());
    assert_eq!(scene.ids().await, ["e1", "e2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_store_sent_is_found_when_it_is_taken_over() {
    let mut scene = scene().await;
    scene.interrupted("burnt down", true).await;
    scene.drained().await;
    let redriven = scene.redrive_with("s", TAKE_OVER).await;
    assert_eq!((redriven.sent, redriven.found), (0, 1));
    assert_eq!(scene.events().await, (1, 0));
}
