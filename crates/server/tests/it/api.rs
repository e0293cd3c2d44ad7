//! A registry in memory, asked without a socket, and transcripts of what it answers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use evenkeel_event::clock::SystemClock;
use evenkeel_server::domains::Domains;
use evenkeel_server::journal::MemoryJournal;
use evenkeel_server::registry::{Config, Registry, router};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// The topics of a platform, which outlive its processes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topics {
    pub(crate) schemas: MemoryJournal,
    pub(crate) evenkeel: MemoryJournal,
}

pub(crate) struct Api {
    pub(crate) router: Router,
    pub(crate) domains: Arc<Domains>,
    authorization: Option<String>,
    transcript: String,
}

impl Api {
    /// A registry in `dev` mode on topics of its own.
    pub(crate) async fn dev() -> Self {
        Self::start(
            &Topics::default(),
            Config {
                dev: true,
                ..Config::default()
            },
        )
        .await
    }

    pub(crate) async fn start(topics: &Topics, config: Config) -> Self {
        let patience = config.write_timeout;
        let clock = Arc::new(SystemClock::default());
        let domains = Arc::new(Domains::follow(
            Arc::new(topics.evenkeel.clone()),
            clock,
            patience,
        ));
        let registry = Registry::start(Arc::new(topics.schemas.clone()), Arc::clone(&domains), config);
        Self::over(registry, domains).await
    }

    /// A registry that was started elsewhere, once it has read its topics.
    pub(crate) async fn over(registry: Arc<Registry>, domains: Arc<Domains>) -> Self {
        tokio::time::timeout(Duration::from_secs(60), registry.loaded())
            .await
            .expect("loads");
        Self {
            router: router(registry),
            domains,
            authorization: None,
            transcript: String::new(),
        }
    }

    /// Makes the next requests in the name of a domain.
    pub(crate) fn act_as(&mut self, authorization: Option<String>) {
        self.authorization = authorization;
    }

    /// One request; the answer goes to the transcript too.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", MEDIA_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let text = body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = request
            .header("content-length", text.len())
            .body(Body::from(text.clone()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        assert_eq!(response.headers()["content-type"], MEDIA_TYPE, "{method} {path}");
        let bytes = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        let answer = String::from_utf8(bytes.to_vec()).unwrap();
        writeln!(
            self.transcript,
            "{method} {path} {text}\n  {} {answer}",
            status.as_u16()
        )
        .unwrap();
        (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&mut self, path: &str) -> (StatusCode, Value) {
        self.call("GET", path, None).await
    }

    pub(crate) async fn register(&mut self, subject: &str, schema: &str) -> (StatusCode, Value) {
        self.call(
            "POST",
            &format!("/subjects/{subject}/versions"),
            Some(json!({"schema": schema})),
        )
        .await
    }

    /// What was said so far, and begins anew.
    pub(crate) fn transcript(&mut self) -> String {
        std::mem::take(&mut self.transcript)
    }
}

pub(crate) fn basic(domain: &str, token: &str) -> Option<String> {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{domain}:{token}"));
    Some(format!("Basic {encoded}"))
}

/// A record with these fields of type int, those that end in `?` with a default.
pub(crate) fn order(fields: &[&str]) -> String {
    let fields: Vec<Value> = fields
        .iter()
        .map(|name| match name.strip_suffix('?') {
            Some(name) => json!({"name": name, "type": "int", "default": 0}),
            None => json!({"name": name, "type": "int"}),
        })
        .collect();
    json!({"type": "record", "name": "Order", "namespace": "shop", "fields": fields}).to_string()
}
