//! What handlers take from a request.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::domains::Caller;
use crate::registry::state::default_context;
use crate::registry::{Error, Registry};

/// The flags and values of a query string. What is not asked for is ignored, as Confluent's registry does.
#[derive(Debug)]
pub(super) struct Params(HashMap<String, String>);

impl Params {
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let query = Query::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let query = query.map_err(|error| Error::http(StatusCode::BAD_REQUEST, error.body_text()))?;
        Ok(Self(query.0))
    }
}

/// Who makes the request. Wrong credentials are refused whatever is asked.
#[derive(Debug)]
pub(super) struct By(pub(super) Caller);

impl FromRequestParts<Arc<Registry>> for By {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, registry: &Arc<Registry>) -> Result<Self, Error> {
        let header = parts.headers.get(AUTHORIZATION);
        let header = header.map(|value| value.to_str().unwrap_or_default());
        let caller = registry
            .core
            .domains
            .caller(header)
            .map_err(|_| Error::unauthenticated())?;
        Ok(Self(match caller {
            Caller::Nameless if registry.config.dev => Caller::anonymous(),
            caller => caller,
        }))
    }
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct Sent<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error: BytesRejection| Error::http(error.status(), error.body_text()))?;
        let parsed = serde_json::from_slice(&body);
        parsed.map(Self).map_err(|error| {
            Error::http(
                StatusCode::BAD_REQUEST,
                format!("The body is not as it should be: {error}"),
            )
        })
    }
}

/// A subject as a path names it, without the prefix of the default context.
pub(super) fn subject(path: String) -> Result<String, Error> {
    let named = path.clone();
    default_context(path).ok_or_else(|| Error::invalid_subject(&named))
}

/// A schema id as a path names it.
pub(super) fn id(path: &str) -> Result<u32, Error> {
    path.parse()
        .map_err(|_| Error::http(StatusCode::NOT_FOUND, "HTTP 404 Not Found"))
}
