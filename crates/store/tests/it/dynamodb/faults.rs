//! Answers that are lost, throttles, conflicts, and refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_flow::diversion::Process;
use evenkeel_store::dynamodb::{Config, DynamoKeeper};
use evenkeel_store::{Error, Keeper as _};

use super::keeper::{block, change};
use super::proxy::{Act, Proxy};
use super::{connect, create, endpoint, fresh, settings};
use crate::rows::place;

/// A keeper behind a proxy, whose requests take at most so long.
async fn behind_proxy(endpoint: &str, timeout: Duration) -> (Proxy, Config, DynamoKeeper) {
    let config = Config { timeout, ..fresh() };
    create(endpoint, &config).await;
    let proxy = Proxy::start(endpoint).await;
    let keeper = connect(&proxy.endpoint, &config).await;
    (proxy, config, keeper)
}

/// Long enough that only a defect reaches it.
const PATIENT: Duration = Duration::from_secs(30);
/// Short, where a test waits for it.
const HASTY: Duration = Duration::from_secs(3);

#[tokio::test]
async fn what_was_made_and_not_answered_is_made_once() {
    let Some(endpoint) = endpoint() else { return };
    let (proxy, _, keeper) = behind_proxy(endpoint, PATIENT).await;
    let at = place("orders", Some(0));
    let lost = || vec![Act::LoseAnswer, Act::LoseRequest, Act::LoseAnswer];
    for (expected, bytes) in [(None, 10), (Some(1), 1_000_000)] {
        let position = expected.unwrap_or(0);
        proxy.next("TransactWriteItems", lost());
        let change = change(&at, expected, vec![block(position, bytes)]);
        assert!(keeper.commit(vec![change]).await.unwrap());
        assert_eq!(keeper.record(&at).await.unwrap().unwrap().revision, position + 1);
    }
    let all = [block(0, 10), block(1, 1_000_000)];
    assert_eq!(keeper.blocks(&at, 0, usize::MAX).await.unwrap(), all);
    proxy.next("TransactWriteItems", lost());
    let lease = Bytes::from_static(b"a lease");
    assert!(keeper.put_lease(Process(1), 1, lease, true).await.unwrap());
    proxy.next("TransactWriteItems", lost());
    assert!(keeper.remove_lease(Process(1), 1).await.unwrap());
    for operation in ["GetItem", "PutItem", "DeleteItem", "Query", "BatchGetItem"] {
        proxy.next(operation, lost());
        let (from, expected) = (2, keeper.record(&at).await.unwrap().unwrap().revision);
        let blocks = vec![block(from + expected, 400_000)];
        assert!(
            keeper
                .commit(vec![change(&at, Some(expected), blocks)])
                .await
                .unwrap()
        );
        assert_eq!(keeper.listed().await.unwrap().len(), 1);
        assert_eq!(keeper.blocks(&at, 2, usize::MAX).await.unwrap().len(), 1);
        keeper.clean(&at, u64::MAX - 1).await.unwrap();
        assert!(
            keeper.blocks(&at, 0, usize::MAX).await.unwrap().is_empty(),
            "{operation}"
        );
    }
}

#[tokio::test]
async fn what_is_never_answered_may_have_been_made() {
    let Some(endpoint) = endpoint() else { return };
    let (proxy, config, keeper) = behind_proxy(endpoint, HASTY).await;
    let at = place("orders", Some(0));
    proxy.decide(|_| Act::LoseAnswer);
    let lost = keeper
        .commit(vec![change(&at, None, Vec::new())])
        .await
        .unwrap_err();
    assert!(matches!(lost, Error::Unreachable { .. }), "{lost}");
    assert!(lost.may_have_been_made() && lost.is_outage(), "{lost}");
    let read = keeper.record(&at).await.unwrap_err();
    assert!(!read.may_have_been_made() && read.is_outage(), "{read}");
    let record = connect(endpoint, &config).await.record(&at).await.unwrap();
    assert_eq!(record.unwrap().revision, 1);
}

