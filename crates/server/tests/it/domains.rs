//! Domains, tokens and claims.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_event::clock::SystemClock;
use evenkeel_server::domains::{Caller, Domains, Error, Unauthenticated};
use evenkeel_server::journal::{Entry, Fault, MemoryJournal};

fn follow(journal: &MemoryJournal) -> Domains {
    Domains::follow(
        Arc::new(journal.clone()),
        Arc::new(SystemClock::default()),
        Duration::from_secs(30),
    )
}

fn bearer(token: &str) -> Option<String> {
    Some(format!("Bearer {token}"))
}

#[tokio::test]
async fn a_token_is_shown_once_and_kept_as_a_hash() {
    let journal = MemoryJournal::new();
    let token = follow(&journal).create("orders", false).await.unwrap();
    let log = format!("{:?}", journal.records());
    assert!(!log.contains(token.reveal()) && log.contains(&token.hash().to_hex()));
    assert_eq!(format!("{token:?}"), "Token(...)");
    // A restart knows it.
    let domains = follow(&journal);
    domains.loaded().await;
    let caller = domains.caller(bearer(token.reveal()).as_deref());
    assert_eq!(
        caller,
        Ok(Caller::Domain {
            name: "orders".to_owned(),
            admin: false
        })
    );
    assert_eq!(domains.caller(None), Ok(Caller::Nameless));
}

#[tokio::test]
async fn a_revoked_token_opens_nothing() {
    let domains = follow(&MemoryJournal::new());
    let token = domains.create("orders", false).await.unwrap();
    let name = domains.read(|state| {
        state
            .domain("orders")
            .unwrap()
            .tokens()
            .next()
            .unwrap()
            .to_owned()
    });
    let second = domains.add_token("orders").await.unwrap();
    domains.revoke_token("orders", &name).await.unwrap();
    assert_eq!(
        domains.caller(bearer(token.reveal()).as_deref()),
        Err(Unauthenticated)
    );
    assert!(domains.caller(bearer(second.reveal()).as_deref()).is_ok());
}

#[tokio::test]
async fn names_are_checked_and_unique() {
    let domains = follow(&MemoryJournal::new());
    for name in ["", "Orders", "1st", "a b", "anonymous", "a:b", &"a".repeat(101)] {
        let refused = domains.create(name, false).await;
        assert!(matches!(refused, Err(Error::InvalidName { .. })), "{name}");
    }
    domains.create("orders", false).await.unwrap();
    assert!(matches!(
        domains.create("orders", true).await,
        Err(Error::Exists { .. })
    ));
    assert!(matches!(
        domains.add_token("nobody").await,
        Err(Error::NoSuchDomain { .. })
    ));
}

#[tokio::test]
async fn tokens_are_limited() {
    let domains = follow(&MemoryJournal::new());
    domains.create("orders", false).await.unwrap();
    for _ in 1..evenkeel_server::domains::TOKENS_MAX {
        domains.add_token("orders").await.unwrap();
    }
    assert!(matches!(
        domains.add_token("orders").await,
        Err(Error::TooManyTokens { .. })
    ));
}

/// Another process claims between our reading and our writing: both records are in the log, the first counts, and compaction
/// changes nothing of it.
#[tokio::test]
async fn the_first_claim_in_the_log_wins() {
    let journal = MemoryJournal::new();
    let domains = follow(&journal);
    domains.loaded().await;
    journal.overtake_next(Entry {
        key: r#"{"type":"owner","subject":"orders-value","record":"theirs"}"#.into(),
        value: Some(r#"{"domain":"loyalty","claimed_at_ms":0}"#.into()),
    });
    let lost = domains.claim("orders-value", "orders").await;
    assert!(matches!(lost, Err(Error::Owned { owner, .. }) if owner == "loyalty"));
    assert_eq!(journal.records().len(), 2);
    journal.compact(true);
    let restarted = follow(&journal);
    restarted.loaded().await;
    assert_eq!(
        restarted.read(|state| state.owner("orders-value").map(str::to_owned)),
        Some("loyalty".to_owned())
    );
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_found_in_the_log() {
    let journal = MemoryJournal::new();
    let domains = follow(&journal);
    journal.fail_next(Fault::AnswerLost);
    domains.claim("orders-value", "orders").await.unwrap();
    assert!(
        matches!(domains.claim("orders-value", "loyalty").await, Err(Error::Owned { owner, .. }) if owner == "orders")
    );
}

#[tokio::test]
async fn foreign_records_are_left_aside() {
    let journal = MemoryJournal::new();
    for (key, value) in [
        ("{", Some("{}")),
        (r#"{"type":"later"}"#, Some("{}")),
        (r#"{"type":"token","domain":"x","token":"y"}"#, None),
    ] {
        journal.push(Entry {
            key: key.into(),
            value: value.map(Into::into),
        });
    }
    let domains = follow(&journal);
    domains.loaded().await;
    assert_eq!(
        domains.read(|state| (state.domains().count(), state.skipped())),
        (0, 3)
    );
}
