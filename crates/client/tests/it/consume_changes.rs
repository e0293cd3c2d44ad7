//! Consumers that stop, join, fall behind, and whose broker goes away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel::consume::Options;
use evenkeel::{Consumer, Failure, Kafka, Publisher, Received};
use evenkeel_broker::group::{self, Event, Mark};
use evenkeel_event::headers;
use tokio::sync::Semaphore;

use crate::listener::{GROUP, Heard, append_orders, at, cluster, letters, listen, options, until};
use crate::stage::{Stage, orders, publish_all};

const KEYS: [&str; 5] = ["ann", "bob", "cyd", "dan", "eve"];

/// A consumer whose handler needs a permit for each event of partition 0, and keeps what it has handled.
fn held(publisher: &Publisher, heard: &Heard, gate: &Arc<Semaphore>, options: Options) -> Consumer {
    let (heard, gate) = (heard.clone(), gate.clone());
    let handler = move |event: Received| {
        let (heard, gate) = (heard.clone(), gate.clone());
        async move {
            if event.partition.partition == 0 {
                gate.acquire().await.unwrap().forget();
            }
            heard.note(&event);
            Ok(())
        }
    };
    Consumer::start(publisher, GROUP, vec![orders()], options, handler).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_in_the_middle_the_next_consumer_gets_exactly_the_rest() {
    let stage = Stage::new().await;
    let cluster = cluster(&stage).await;
    for number in 0..40 {
        append_orders(&cluster, 0, number..number + 1).await;
    }
    let publisher = stage.publisher().await;
    let (first, gate) = (Heard::default(), Arc::new(Semaphore::new(11)));
    let consumer = held(&publisher, &first, &gate, options());
    until("it is in the middle", || first.len() == 11).await;
    // The twelfth is in hand or about to be.
    let mut stopping = Box::pin(consumer.stop());
    // What is in hand may end, one by one until the worker has heard of the stop.
    let stopped = loop {
        match tokio::time::timeout(Duration::from_millis(5), &mut stopping).await {
            Ok(stopped) => break stopped,
            Err(_) => gate.add_permits(1),
        }
    };
    stopped.unwrap();
    let second = Heard::default();
    let consumer = listen(&publisher, &second);
    let handled = first.len();
    until("the rest is handled", || second.len() == 40 - handled).await;
    consumer.stop().await.unwrap();
    let all = [first.offsets(0), second.offsets(0)].concat();
    assert_eq!(all, (0..40).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_handler_did_not_end_is_given_to_the_next_consumer() {
    let stage = Stage::new().await;
    let cluster = cluster(&stage).await;
    append_orders(&cluster, 0, 0..20).await;
    let publisher = stage.publisher().await;
    let (first, gate) = (Heard::default(), Arc::new(Semaphore::new(7)));
    let mut options = options();
    options.finish_wait_max = Duration::from_millis(50);
    let consumer = held(&publisher, &first, &gate, options);
    until("it is in the middle", || first.len() == 7).await;
    consumer.stop().await.unwrap();
    let second = Heard::default();
    let consumer = listen(&publisher, &second);
    until("the rest is handled", || second.len() == 13).await;
    consumer.stop().await.unwrap();
    assert_eq!(first.offsets(0), (0..7).collect::<Vec<i64>>());
    assert_eq!(second.offsets(0), (7..20).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_that_a_stop_interrupts_finishes_nothing() {
    let stage = Stage::new().await;
    let cluster = cluster(&stage).await;
    append_orders(&cluster, 0, 0..2).await;
    let publisher = stage.publisher().await;
    let calls = Heard::default();
    let noting = calls.clone();
    let handler = move |event: Received| {
        noting.note(&event);
        async { Err(Failure::Again("the database is away".to_owned())) }
    };
    let mut patient = options();
    patient.retry.attempts_max = u32::MAX;
    let consumer = Consumer::start(&publisher, GROUP, vec![orders()], patient, handler).unwrap();
    until("it was tried", || calls.len() > 2).await;
    consumer.stop().await.unwrap();
    let second = Heard::default();
    let consumer = listen(&publisher, &second);
    until("both are handled", || second.len() == 2).await;
    assert_eq!(second.offsets(0), [0, 1]);
    assert_eq!(consumer.counts().dead_lettered(), 0);
    consumer.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_joins_takes_over_and_nothing_is_skipped() {
    let stage = Stage::new().await;
    drop(cluster(&stage).await);
    let publisher = stage.publisher().await;
    let mut options = options();
    options.group.heartbeat_interval = Duration::from_millis(100);
    let (heard, of_second) = (Heard::default(), Heard::default());
    let start = |own: Option<Heard>| {
        let heard = heard.clone();
        let handler = move |event: Received| {
            heard.note(&event);
            if let Some(own) = &own {
                own.note(&event);
            }
            async { Ok(()) }
        };
        Consumer::start(&publisher, GROUP, vec![orders()], options.clone(), handler).unwrap()
    };
    let first = start(None);
    publish_all(&publisher, &KEYS, 0..20).await;
    until("the first has begun", || heard.len() > 0).await;
    let second = start(Some(of_second.clone()));
    let mut published = 20;
    while of_second.len() == 0 {
        assert!(published < 100_000, "the second member gets nothing");
        publish_all(&publisher, &KEYS, published..published + 20).await;
        published += 20;
    }
    let all = published * KEYS.len();
    let distinct = || heard.by_key().values().flatten().collect::<BTreeSet<_>>().len();
    until("all are handled", || distinct() == all).await;
    first.stop().await.unwrap();
    second.stop().await.unwrap();
    for (key, ids) in heard.by_key() {
        let expected: Vec<String> = (0..published).map(|number| format!("{key}-{number}")).collect();
        assert_eq!(ids, expected, "each once and in order, because nobody crashed");
    }
    let lag = publisher.cluster().lag(GROUP).await.unwrap();
    assert_eq!(
        lag.iter().map(evenkeel_broker::admin::Lag::behind).sum::<i64>(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_not_finished_is_not_taken_for_a_repeated_one() {
    let stage = Stage::new().await;
    let cluster = cluster(&stage).await;
    for partition in 0..3 {
        append_orders(&cluster, partition, 0..1).await;
    }
    let publisher = stage.publisher().await;
    let mut patient = options();
    patient.group.heartbeat_interval = Duration::from_millis(100);
    patient.retry.attempts_max = u32::MAX;
    let is_well = Arc::new(AtomicBool::new(false));
    let start = |calls: &Heard| {
        let (calls, is_well) = (calls.clone(), is_well.clone());
        let handler = move |event: Received| {
            calls.note(&event);
            let is_well = is_well.load(Ordering::Acquire);
            async move {
                if is_well {
                    return Ok(());
                }
                Err(Failure::Again("the database is away".to_owned()))
            }
        };
        Consumer::start(&publisher, GROUP, vec![orders()], patient.clone(), handler).unwrap()
    };
    let (of_first, of_second) = (Heard::default(), Heard::default());
    let first = start(&of_first);
    until("each was tried", || {
        (0..3).all(|index| !of_first.offsets(index).is_empty())
    })
    .await;
    // The second takes some of them over, finishes nothing either, and gives them back.
    let second = start(&of_second);
    until("the second tries", || of_second.len() > 0).await;
    second.stop().await.unwrap();
    is_well.store(true, Ordering::Release);
    until("all are handled", || {
        first.counts().handled() + first.counts().repeated() == 3
    })
    .await;
    assert_eq!(first.counts().repeated(), 0);
    first.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_comes_again_is_not_dead_lettered_twice() {
    let stage = Stage::new().await;
    let cluster = cluster(&stage).await;
    for partition in 0..3 {
        append_orders(&cluster, partition, 0..1).await;
    }
    let publisher = stage.publisher().await;
    let mut quick = options();
    quick.group.heartbeat_interval = Duration::from_millis(100);
    let handler = |_: Received| async { Err(Failure::Never("refused".to_owned())) };
    let consumer = Consumer::start(&publisher, GROUP, vec![orders()], quick.clone(), handler).unwrap();
    until("all are dead-lettered", || consumer.counts().dead_lettered() == 3).await;
    // Another member takes a partition over, commits its beginning again, and leaves.
    let mut other = group::Consumer::join(&cluster, GROUP, vec![orders()], quick.group);
    let claims = loop {
        if let Some(Event::Assigned { claims, .. }) = other.next().await.unwrap()
            && !claims.is_empty()
        {
            break claims;
        }
    };
    let beginning = Mark {
        offset: 0,
        leader_epoch: -1,
    };
    let marks = claims.into_iter().map(|claim| (claim, beginning)).collect();
    other.commit(marks).await.unwrap();
    other.close().await.unwrap();
    let come = || consumer.counts().repeated() + consumer.counts().dead_lettered();
    until("it has come again", || come() > 3).await;
    assert_eq!(consumer.counts().dead_lettered(), 3);
    consumer.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_written_now_is_parked_and_arrives() {
    let mut stage = Stage::new().await;
    let brokers = cluster(&stage).await;
    append_orders(&brokers, 0, 0..3).await;
    let publisher = stage.publisher().await;
    let (gate, heard) = (Arc::new(Semaphore::new(0)), Heard::default());
    let (waiting, noting) = (gate.clone(), heard.clone());
    let handler = move |event: Received| {
        let (waiting, noting) = (waiting.clone(), noting.clone());
        async move {
            noting.note(&event);
            if event.offset == 0 {
                waiting.acquire().await.unwrap().forget();
                return Err(Failure::Never("refused".to_owned()));
            }
            Ok(())
        }
    };
    let consumer = Consumer::start(&publisher, GROUP, vec![orders()], options(), handler).unwrap();
    until("the first is in hand", || heard.len() == 1).await;
    stage.stop_broker().await;
    gate.add_permits(1);
    until("the letter is safe", || consumer.counts().dead_lettered() == 1).await;
    assert_eq!(publisher.parked().await.unwrap().events, 1);
    // What was fetched before goes on meanwhile.
    until("the others are handled", || consumer.counts().handled() == 2).await;
    stage.start_broker().await;
    stage.drained(&publisher).await;
    append_orders(&brokers, 0, 3..4).await;
    until("the partition goes on", || consumer.counts().handled() == 3).await;
    consumer.stop().await.unwrap();
    let found = stage.read(&letters()).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].headers[headers::DLQ_OFFSET], "0");
    assert_eq!(heard.offsets(0), [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_partition_is_paused_and_holds_up_neither_others_nor_the_stop() {
    let stage = Stage::new().await;
    let cluster = cluster(&stage).await;
    // Many more batches than may wait.
    for round in 0..4 {
        for number in 0..50 {
            let id = format!("{round}-{number}");
            let order = crate::listener::record(&id, crate::listener::framed(7, number));
            crate::listener::append(&cluster, 0, &[order]).await;
        }
    }
    let publisher = stage.publisher().await;
    let (heard, gate) = (Heard::default(), Arc::new(Semaphore::new(0)));
    let mut hasty = options();
    hasty.finish_wait_max = Duration::from_millis(50);
    let consumer = held(&publisher, &heard, &gate, hasty.clone());
    for number in 0..20 {
        append_orders(&cluster, 1, number..number + 1).await;
        let heard_before = usize::from(number) + 1;
        until("the other partition goes on", || {
            heard.offsets(1).len() == heard_before
        })
        .await;
    }
    assert_eq!(heard.offsets(0), Vec::<i64>::new());
    consumer.stop().await.unwrap();
    let consumer = held(&publisher, &heard, &gate, hasty);
    gate.add_permits(200);
    until("all are handled", || heard.offsets(0).len() == 200).await;
    consumer.stop().await.unwrap();
    assert_eq!(heard.offsets(0), (0..200).collect::<Vec<i64>>());
    assert_eq!(heard.offsets(1).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_hand_are_not_skipped_when_later_ones_were_deleted() {
    let stage = Stage::new().await;
    let cluster = cluster(&stage).await;
    append_orders(&cluster, 0, 0..10).await;
    let proxy = evenkeel_embedded::proxy::Proxy::start(&stage.address.to_string()).unwrap();
    let mut config = stage.config();
    config.kafka = Kafka::at(proxy.bootstrap());
    let publisher = Publisher::start(config).await.unwrap();
    let (heard, gate) = (Heard::default(), Arc::new(Semaphore::new(1)));
    let consumer = held(&publisher, &heard, &gate, options());
    until("it has begun", || heard.len() == 1).await;
    proxy.cut().await;
    append_orders(&cluster, 0, 10..20).await;
    append_orders(&cluster, 1, 0..1).await;
    cluster.delete_records(&at(0), 15).await.unwrap();
    proxy.restore().await;
    until("it reads again", || heard.offsets(1).len() == 1).await;
    append_orders(&cluster, 1, 1..2).await;
    until("it knows that records are gone", || heard.offsets(1).len() == 2).await;
    gate.add_permits(100);
    until("all that are left are handled", || heard.offsets(0).len() == 15).await;
    consumer.stop().await.unwrap();
    assert_eq!(heard.offsets(0), (0..10).chain(15..20).collect::<Vec<i64>>());
}
