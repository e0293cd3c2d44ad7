use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use evenkeel::{Consumer, Failure, Received};
use evenkeel_event::headers;
use evenkeel_schema::avro::Schema;
use serde::Deserialize;

use crate::listener::{
    Answers, FOREIGN, GROUP, Heard, Mood, UNCACHED, UNKNOWN, append, append_orders, cluster, framed, letters,
    listen, options, record, until,
};
use crate::stage::{Seen, Stage, orders, publish_all};

const KEYS: [&str; 5] = ["ann", "bob", "cyd", "dan", "eve"];

#[tokio::test(flavor = "multi_thread")]
async fn events_come_typed_in_order_and_are_committed() {
    #[derive(Debug, Deserialize)]
    struct Order {
        number: i64,
        note: String,
    }
    let stage = Stage::new().await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &KEYS, 0..50).await;
    let heard = Heard::default();
    let noting = heard.clone();
    let handler = move |event: Received| {
        let noting = noting.clone();
        async move {
            let order: Order = event.read()?;
            let expected = format!("-{}", order.number);
            assert!(event.id.as_ref().unwrap().to_string().ends_with(&expected));
            assert_eq!(order.note, "as it lies");
            assert_eq!(event.event_type(), Some("order.placed"));
            noting.note(&event);
            Ok(())
        }
    };
    let consumer = Consumer::start(&publisher, GROUP, vec![orders()], options(), handler).unwrap();
    until("all are handled", || consumer.counts().handled() == 250).await;
    consumer.stop().await.unwrap();
    for key in KEYS {
        let expected: Vec<String> = (0..50).map(|number| format!("{key}-{number}")).collect();
        assert_eq!(heard.by_key()[key], expected);
    }
    let lag = publisher.cluster().lag(GROUP).await.unwrap();
    assert_eq!(
        lag.iter().map(evenkeel_broker::admin::Lag::behind).sum::<i64>(),
        0
    );
    assert_eq!(lag.iter().map(|lag| lag.committed).sum::<i64>(), 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_reads_with_its_own_version_of_the_schema() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Order {
        number: i64,
        currency: String,
    }
    let second = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
        {"name":"number","type":"long"},{"name":"currency","type":"string","default":"GBP"}]}"#;
    let stage = Stage::new().await;
    let publisher = stage.publisher().await;
    publish_all(&publisher, &["ann"], 0..3).await;
    let read = Arc::new(Mutex::new(Vec::new()));
    let reading = read.clone();
    let handler = move |event: Received| {
        let reading = reading.clone();
        async move {
            let order: Order = event.read()?;
            reading.lock().unwrap().push(order);
            Ok(())
        }
    };
    let mut options = options();
    options.readers = vec![Arc::new(Schema::parse(second).unwrap())];
    let consumer = Consumer::start(&publisher, GROUP, vec![orders()], options, handler).unwrap();
    until("all are handled", || consumer.counts().handled() == 3).await;
    consumer.stop().await.unwrap();
    let order = |number| Order {
        number,
        currency: "GBP".to_owned(),
    };
    assert_eq!(*read.lock().unwrap(), [order(0), order(1), order(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_dead_lettered_as_it_lies_and_the_partition_goes_on() {
    let (_answers, registry) = Answers::serve().await;
    let mut stage = Stage::new().await;
    stage.registry = registry;
    let cluster = cluster(&stage).await;
    let trailing = [framed(7, 1), vec![0]].concat();
    let truncated = framed(7, 1)[..6].to_vec();
    // A letter of what is nearly as large as a topic takes is larger than that.
    let large = vec![b'x'; (1 << 20) - 400];
    let wrong = [
        ("unframed", b"{}".to_vec()),
        ("unknown-schema-id", framed(UNKNOWN, 1)),
        ("undecodable", truncated),
        ("undecodable", trailing),
        ("undecodable", framed(FOREIGN, 1)),
        ("unframed", large),
    ];
    append_orders(&cluster, 1, 0..1).await;
    for (index, (_, value)) in wrong.iter().enumerate() {
        let one = record(&format!("wrong-{index}"), value.clone());
        assert_eq!(
            append(&cluster, 1, &[one]).await,
            1 + i64::try_from(index).unwrap()
        );
    }
    append_orders(&cluster, 1, 1..2).await;
    let publisher = stage.publisher().await;
    let heard = Heard::default();
    let consumer = listen(&publisher, &heard);
    until("the last one is handled", || heard.len() == 2).await;
    assert_eq!(heard.offsets(1), [0, 7]);
    assert_eq!(consumer.counts().dead_lettered(), 6);
    consumer.stop().await.unwrap();
    stage.drained(&publisher).await;
    let mut found = stage.read(&letters()).await;
    found.sort_by_key(|letter| letter.headers[headers::DLQ_OFFSET].clone());
    assert_eq!(found.len(), wrong.len());
    for (index, (letter, (code, value))) in found.iter().zip(&wrong).enumerate() {
        assert_eq!(letter.value, *value);
        assert_eq!(letter.key.as_deref(), Some(b"ann".as_slice()));
        assert_eq!(letter.id, format!("wrong-{index}"));
        let offset = (index + 1).to_string();
        for (name, expected) in [
            ("own", "kept"),
            (headers::DLQ_CODE, code),
            (headers::DLQ_TOPIC, "orders"),
            (headers::DLQ_PARTITION, "1"),
            (headers::DLQ_OFFSET, offset.as_str()),
            (headers::DLQ_GROUP, GROUP),
            (headers::DLQ_DELIVERY_COUNT, "1"),
        ] {
            assert_eq!(letter.headers[name], expected, "{name} of {index}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_registry_says_nothing_a_partition_waits_and_the_others_go_on() {
    for mood in [Mood::Unavailable, Mood::Misrouted] {
        let (answers, registry) = Answers::serve().await;
        let mut stage = Stage::new().await;
        stage.registry = registry;
        let cluster = cluster(&stage).await;
        let publisher = stage.publisher().await;
        answers.turn(mood);
        let uncached = |number| record(&format!("uncached-{number}"), framed(UNCACHED, number));
        append(&cluster, 0, &[uncached(0), uncached(1)]).await;
        let heard = Heard::default();
        let consumer = listen(&publisher, &heard);
        until("the registry was asked again", || answers.refused() > 2).await;
        append_orders(&cluster, 1, 0..2).await;
        until("the other partition goes on", || heard.len() == 2).await;
        assert_eq!(heard.offsets(1), [0, 1]);
        answers.turn(Mood::Well);
        until("the partition goes on", || heard.len() == 4).await;
        assert_eq!(heard.offsets(0), [0, 1]);
        assert_eq!(consumer.counts().dead_lettered(), 0);
        consumer.stop().await.unwrap();
    }
}

/// Lets `fails` decide by the number of the event and of the call, from 1; consumes four events that way.
async fn failing(fails: fn(i64, u32) -> Result<(), Failure>) -> (Vec<i64>, Vec<Seen>) {
    let stage = Stage::new().await;
    let cluster = cluster(&stage).await;
    append_orders(&cluster, 0, 0..4).await;
    let publisher = stage.publisher().await;
    let heard = Heard::default();
    let (noting, calls) = (heard.clone(), Arc::new(AtomicU32::new(0)));
    let handler = move |event: Received| {
        let (noting, calls) = (noting.clone(), calls.clone());
        async move {
            noting.note(&event);
            let call = if event.offset == 1 {
                calls.fetch_add(1, Ordering::Relaxed) + 1
            } else {
                1
            };
            fails(event.offset, call)
        }
    };
    let consumer = Consumer::start(&publisher, GROUP, vec![orders()], options(), handler).unwrap();
    let finished = || consumer.counts().handled() + consumer.counts().dead_lettered();
    until("all are finished", || finished() == 4).await;
    let letters = if consumer.counts().dead_lettered() > 0 {
        // They are parked when their topic does not come to be at once.
        stage.drained(&publisher).await;
        stage.read(&letters()).await
    } else {
        Vec::new()
    };
    consumer.stop().await.unwrap();
    (heard.offsets(0), letters)
}

fn check_letter(found: &[Seen], code: &str, deliveries: &str, message: &str) {
    let [letter] = found else {
        panic!("{found:?}");
    };
    assert_eq!(letter.value, framed(7, 1));
    assert_eq!(letter.headers[headers::DLQ_OFFSET], "1");
    assert_eq!(letter.headers[headers::DLQ_CODE], code);
    assert_eq!(letter.headers[headers::DLQ_STAGE], "handle");
    assert_eq!(letter.headers[headers::DLQ_DELIVERY_COUNT], deliveries);
    assert_eq!(letter.headers[headers::DLQ_MESSAGE], message);
    assert_eq!(letter.headers[headers::DLQ_SCHEMA_ID], "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_is_tried_again_in_its_place() {
    let once = |offset, call| {
        if offset == 1 && call == 1 {
            return Err(std::io::Error::other("not yet").into());
        }
        Ok(())
    };
    assert_eq!(failing(once).await, (vec![0, 1, 1, 2, 3], Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fails_each_time_is_dead_lettered_with_the_number_of_its_deliveries() {
    let always = |offset, _| {
        if offset == 1 {
            return Err(std::io::Error::other("no such customer").into());
        }
        Ok(())
    };
    let (offsets, letters) = failing(always).await;
    assert_eq!(offsets, [0, 1, 1, 1, 2, 3]);
    check_letter(&letters, "handler-failed", "3", "no such customer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_can_never_be_handled_is_dead_lettered_at_once() {
    let never = |offset, _| {
        if offset == 1 {
            return Err(Failure::Never("refused".to_owned()));
        }
        Ok(())
    };
    let (offsets, letters) = failing(never).await;
    assert_eq!(offsets, [0, 1, 2, 3]);
    check_letter(&letters, "handler-rejected", "1", "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_stops_no_partition() {
    let panicking = |offset, _| {
        assert_ne!(offset, 1, "on purpose");
        Ok(())
    };
    let (offsets, letters) = failing(panicking).await;
    assert_eq!(offsets, [0, 1, 1, 1, 2, 3]);
    check_letter(&letters, "handler-failed", "3", "the handler panicked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_twice_is_handled_once() {
    let stage = Stage::new().await;
    let cluster = cluster(&stage).await;
    append_orders(&cluster, 0, 0..2).await;
    append_orders(&cluster, 0, 0..3).await;
    let publisher = stage.publisher().await;
    let heard = Heard::default();
    let consumer = listen(&publisher, &heard);
    until("all are finished", || heard.len() == 3).await;
    assert_eq!(heard.offsets(0), [0, 1, 4]);
    assert_eq!(consumer.counts().repeated(), 2);
    consumer.stop().await.unwrap();
    let lag = publisher.cluster().lag(GROUP).await.unwrap();
    assert_eq!(lag.iter().map(|lag| lag.committed).sum::<i64>(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_lettered_event_is_handled_when_it_is_sent_on() {
    let stage = Stage::new().await;
    let cluster = cluster(&stage).await;
    append_orders(&cluster, 0, 0..1).await;
    let publisher = stage.publisher().await;
    let handler = |event: Received| async move {
        if event.offset == 0 {
            return Err(Failure::Never("not at first".to_owned()));
        }
        Ok(())
    };
    let consumer = Consumer::start(&publisher, GROUP, vec![orders()], options(), handler).unwrap();
    until("it is dead-lettered", || consumer.counts().dead_lettered() == 1).await;
    append_orders(&cluster, 0, 0..1).await;
    until("it is handled", || consumer.counts().handled() == 1).await;
    assert_eq!(consumer.counts().repeated(), 0);
    consumer.stop().await.unwrap();
}
