//! A store on a server is one application's, and is prepared when its server first answers.

use std::time::Duration;

use evenkeel_store::{Error, Keeper, ServerStandby, SharedStandby as _};
use futures_util::future::join_all;

use crate::keeper::{Faults, Faulty};

const LIMIT: u64 = 1 << 30;

/// Opens the same store for several applications; `keeper` is another process's way to it each time.
pub(crate) async fn belongs_to_one_application<K: Keeper>(keeper: impl AsyncFn() -> K) {
    let looks = ServerStandby::looked_at_by("orders", keeper().await);
    looks.prepare().await.unwrap();

    let contest = join_all(["bills", "carts"].map(async |name| {
        let store = ServerStandby::owned_by(name, keeper().await, LIMIT);
        (name, store.prepare().await)
    }));
    let (won, lost): (Vec<_>, Vec<_>) = contest.await.into_iter().partition(|(_, result)| result.is_ok());
    let ([(owner, _)], [(other, Err(error))]) = (&won[..], &lost[..]) else {
        panic!("who looks takes nothing, and one of two gets it: {won:?} {lost:?}");
    };
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    let told = error.to_string();
    assert!(
        told.contains(owner) && told.contains("publish.application"),
        "{told}"
    );

    ServerStandby::owned_by(owner, keeper().await, LIMIT)
        .prepare()
        .await
        .unwrap();
    let looks = ServerStandby::looked_at_by(other, keeper().await);
    assert!(matches!(looks.leases().await, Err(Error::Refused { .. })));

    ServerStandby::owned_by(owner, keeper().await, LIMIT)
        .let_go()
        .await
        .unwrap();
    ServerStandby::owned_by(other, keeper().await, LIMIT)
        .prepare()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_belongs_to_one_application() {
    let server = Faulty::new(0, Faults::default());
    belongs_to_one_application(async || server.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leaves_the_store_to_who_took_it() {
    let faults = Faults {
        unanswered: 500,
        ..Faults::default()
    };
    let server = Faulty::new(7, faults);
    let store = ServerStandby::owned_by("bills", server.clone(), LIMIT);
    while let Err(error) = store.prepare().await {
        assert!(error.is_outage(), "{error}");
    }
    let other = ServerStandby::owned_by("carts", server, LIMIT);
    assert!(matches!(other.prepare().await, Err(Error::Refused { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_away_at_the_start_is_prepared_when_it_answers() {
    let faults = Faults {
        answer_after: Duration::from_secs(1),
        ..Faults::default()
    };
    let server = Faulty::new(0, faults);
    server.set_away(true);
    let store = ServerStandby::owned_by("bills", server.clone(), LIMIT);
    let asked = join_all((0..20).map(|_| store.leases())).await;
    assert!(
        asked
            .iter()
            .all(|asked| asked.as_ref().is_err_and(Error::is_outage)),
        "{asked:?}"
    );
    assert_eq!(
        server.prepares(),
        1,
        "who waits for an attempt shares what became of it"
    );

    server.set_away(false);
    assert!(store.leases().await.unwrap().is_empty());
    store.diversions().await.unwrap();
    assert_eq!(server.prepares(), 2, "once it went well it is not made again");
}