#[tokio::test]
async fn what_is_asked_too_often_is_asked_again_later() {
    let Some(endpoint) = endpoint() else { return };
    let (proxy, _, keeper) = behind_proxy(endpoint, PATIENT).await;
    let at = place("orders", Some(0));
    let acts = [
        Act::refuse("ProvisionedThroughputExceededException"),
        Act::refuse("ThrottlingException"),
        Act::refuse("RequestLimitExceeded"),
        Act::refuse("TransactionInProgressException"),
        Act::refuse("InternalServerError"),
        Act::cancel(&["ThrottlingError", "None"]),
        Act::cancel(&["ProvisionedThroughputExceeded"]),
        Act::cancel(&["ConditionalCheckFailed", "ThrottlingError"]),
    ];
    for (revision, act) in (0_u64..).zip(acts) {
        proxy.next("TransactWriteItems", vec![act.clone(), act.clone()]);
        let expected = (revision > 0).then_some(revision);
        let made = keeper.commit(vec![change(&at, expected, Vec::new())]).await;
        assert!(made.unwrap(), "{act:?}");
    }
    let read = ["ProvisionedThroughputExceededException", "ThrottlingException"].map(Act::refuse);
    proxy.next("GetItem", read.to_vec());
    assert_eq!(keeper.record(&at).await.unwrap().unwrap().revision, 8);
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_not_asked_again() {
    let Some(endpoint) = endpoint() else { return };
    let (proxy, _, keeper) = behind_proxy(endpoint, PATIENT).await;
    let asked = Arc::new(AtomicU32::new(0));
    proxy.decide({
        let asked = asked.clone();
        move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            Act::cancel(&["None", "ConditionalCheckFailed", "ConditionalCheckFailed"])
        }
    });
    let change = change(&place("orders", Some(0)), None, Vec::new());
    assert!(!keeper.commit(vec![change]).await.unwrap());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// Whoever is at the record replaces it: asking for the old one again is of no use. A lease is asked for again, because one that
/// was not renewed is taken for lost.
#[tokio::test]
async fn a_commit_that_meets_another_one_is_decided_anew() {
    let Some(endpoint) = endpoint() else { return };
    let (proxy, _, keeper) = behind_proxy(endpoint, PATIENT).await;
    let at = place("orders", Some(0));
    let meets = Act::cancel(&["ConditionalCheckFailed", "TransactionConflict"]);
    proxy.next("TransactWriteItems", vec![meets.clone()]);
    let commit = || keeper.commit(vec![change(&at, None, Vec::new())]);
    assert!(!commit().await.unwrap());
    assert_eq!(keeper.record(&at).await.unwrap(), None);
    // The one that it meets may be its own.
    proxy.next("TransactWriteItems", vec![Act::LoseAnswer, meets.clone()]);
    assert!(commit().await.unwrap());
    proxy.next("TransactWriteItems", vec![meets.clone(), meets]);
    assert!(
        keeper
            .put_lease(Process(1), 1, "lease".into(), true)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn throttles_that_do_not_end_are_an_outage() {
    let Some(endpoint) = endpoint() else { return };
    let (proxy, _, keeper) = behind_proxy(endpoint, HASTY).await;
    let change = || vec![change(&place("orders", Some(0)), None, Vec::new())];
    for act in [
        Act::refuse("ThrottlingException"),
        Act::cancel(&["ThrottlingError"]),
    ] {
        proxy.decide(move |_| act.clone());
        let throttled = keeper.commit(change()).await.unwrap_err();
        assert!(matches!(throttled, Error::Throttled { .. }), "{throttled}");
        assert!(
            throttled.is_outage() && !throttled.may_have_been_made(),
            "{throttled}"
        );
    }
    let mut first = true;
    proxy.decide(move |_| match std::mem::take(&mut first) {
        true => Act::LoseAnswer,
        false => Act::refuse("ThrottlingException"),
    });
    let throttled = keeper.commit(change()).await.unwrap_err();
    assert!(matches!(throttled, Error::Throttled { .. }), "{throttled}");
    assert!(
        throttled.may_have_been_made(),
        "the first attempt's answer was lost: {throttled}"
    );
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_is_not_asked_again() {
    let Some(endpoint) = endpoint() else { return };
    let (proxy, config, keeper) = behind_proxy(endpoint, PATIENT).await;
    let cases = [
        ("ResourceNotFoundException", "create the table"),
        ("AccessDeniedException", "permissions"),
        ("UnrecognizedClientException", "renew"),
        ("InvalidSignatureException", "clock"),
        ("ExpiredTokenException", "renew"),
        ("ValidationException", "pk and sk"),
    ];
    for (code, remedy) in cases {
        let asked = Arc::new(AtomicU32::new(0));
        let counted = asked.clone();
        proxy.decide(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Act::refuse(code)
        });
        let refused = keeper.record(&place("orders", None)).await.unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }), "{refused}");
        assert!(!refused.is_outage() && !refused.may_have_been_made());
        let said = refused.to_string();
        for part in [
            remedy,
            code,
            config.table.as_str(),
            "eu-west-1",
            "read the record",
        ] {
            assert!(said.contains(part), "{said} does not say {part}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{code}");
    }
    proxy.decide(|_| Act::cancel(&["ConditionalCheckFailed", "AccessDenied"]));
    let change = change(&place("orders", Some(0)), None, Vec::new());
    let refused = keeper.commit(vec![change]).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
}

#[tokio::test]
async fn nobody_there_is_an_outage_and_nothing_was_made() {
    let Some(endpoint) = endpoint() else { return };
    let (config, keeper) = super::keeper(endpoint).await;
    drop(keeper);
    let proxy = Proxy::start(endpoint).await;
    let gone = proxy.endpoint.clone();
    let config = Config {
        timeout: HASTY,
        ..config
    };
    let keeper = connect(&gone, &config).await;
    proxy.end().await;
    let change = change(&place("orders", Some(0)), None, Vec::new());
    let away = keeper.commit(vec![change]).await.unwrap_err();
    assert!(matches!(away, Error::Unreachable { .. }), "{away}");
    assert!(away.is_outage() && !away.may_have_been_made(), "{away}");
}

#[tokio::test]
async fn without_region_or_credentials_it_says_how_to_have_them() {
    let config = fresh();
    let bare = || {
        aws_sdk_dynamodb::config::Builder::new()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
    };
    let refused = DynamoKeeper::connect_with(&config, bare()).await.unwrap_err();
    assert!(refused.to_string().contains("AWS_REGION"), "{refused}");
    let nobody = settings("http://127.0.0.1:1").credentials_provider(NoCredentials);
    let refused = DynamoKeeper::connect_with(&config, nobody).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("AWS_ACCESS_KEY_ID"), "{refused}");
    let nobody = bare().region(aws_sdk_dynamodb::config::Region::new("eu-west-1"));
    let refused = DynamoKeeper::connect_with(&config, nobody).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
}

/// What a machine has where nobody set any.
#[derive(Debug)]
struct NoCredentials;

impl aws_sdk_dynamodb::config::ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(
            aws_credential_types::provider::error::CredentialsError::not_loaded("none are set"),
        ))
    }
}
