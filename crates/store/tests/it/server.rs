//! What all stores on servers have in common, over a server in memory that fails on purpose.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_flow::diversion::{Diversion, Phase};
use evenkeel_store::{
    AppendId, AppendIn, BoxFuture, Error, Place, ServerStandby, SharedStandby, Span, Standby,
};

use crate::keeper::{Faults, Faulty};
use crate::rows::{append_id, place, row, rows, stamped, stamping, texts};
use crate::{conformance, shared};

const LIMIT: u64 = 1 << 30;

struct OnFaulty {
    faults: Faults,
    kept: Mutex<(u64, Option<Faulty>)>,
}

impl OnFaulty {
    /// Another process's store on the server of the last call, or on a new one.
    fn store(&self, again: bool) -> Arc<ServerStandby<Faulty>> {
        let mut kept = self.kept.lock().unwrap();
        kept.0 += 1;
        let server = kept.1.take().filter(|_| again);
        let server = server.unwrap_or_else(|| Faulty::new(kept.0, self.faults));
        Arc::new(ServerStandby::new(kept.1.insert(server).clone(), LIMIT))
    }
}

impl conformance::Factory for OnFaulty {
    fn open(&self, again: bool) -> BoxFuture<'_, Arc<dyn Standby>> {
        Box::pin(async move { self.store(again) as Arc<dyn Standby> })
    }
}

impl shared::Factory for OnFaulty {
    fn open_shared(&self, again: bool) -> BoxFuture<'_, Arc<dyn SharedStandby>> {
        Box::pin(async move { self.store(again) as Arc<dyn SharedStandby> })
    }
}

