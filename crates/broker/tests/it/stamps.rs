//! Stamps: a batch lands once however often it is sent (invariant **once**).

use evenkeel_flow::Answer;

use crate::brokers::{Bench, appended, connect, on_every_broker};

on_every_broker! {
    the_same_stamp_again_is_answered_and_not_appended,
    a_batch_out_of_turn_is_refused,
    a_batch_beyond_memory_is_refused,
    a_new_epoch_begins_at_zero_and_fences_the_older,
    several_partitions_share_a_request,
    pipelined_batches_land_in_order,
}

async fn the_same_stamp_again_is_answered_and_not_appended(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "again").await;
    let first = bench.batch(0, 0, &["one", "two"]);
    assert_eq!(bench.send(&first).await, appended(0));
    let other = connect(bootstrap).await;
    assert_eq!(bench.send_over(&other, &first).await, appended(0));
    for (sequence, value) in [(2, "three"), (3, "four"), (4, "five")] {
        assert_eq!(
            bench.send(&bench.batch(0, sequence, &[value])).await,
            appended(sequence.into())
        );
    }
    assert_eq!(
        bench.send_over(&other, &first).await,
        appended(0),
        "later batches are in"
    );
    assert_eq!(bench.values().await, ["one", "two", "three", "four", "five"]);
}

async fn a_batch_out_of_turn_is_refused(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "turn").await;
    assert_eq!(bench.send(&bench.batch(0, 0, &["one"])).await, appended(0));
    assert_eq!(
        bench.send(&bench.batch(0, 2, &["three"])).await,
        Answer::OutOfTurn
    );
    assert_eq!(bench.send(&bench.batch(0, 1, &["two"])).await, appended(1));
    assert_eq!(bench.send(&bench.batch(0, 2, &["three"])).await, appended(2));
    assert_eq!(bench.values().await, ["one", "two", "three"]);
}

async fn a_batch_beyond_memory_is_refused(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "memory").await;
    let batches: Vec<_> = (0..7).map(|sequence| bench.batch(0, sequence, &["x"])).collect();
    for batch in &batches {
        assert!(matches!(bench.send(batch).await, Answer::Appended { .. }));
    }
    // The last five are remembered.
    for (position, batch) in batches.iter().enumerate().skip(2) {
        assert_eq!(
            bench.send(batch).await,
            appended(i64::try_from(position).unwrap())
        );
    }
    // What is further back is refused in one way or another, and never appended.
    for batch in &batches[..2] {
        let answer = bench.send(batch).await;
        assert!(
            matches!(answer, Answer::OutOfTurn | Answer::Appended { offset: None }),
            "{answer:?}"
        );
    }
    assert_eq!(bench.values().await.len(), 7);
}

async fn a_new_epoch_begins_at_zero_and_fences_the_older(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "epoch").await;
    assert_eq!(bench.send(&bench.batch(0, 0, &["one"])).await, appended(0));
    assert_eq!(bench.send(&bench.batch(1, 1, &["no"])).await, Answer::OutOfTurn);
    assert_eq!(bench.send(&bench.batch(1, 0, &["two"])).await, appended(1));
    assert_eq!(bench.send(&bench.batch(0, 1, &["late"])).await, Answer::Fenced);
    assert_eq!(bench.values().await, ["one", "two"]);
}

async fn several_partitions_share_a_request(bootstrap: &str) {
    let bench = Bench::with(bootstrap, "shared", 3, 1, &[]).await;
    let batches: Vec<_> = (0..3)
        .map(|partition| bench.outgoing(partition, bench.batch(0, 0, &["x", "y"]).bytes))
        .collect();
    let answers = bench.send_all(&bench.cluster, &batches).await;
    assert_eq!(answers, [appended(0); 3]);
}

async fn pipelined_batches_land_in_order(bootstrap: &str) {
    let bench = Bench::new(bootstrap, "pipeline").await;
    // The first goes alone, as every session's does.
    assert_eq!(bench.send(&bench.batch(0, 0, &["0"])).await, appended(0));
    let leader = bench.cluster.leader(&bench.partition(0)).await.unwrap();
    for round in 0..20 {
        let first = 1 + round * 5;
        let values: Vec<String> = (first..first + 5).map(|value| value.to_string()).collect();
        let mut under_way = Vec::new();
        for (sequence, value) in (first..).zip(&values) {
            let batch = [bench.batch(0, sequence, &[value])];
            let cluster = bench.cluster.clone();
            under_way.push(Box::pin(async move {
                cluster
                    .send(leader, &batch, crate::brokers::PATIENCE)
                    .await
                    .outcomes[0]
                    .answer
            }));
        }
        let answers = futures_util::future::join_all(under_way).await;
        let expected: Vec<_> = (first..first + 5).map(|offset| appended(offset.into())).collect();
        assert_eq!(answers, expected);
    }
    let expected: Vec<String> = (0..=100).map(|value| value.to_string()).collect();
    assert_eq!(bench.values().await, expected);
}
