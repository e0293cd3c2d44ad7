//! The registry's HTTP: routes, media types, the form of answers and refusals.

mod compatibility;
mod config;
mod health;
mod request;
mod schemas;
mod subjects;
mod versions;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::Serialize;

use super::{Error, Registry};
pub(super) use health::Metrics;

/// Largest request, bytes: a schema of the largest size that is read, with its quotes escaped.
const BODY_BYTES_MAX: usize = 3 << 20;
/// What the registry answers with unless asked for one of the others.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
const MEDIA_TYPES: [&str; 3] = [
    MEDIA_TYPE,
    "application/vnd.schemaregistry+json",
    "application/json",
];

/// The routes of a registry, for a server of one's own or for tests.
pub fn router(registry: Arc<Registry>) -> Router {
    let api = Router::new()
        .route("/", get(schemas::root))
        .route("/schemas/types", get(schemas::types))
        .route("/schemas/ids/{id}", get(schemas::by_id))
        .route("/schemas/ids/{id}/schema", get(schemas::text_by_id))
        .route("/schemas/ids/{id}/subjects", get(schemas::subjects))
        .route("/schemas/ids/{id}/versions", get(schemas::versions))
        .route("/subjects", get(subjects::list))
        .route(
            "/subjects/{subject}",
            post(subjects::look_up).delete(subjects::delete),
        )
        .route(
            "/subjects/{subject}/versions",
            get(versions::list).post(versions::register),
        )
        .route(
            "/subjects/{subject}/versions/{version}",
            get(versions::show).delete(versions::delete),
        )
        .route(
            "/subjects/{subject}/versions/{version}/schema",
            get(versions::text),
        )
        .route(
            "/subjects/{subject}/versions/{version}/referencedby",
            get(versions::referenced_by),
        )
        .route(
            "/compatibility/subjects/{subject}/versions",
            post(compatibility::with_all),
        )
        .route(
            "/compatibility/subjects/{subject}/versions/{version}",
            post(compatibility::with_one),
        )
        .route(
            "/config",
            get(config::global)
                .put(config::set_global)
                .merge(delete(config::unset_global)),
        )
        .route(
            "/config/{subject}",
            get(config::show).put(config::set).delete(config::unset),
        )
        .route("/mode", get(config::global_mode))
        .route("/mode/{subject}", get(config::mode))
        .fallback(|| async { Error::http(StatusCode::NOT_FOUND, "HTTP 404 Not Found") })
        .method_not_allowed_fallback(|| async {
            Error::http(StatusCode::METHOD_NOT_ALLOWED, "HTTP 405 Method Not Allowed")
        })
        .layer(from_fn_with_state(Arc::clone(&registry), only_when_loaded))
        .layer(from_fn_with_state(Arc::clone(&registry), dress))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    let health = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics));
    health.merge(api).with_state(registry)
}

async fn only_when_loaded(State(registry): State<Arc<Registry>>, request: Request, next: Next) -> Response {
    if registry.is_loaded() {
        next.run(request).await
    } else {
        Error::loading().into_response()
    }
}

/// Checks the request's media type, gives the answer the one that was asked for, and counts.
async fn dress(State(registry): State<Arc<Registry>>, request: Request, next: Next) -> Response {
    let wanted = wanted_media_type(request.headers());
    let mut response = match registry.requests.try_acquire() {
        Err(_) => Error::busy().into_response(),
        Ok(_) if has_foreign_body(&request) => Error::http(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "HTTP 415 Unsupported Media Type",
        )
        .into_response(),
        Ok(_turn) => next.run(request).await,
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(wanted));
    registry.metrics.count(response.status());
    response
}

fn wanted_media_type(headers: &HeaderMap) -> &'static str {
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut asked = accept
        .split(',')
        .map(|range| range.split(';').next().unwrap_or_default().trim());
    let known = asked.find_map(|asked| {
        MEDIA_TYPES
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(asked))
    });
    known.unwrap_or(MEDIA_TYPE)
}

/// True for a body that does not claim to be JSON. Without a content type it is taken for JSON.
fn has_foreign_body(request: &Request<Body>) -> bool {
    let headers = request.headers();
    let has_body = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    let Some(kind) = headers.get(CONTENT_TYPE).filter(|_| has_body) else {
        return false;
    };
    let kind = kind
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let allowed = MEDIA_TYPES.into_iter().chain(["application/octet-stream"]);
    let reads = matches!(*request.method(), Method::POST | Method::PUT);
    reads
        && !allowed
            .into_iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(kind))
}

/// An answer as JSON; [`dress`] gives it its media type.
struct Json<T>(T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => body.into_response(),
            Err(error) => Error::http(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

#[derive(Serialize)]
struct Refusal<'a> {
    error_code: u32,
    message: &'a str,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = Json(Refusal {
            error_code: self.code(),
            message: self.message(),
        })
        .into_response();
        let mut response = (self.status(), body).into_response();
        if self.status() == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"evenkeel\", charset=\"UTF-8\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
