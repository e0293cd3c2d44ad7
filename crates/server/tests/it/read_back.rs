//! A write is answered when it has been read back; what lost its answer is settled by reading.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use evenkeel_event::clock::SystemClock;
use evenkeel_server::domains::Domains;
use evenkeel_server::journal::{Answer, Chunk, Entry, Error, Fault, Journal, MemoryJournal};
use evenkeel_server::registry::{Config, Registry, router};
use serde_json::json;
use tower::ServiceExt as _;

use crate::api::{Api, Topics, order};

fn dev() -> Config {
    Config {
        dev: true,
        ..Config::default()
    }
}

#[tokio::test]
async fn a_lost_answer_is_found_in_the_log() {
    let topics = Topics::default();
    let mut api = Api::start(&topics, dev()).await;
    api.register("other-value", r#""int""#).await;
    topics.schemas.fail_next(Fault::AnswerLost);
    assert_eq!(
        api.register("orders-value", &order(&["id"])).await,
        (StatusCode::OK, json!({"id": 2}))
    );
    assert_eq!(topics.schemas.records().len(), 2);
}

/// The record lands only after the caller was told that nobody knows. No other schema may get its id meanwhile.
#[tokio::test]
async fn a_record_that_lands_late_keeps_its_id_to_itself() {
    let topics = Topics::default();
    let mut api = Api::start(
        &topics,
        Config {
            write_timeout: Duration::from_millis(50),
            ..dev()
        },
    )
    .await;
    topics.schemas.fail_next(Fault::Late);
    let (status, answer) = api.register("orders-value", &order(&["id"])).await;
    assert_eq!(
        (status, &answer["error_code"]),
        (StatusCode::INTERNAL_SERVER_ERROR, &json!(50002))
    );
    assert_eq!(api.get("/subjects").await.1, json!([]));
    assert_eq!(api.register("other-value", r#""int""#).await.1, json!({"id": 2}));
    assert_eq!(
        api.register("orders-value", &order(&["id"])).await.1,
        json!({"id": 1})
    );
    assert_eq!(topics.schemas.records().len(), 2, "asking again wrote nothing");
}

#[tokio::test]
async fn a_refused_record_changes_nothing() {
    let topics = Topics::default();
    let mut api = Api::start(&topics, dev()).await;
    topics.schemas.fail_next(Fault::Refused);
    let (status, answer) = api.register("orders-value", &order(&["id"])).await;
    assert_eq!(
        (status, &answer["error_code"]),
        (StatusCode::INTERNAL_SERVER_ERROR, &json!(50001))
    );
    assert_eq!(api.get("/subjects").await.1, json!([]));
    assert_eq!(
        api.register("orders-value", &order(&["id"])).await.1,
        json!({"id": 1})
    );
}

#[tokio::test]
async fn a_restart_finds_everything() {
    let topics = Topics::default();
    let mut api = Api::start(&topics, dev()).await;
    for fields in [&["id"][..], &["id", "a?"], &["id", "b?"]] {
        api.register("orders-value", &order(fields)).await;
    }
    api.call("DELETE", "/subjects/orders-value/versions/2", None)
        .await;
    api.call(
        "PUT",
        "/config/orders-value",
        Some(json!({"compatibility": "FULL"})),
    )
    .await;
    let paths = [
        "/subjects/orders-value/versions",
        "/subjects/orders-value/versions/3",
        "/config/orders-value",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(api.get(path).await);
    }
    drop(api);
    topics.schemas.compact(true);
    let mut api = Api::start(&topics, dev()).await;
    for (path, before) in paths.into_iter().zip(before) {
        assert_eq!(api.get(path).await, before);
    }
}

#[tokio::test]
async fn an_id_is_never_given_out_twice_even_when_nothing_of_it_is_left() {
    let topics = Topics::default();
    let mut api = Api::start(&topics, dev()).await;
    api.register("keep-value", r#""int""#).await;
    assert_eq!(
        api.register("orders-value", &order(&["id"])).await.1,
        json!({"id": 2})
    );
    api.call("DELETE", "/subjects/orders-value", None).await;
    api.call("DELETE", "/subjects/orders-value?permanent=true", None)
        .await;
    drop(api);
    topics.schemas.compact(true);
    let mut api = Api::start(&topics, dev()).await;
    assert_eq!(
        api.register("orders-value", &order(&["other"])).await.1,
        json!({"id": 3})
    );
}

/// Another registry writes between our reading and our writing, and takes the id that we had chosen.
#[tokio::test]
async fn an_id_that_another_writer_took_is_not_given_out_again() {
    let topics = Topics::default();
    let mut api = Api::start(&topics, dev()).await;
    topics.schemas.overtake_next(Entry {
        key: r#"{"keytype":"SCHEMA","subject":"theirs","version":1,"magic":1}"#.into(),
        value: Some(r#"{"subject":"theirs","version":1,"id":1,"schema":"\"long\"","deleted":false}"#.into()),
    });
    assert_eq!(api.register("ours", r#""int""#).await.1, json!({"id": 2}));
    assert_eq!(api.get("/schemas/ids/1").await.1, json!({"schema": "\"long\""}));
}

#[tokio::test]
async fn many_writers_get_one_id_for_one_schema() {
    let topics = Topics::default();
    let api = Api::start(&topics, dev()).await;
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let router = api.router.clone();
            tokio::spawn(async move {
                let body = json!({"schema": order(&["id"])}).to_string();
                let request = Request::post(format!("/subjects/s{}/versions", number % 8));
                let request = request.body(Body::from(body)).unwrap();
                let response = router.oneshot(request).await.unwrap();
                axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap()
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), r#"{"id":1}"#);
    }
    assert_eq!(topics.schemas.records().len(), 8);
}

/// A topic that cannot be read.
#[derive(Debug)]
struct Unreadable;

impl Journal for Unreadable {
    fn topic(&self) -> &str {
        "_schemas"
    }

    fn append(&self, _: Entry) -> Answer<'_, i64> {
        Box::pin(async { Err(self.error()) })
    }

    fn settle(&self) -> Answer<'_, ()> {
        Box::pin(async { Err(self.error()) })
    }

    fn end(&self) -> Answer<'_, i64> {
        Box::pin(async { Err(self.error()) })
    }

    fn read(&self, _: i64) -> Answer<'_, Chunk> {
        Box::pin(async { Err(self.error()) })
    }
}

impl Unreadable {
    fn error(&self) -> Error {
        Error::NotRead {
            topic: self.topic().to_owned(),
            offset: 0,
            reason: "no broker".to_owned(),
        }
    }
}

#[tokio::test]
async fn until_everything_is_read_nothing_is_answered_but_health() {
    let clock = Arc::new(SystemClock::default());
    let domains = Arc::new(Domains::follow(
        Arc::new(MemoryJournal::new()),
        clock,
        Duration::from_secs(1),
    ));
    let registry = Registry::start(Arc::new(Unreadable), domains, dev());
    let router = router(registry);
    for (path, expected) in [
        ("/subjects", StatusCode::SERVICE_UNAVAILABLE),
        ("/health/ready", StatusCode::SERVICE_UNAVAILABLE),
        ("/health/live", StatusCode::OK),
        ("/metrics", StatusCode::OK),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(
            router.clone().oneshot(request).await.unwrap().status(),
            expected,
            "{path}"
        );
    }
}

/// A topic that is read but never answers a write.
#[derive(Debug)]
struct Stuck(MemoryJournal);

impl Journal for Stuck {
    fn topic(&self) -> &str {
        "_schemas"
    }

    fn append(&self, _: Entry) -> Answer<'_, i64> {
        Box::pin(std::future::pending())
    }

    fn settle(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn end(&self) -> Answer<'_, i64> {
        self.0.end()
    }

    fn read(&self, from: i64) -> Answer<'_, Chunk> {
        self.0.read(from)
    }
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_and_give_up_their_place() {
    let clock = Arc::new(SystemClock::default());
    let domains = Arc::new(Domains::follow(
        Arc::new(MemoryJournal::new()),
        clock,
        Duration::from_secs(1),
    ));
    let config = Config {
        dev: true,
        write_timeout: Duration::from_secs(600),
    };
    let registry = Registry::start(
        Arc::new(Stuck(MemoryJournal::new())),
        Arc::clone(&domains),
        config,
    );
    let mut api = Api::over(registry, domains).await;
    let body = json!({"schema": order(&["id"])}).to_string();
    let waiting: Vec<_> = (0..256)
        .map(|_| {
            let request = Request::post("/subjects/orders-value/versions")
                .body(Body::from(body.clone()))
                .unwrap();
            tokio::spawn(api.router.clone().oneshot(request))
        })
        .collect();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while api.get("/subjects").await.0 != StatusCode::SERVICE_UNAVAILABLE {
        assert!(tokio::time::Instant::now() < deadline, "nothing was refused");
        tokio::task::yield_now().await;
    }
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    while api.get("/subjects").await.0 != StatusCode::OK {
        assert!(
            tokio::time::Instant::now() < deadline,
            "nothing was answered again"
        );
        tokio::task::yield_now().await;
    }
}
