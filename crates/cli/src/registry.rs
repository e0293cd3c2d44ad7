//! Calls to a registry that speaks Confluent's REST API.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::Settings;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Longest wait for one answer of the registry.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A registry, and whom to act as.
pub(crate) struct Registry {
    url: String,
    authorization: Option<String>,
    agent: ureq::Agent,
}

/// A refusal by the registry: its own code and words.
#[derive(Debug, thiserror::Error)]
#[error("the registry refused: {message} (code {code})")]
pub(crate) struct Refused {
    /// Confluent's `error_code`, for example 40401.
    pub(crate) code: u64,
    /// Its message.
    pub(crate) message: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    error_code: u64,
    message: String,
}

impl Registry {
    /// The registry that the settings name.
    pub(crate) fn new(settings: &Settings) -> Self {
        let registry = &settings.registry;
        Self::at(&registry.url, &registry.domain, registry.token.reveal())
    }

    /// The registry at `url`, as `domain` with `token`; nameless when the domain is empty.
    pub(crate) fn at(url: &str, domain: &str, token: &str) -> Self {
        Self::within(TIMEOUT, url, domain, token)
    }

    /// As [`Registry::new`], for a look that is not to take long.
    pub(crate) fn for_a_look(settings: &Settings, timeout: Duration) -> Self {
        let registry = &settings.registry;
        Self::within(timeout, &registry.url, &registry.domain, registry.token.reveal())
    }

    fn within(timeout: Duration, url: &str, domain: &str, token: &str) -> Self {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{domain}:{token}"));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .build();
        Self {
            url: url.trim_end_matches('/').to_owned(),
            authorization: (!domain.is_empty()).then(|| format!("Basic {encoded}")),
            agent: config.into(),
        }
    }

    /// GET `path`, which begins with a slash and whose parts are percent-encoded.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call("GET", path, None)
    }

    /// POST `body` to `path`.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        self.call("POST", path, Some(body))
    }

    /// PUT `body` to `path`.
    pub(crate) fn put<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        self.call("PUT", path, Some(body))
    }

    /// DELETE `path`.
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call("DELETE", path, None)
    }

    fn call<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<&Value>) -> Result<T> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Accept", MEDIA_TYPE)
            .header("Content-Type", MEDIA_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = request
            .body(text)
            .with_context(|| format!("registry.url \"{}\" is not an address", self.url))?;
        let mut response = self.agent.run(request).map_err(|error| {
            anyhow!(
                "the registry at {} cannot be reached: {error}; start it (evenkeel dev) or set registry.url",
                self.url
            )
        })?;
        let status = response.status();
        let answer = response
            .body_mut()
            .read_to_string()
            .context("the registry's answer broke off")?;
        if status.is_success() {
            return serde_json::from_str(&answer).with_context(|| {
                format!(
                    "the registry at {} answered {method} {path} with something else",
                    self.url
                )
            });
        }
        Err(match serde_json::from_str::<ErrorBody>(&answer) {
            Ok(body) => Refused {
                code: body.error_code,
                message: body.message,
            }
            .into(),
            Err(_) => anyhow!(
                "{method} {path} at {} was answered with HTTP {status}, which is no registry's error",
                self.url
            ),
        })
    }
}

/// A subject as part of a path: everything but unreserved characters percent-encoded (RFC 3986, section 2.3).
pub(crate) fn encoded(subject: &str) -> String {
    subject
        .bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_encoded_for_paths() {
        assert_eq!(encoded("orders-value"), "orders-value");
        assert_eq!(encoded("a/b c%ä"), "a%2Fb%20c%25%C3%A4");
    }

    #[test]
    fn an_unreachable_registry_is_named() {
        let registry = Registry::at("http://127.0.0.1:1", "", "");
        let message = format!("{:#}", registry.get::<Value>("/subjects").unwrap_err());
        assert!(
            message.contains("http://127.0.0.1:1") && message.contains("evenkeel dev"),
            "{message}"
        );
    }
}