async fn passes_with(seed: u64, faults: Faults) {
    let factory = OnFaulty {
        faults,
        kept: Mutex::new((seed, None)),
    };
    conformance::run(&factory).await;
    shared::run(&factory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suites() {
    passes_with(0, Faults::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suites_where_others_come_between_and_leave_litter() {
    for seed in 1..4 {
        let faults = Faults {
            refused: 200,
            littered: 200,
            ..Faults::default()
        };
        passes_with(seed * 1_000, faults).await;
    }
}

/// Appends until it is known what became of it, as a publisher does.
async fn append_until_known(
    store: &dyn SharedStandby,
    at: &Place,
    id: AppendId,
    text: &str,
) -> Result<AppendIn, Error> {
    let mut last = None;
    for _ in 0..200 {
        match store.append_in(at, 0, id, rows(&[text, "+"])).await {
            Ok(made) => return Ok(made),
            Err(error) => {
                assert!(error.is_outage(), "{error}");
                last = Some(error);
            }
        }
    }
    Err(last.unwrap())
}

/// Several processes append to one place while answers are lost and requests come late: each append is made once, whole, and
/// in its process's order.
#[tokio::test(flavor = "multi_thread")]
async fn each_append_is_made_once_whatever_is_lost() {
    for seed in 0..30 {
        let (writers, appends) = (3_u64, 20_u64);
        let calm = Faulty::new(seed, Faults::default());
        let at = place("orders", Some(0));
        let observer = ServerStandby::new(calm.clone(), LIMIT);
        let diverted = Diversion {
            phase: Phase::Diverted,
            ..Diversion::default()
        };
        observer.put_diversion(&at, 0, None, diverted).await.unwrap();
        let faults = Faults {
            unreached: 60,
            unanswered: 60,
            late: 60,
            refused: 60,
            littered: 60,
            ..Faults::default()
        };
        let mut running = Vec::new();
        for writer in 0..writers {
            let (server, at) = (calm.with(faults), at.clone());
            running.push(tokio::spawn(async move {
                let store = ServerStandby::new(server, LIMIT);
                for number in 0..appends {
                    let id = AppendId {
                        process: u128::from(writer),
                        number,
                    };
                    let text = format!("{writer}:{number:03}");
                    let made = append_until_known(&store, &at, id, &text).await.unwrap();
                    assert!(matches!(made, AppendIn::Made(_)));
                }
            }));
        }
        for writer in running {
            writer.await.unwrap();
        }
        let found = texts(&observer, &at).await;
        let firsts: Vec<&String> = found.iter().step_by(2).collect();
        assert!(found.iter().skip(1).step_by(2).all(|second| second == "+"));
        assert_eq!(firsts.len() as u64, writers * appends, "seed {seed}: each once");
        for writer in 0..writers {
            let prefix = format!("{writer}:");
            let own: Vec<_> = firsts.iter().filter(|text| text.starts_with(&prefix)).collect();
            assert_eq!(own.len() as u64, appends, "seed {seed}");
            assert!(own.is_sorted(), "seed {seed}: in the writer's order");
        }
        assert!(observer.damaged().await.unwrap().is_empty());
    }
}

/// Whoever has the newest record would go on and on: on a clock that the test moves, four processes that always have something
/// to append each come to their turns, and none of them is refused.
#[tokio::test(start_paused = true)]
async fn processes_at_one_place_take_turns() {
    const SHARED_FOR: Duration = Duration::from_secs(30);
    let answer_after = Duration::from_millis(10);
    let slow = Faults {
        answer_after,
        ..Faults::default()
    };
    let (server, at) = (Faulty::new(0, slow), place("orders", Some(0)));
    let end = tokio::time::Instant::now() + SHARED_FOR;
    let processes = (0..4_u64).map(|process| {
        let (store, at) = (ServerStandby::new(server.clone(), LIMIT), at.clone());
        tokio::spawn(async move {
            let (process, mut made, mut longest) = (u128::from(process), 0, Duration::ZERO);
            while tokio::time::Instant::now() < end {
                let began = tokio::time::Instant::now();
                let id = AppendId {
                    process,
                    number: made,
                };
                store.append(&at, id, rows(&["a"])).await.unwrap();
                longest = longest.max(began.elapsed());
                made += 1;
            }
            (made, longest)
        })
    });
    let mut of_processes = Vec::new();
    for process in processes.collect::<Vec<_>>() {
        of_processes.push(process.await.unwrap());
    }
    let made = || of_processes.iter().map(|(made, _)| *made);
    let (fewest, most) = (made().min().unwrap(), made().max().unwrap());
    assert!(fewest * 2 > most, "{of_processes:?}");
    // Beside the pauses, an append of one is a read and a commit.
    let all: u64 = made().sum();
    let possible = SHARED_FOR.as_millis() / (4 * answer_after.as_millis());
    assert!(u128::from(all) > possible, "{of_processes:?}");
    assert!(
        of_processes.iter().all(|(_, longest)| *longest < SHARED_FOR / 10),
        "{of_processes:?}"
    );
}

#[tokio::test]
async fn a_dropped_append_takes_nobody_with_it() {
    let store = Arc::new(ServerStandby::new(Faulty::new(0, Faults::default()), LIMIT));
    let at = place("orders", Some(0));
    let first = store.append(&at, append_id(0), rows(&["a"]));
    // Polled once, so that it has begun the work that the second one joins.
    let second = async {
        tokio::task::yield_now().await;
        store.append(&at, append_id(1), rows(&["b"])).await
    };
    tokio::select! {
        biased;
        _ = first => {}
        second = second => { second.unwrap(); }
    }
    store.append(&at, append_id(1), rows(&["b"])).await.unwrap();
    assert_eq!(texts(&*store, &at).await, ["a", "b"]);
}

#[tokio::test]
async fn refuses_at_its_limit_whoever_appended() {
    let server = Faulty::new(0, Faults::default());
    let (one, other) = (
        ServerStandby::new(server.clone(), 4),
        ServerStandby::new(server.clone(), 4),
    );
    let at = place("orders", Some(0));
    one.append(&at, append_id(0), rows(&["ab"])).await.unwrap();
    let elsewhere = place("orders", Some(1));
    other
        .append(&elsewhere, append_id(1), rows(&["c"]))
        .await
        .unwrap();
    let refused = other.append(&elsewhere, append_id(2), rows(&["de"])).await;
    let Err(Error::Full {
        used_bytes: 3,
        needed_bytes: 2,
        ..
    }) = refused
    else {
        panic!("{refused:?}");
    };
    let again = one.append(&at, append_id(0), rows(&["ab"])).await;
    assert_eq!(again.unwrap(), 0, "what was made is no new append");
    other
        .append(&elsewhere, append_id(3), rows(&["d"]))
        .await
        .unwrap();
}

#[tokio::test]
async fn damaged_rows_are_reported_and_their_neighbours_are_read() {
    let server = Faulty::new(0, Faults::default());
    let at = place("orders", Some(0));
    let store = ServerStandby::new(server.clone(), LIMIT);
    store
        .append(&at, append_id(0), rows(&["aa", "bb", "cc"]))
        .await
        .unwrap();
    let whole = |bytes: &mut Vec<u8>| {
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
    };
    server.damage(whole);
    assert_eq!(texts(&store, &at).await, ["aa", "cc"]);
    store.append(&at, append_id(1), rows(&["d"])).await.unwrap();
    server.lose(&at, 0);
    assert_eq!(texts(&store, &at).await, ["d"]);
    let damaged = store.damaged().await.unwrap();
    let positions: Vec<_> = damaged
        .iter()
        .map(|damage| damage.positions.clone().unwrap())
        .collect();
    assert_eq!(positions, [1..2, 0..3]);
    assert!(damaged.iter().all(|damage| damage.place.as_ref() == Some(&at)));
    store.remove(&at, 2).await.unwrap();
    assert_eq!(store.span(&at).await.unwrap(), Span { head: 2, tail: 4 });
    store.remove(&at, 4).await.unwrap();
    assert_eq!(store.stats().await.unwrap().bytes, 0);
}

/// What a process remembers of a place is good enough to try, never to say no by.
#[tokio::test]
async fn a_no_is_said_by_the_record_as_it_stands() {
    let server = Faulty::new(0, Faults::default());
    let at = place("orders", Some(0));
    let [one, other] = [server.clone(), server].map(|server| ServerStandby::new(server, LIMIT));
    one.append(&at, append_id(0), rows(&["a"])).await.unwrap();
    let diverted = Diversion {
        phase: Phase::Diverted,
        epoch: 3,
        ..Diversion::default()
    };
    let version = other.put_diversion(&at, 0, None, diverted).await.unwrap();
    let made = one.append_in(&at, 3, append_id(1), rows(&["b"])).await.unwrap();
    assert_eq!(made, AppendIn::Made(1));
    other.append(&at, append_id(2), rows(&["c"])).await.unwrap();
    one.store_stamps(&at, vec![stamped(2, 0, 1)]).await.unwrap();
    let next = other
        .put_diversion(&at, version.unwrap(), Some(3), diverted)
        .await
        .unwrap();
    let again = one
        .put_diversion(&at, next.unwrap(), Some(3), diverted)
        .await
        .unwrap();
    assert!(again.is_some());
}

#[tokio::test]
async fn blocks_that_no_record_speaks_of_are_not_there() {
    let server = Faulty::new(0, Faults::default());
    let at = place("orders", Some(0));
    let store = ServerStandby::new(server.clone(), LIMIT);
    store.append(&at, append_id(0), rows(&["a"])).await.unwrap();
    server.litter(&at, 1);
    let piece = store.read(&at, 0, usize::MAX).await.unwrap();
    assert_eq!(piece.rows.len(), 1);
    assert!(store.damaged().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_that_names_it() {
    let server = Faulty::new(0, Faults::default());
    let at = place("orders", Some(7));
    let store = ServerStandby::new(server.clone(), LIMIT);
    store.append(&at, append_id(0), rows(&["a"])).await.unwrap();
    server.damage_record(&at);
    let error = store.read(&at, 0, 1).await.unwrap_err();
    assert!(!error.is_outage() && !error.may_have_been_made());
    let said = error.to_string();
    assert!(said.contains("topic orders partition 7"), "{said}");
}

#[tokio::test]
async fn large_appends_are_read_in_pieces_and_cleaned_up() {
    let server = Faulty::new(0, Faults::default());
    let at = place("orders", Some(0));
    let store = ServerStandby::new(server.clone(), LIMIT);
    let big = "x".repeat(100 << 10);
    let many: Vec<_> = (0..200).map(|_| row(&big)).collect();
    store.append(&at, append_id(0), many).await.unwrap();
    assert_eq!(server.positions(&at).len(), 100, "two rows a block");
    let piece = store.read(&at, 51, 1 << 20).await.unwrap();
    assert_eq!((piece.rows.len(), piece.rows[0].position), (10, 51));
    store.store_stamps(&at, vec![stamped(60, 0, 30)]).await.unwrap();
    let piece = store.read(&at, 60, 1).await.unwrap();
    assert_eq!(piece.rows.len(), 30, "what is stamped together, over many blocks");
    store.remove(&at, 101).await.unwrap();
    assert_eq!(store.stats().await.unwrap().bytes, 99 * (100 << 10));
    while server.positions(&at).first() != Some(&100) {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.read(&at, 0, 1).await.unwrap().rows[0].position, 101);
    let too_large = vec![row(&"x".repeat((64 << 20) + 1))];
    let refused = store.append(&at, append_id(1), too_large).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn a_place_takes_no_more_stamps_than_its_record_holds() {
    let store = ServerStandby::new(Faulty::new(0, Faults::default()), LIMIT);
    let at = place("orders", Some(0));
    let sent = |sequence| evenkeel_store::Row {
        stamping: Some(stamping(sequence, 1)),
        ..row("a")
    };
    let many: Vec<_> = (0..2_048).map(sent).collect();
    store.append(&at, append_id(0), many).await.unwrap();
    let refused = store.append(&at, append_id(1), vec![sent(0)]).await.unwrap_err();
    assert!(refused.is_full(), "{refused}");
    store.append(&at, append_id(1), rows(&["b"])).await.unwrap();
    assert_eq!(store.span(&at).await.unwrap().tail, 2_049);
}
