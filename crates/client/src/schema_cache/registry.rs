//! A client of a Confluent-compatible schema registry.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use evenkeel_broker::config::Secret;
use evenkeel_schema::SchemaId;
use serde::{Deserialize, Serialize};

/// Largest answer that is read, bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Most schemas that one schema may refer to, through others too.
const REFERENCES_MAX: usize = 256;
/// Characters that stand for themselves in a path segment (RFC 3986, unreserved).
const UNRESERVED: &[u8] = b"-._~";

/// How to reach a registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    url: Arc<str>,
    auth: Option<Auth>,
    agent: ureq::Agent,
}

/// Who we are.
#[derive(Debug, Clone)]
pub enum Auth {
    /// RFC 7617.
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// RFC 6750.
    Bearer(Secret),
}

/// A schema as it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Its id in the registry.
    pub id: i32,
    /// Its text.
    pub text: String,
    /// The texts of the schemas that it refers to, each behind those that it refers to itself.
    pub references: Vec<String>,
}

/// Why a schema could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// No registry is configured and the schema is not on disk.
    #[error("no registry is configured, and the schema is not kept on disk")]
    NoRegistry,
    /// The registry gave no answer.
    #[error("the registry does not answer {path}: {reason}")]
    Unreachable {
        /// The path that was asked.
        path: String,
        /// What was seen.
        reason: String,
    },
    /// The registry refused.
    #[error("the registry refuses {path}: {message} (HTTP {status}, {code})")]
    Refused {
        /// The path that was asked.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The registry's error code.
        code: i32,
        /// What it says.
        message: String,
    },
    /// The schema cannot be used here.
    #[error("schema {id} cannot be used: {reason}")]
    Unusable {
        /// The schema's id.
        id: i32,
        /// Why.
        reason: String,
    },
    /// The directory for schemas cannot be used.
    #[error("schemas cannot be kept in {path}: {source}")]
    Disk {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    id: Option<i32>,
    schema: String,
    #[serde(default, rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: i32,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    error_code: i32,
    #[serde(default)]
    message: String,
}

#[derive(Serialize)]
struct Question<'text> {
    schema: &'text str,
}

impl SchemaError {
    /// True when the registry says that there is no such subject, version or id. A 404 without one of its own codes
    /// (40401 to 40403 and their like) comes from something that stands before it, and says nothing about the schema.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 404,
                code: 40_400..=40_499,
                ..
            }
        )
    }
}

impl Registry {
    /// A registry at `url`, for example `http://127.0.0.1:8081`.
    #[must_use]
    pub fn new(url: impl AsRef<str>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(10)))
            .http_status_as_error(false)
            .build();
        Self {
            url: url.as_ref().trim_end_matches('/').into(),
            auth: None,
            agent: config.into(),
        }
    }

    /// With credentials.
    #[must_use]
    pub fn with_auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// The newest version of a subject.
    ///
    /// # Errors
    /// When it does not exist, or the registry does not answer.
    pub async fn latest(&self, subject: &str) -> Result<Registered, SchemaError> {
        self.get(format!("/subjects/{}/versions/latest", segment(subject)), None)
            .await
    }

    /// A version of a subject.
    ///
    /// # Errors
    /// When it does not exist, or the registry does not answer.
    pub async fn version(&self, subject: &str, version: i32) -> Result<Registered, SchemaError> {
        self.get(format!("/subjects/{}/versions/{version}", segment(subject)), None)
            .await
    }

    /// The schema with this id.
    ///
    /// # Errors
    /// [`SchemaError::is_unknown`] when there is none, else why the registry gave no answer.
    pub async fn by_id(&self, id: SchemaId) -> Result<Registered, SchemaError> {
        self.get(format!("/schemas/ids/{id}"), Some(id)).await
    }

    /// The version of a subject that has this text.
    ///
    /// # Errors
    /// When it is not registered, or the registry does not answer.
    pub async fn find(&self, subject: &str, text: &str) -> Result<Registered, SchemaError> {
        let path = format!("/subjects/{}", segment(subject));
        let body = serde_json::to_vec(&Question { schema: text }).unwrap_or_default();
        let answer = self.exchange(path, Some(body)).await?;
        self.registered(answer, None).await
    }

    async fn get(&self, path: String, id: Option<SchemaId>) -> Result<Registered, SchemaError> {
        let answer = self.exchange(path, None).await?;
        self.registered(answer, id).await
    }

    async fn registered(&self, answer: Answer, id: Option<SchemaId>) -> Result<Registered, SchemaError> {
        let id = answer.id.or(id.map(|id| id.0)).unwrap_or(0);
        if let Some(other) = answer.schema_type.filter(|kind| kind != "AVRO") {
            let reason = format!("its type is {other}, only AVRO is known");
            return Err(SchemaError::Unusable { id, reason });
        }
        let mut references = Vec::new();
        let mut seen = Vec::new();
        self.collect(id, answer.references, &mut seen, &mut references)
            .await?;
        Ok(Registered {
            id,
            text: answer.schema,
            references,
        })
    }

    /// The texts of what is referred to, innermost first, each once.
    async fn collect(
        &self,
        id: i32,
        references: Vec<Reference>,
        seen: &mut Vec<(String, i32)>,
        texts: &mut Vec<String>,
    ) -> Result<(), SchemaError> {
        for reference in references {
            let name = (reference.subject, reference.version);
            if seen.contains(&name) {
                continue;
            }
            if seen.len() >= REFERENCES_MAX {
                let reason = format!("it refers to more than {REFERENCES_MAX} schemas");
                return Err(SchemaError::Unusable { id, reason });
            }
            seen.push(name.clone());
            let path = format!("/subjects/{}/versions/{}", segment(&name.0), name.1);
            let answer = self.exchange(path, None).await?;
            Box::pin(self.collect(id, answer.references, seen, texts)).await?;
            texts.push(answer.schema);
        }
        Ok(())
    }

    async fn exchange(&self, path: String, body: Option<Vec<u8>>) -> Result<Answer, SchemaError> {
        let registry = self.clone();
        let asked = path.clone();
        let exchanged = tokio::task::spawn_blocking(move || registry.exchange_blocking(&asked, body)).await;
        exchanged.unwrap_or_else(|_| {
            let reason = "the request was given up".to_owned();
            Err(SchemaError::Unreachable { path, reason })
        })
    }

    fn exchange_blocking(&self, path: &str, body: Option<Vec<u8>>) -> Result<Answer, SchemaError> {
        let unreachable = |error: ureq::Error| SchemaError::Unreachable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let url = format!("{}{path}", self.url);
        let accept = "application/vnd.schemaregistry.v1+json, application/json";
        let answered = match body {
            None => self
                .authorised(self.agent.get(&url).header("accept", accept))
                .call(),
            Some(body) => self
                .authorised(self.agent.post(&url).header("accept", accept))
                .header("content-type", "application/vnd.schemaregistry.v1+json")
                .send(body),
        };
        let mut answered = answered.map_err(unreachable)?;
        let status = answered.status().as_u16();
        let bytes = answered
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec()
            .map_err(unreachable)?;
        if status != 200 {
            let refusal = serde_json::from_slice(&bytes).unwrap_or(Refusal {
                error_code: i32::from(status),
                message: String::new(),
            });
            // What stands before a registry answers 5xx too: it says nothing about the schema.
            return Err(SchemaError::Refused {
                path: path.to_owned(),
                status,
                code: refusal.error_code,
                message: refusal.message,
            });
        }
        serde_json::from_slice(&bytes).map_err(|error| SchemaError::Unreachable {
            path: path.to_owned(),
            reason: format!("the answer is no schema: {error}"),
        })
    }

    fn authorised<Any>(&self, request: ureq::RequestBuilder<Any>) -> ureq::RequestBuilder<Any> {
        match &self.auth {
            None => request,
            Some(Auth::Basic { username, password }) => {
                let pair = BASE64_STANDARD.encode(format!("{username}:{}", password.reveal()));
                request.header("authorization", format!("Basic {pair}"))
            }
            Some(Auth::Bearer(token)) => {
                request.header("authorization", format!("Bearer {}", token.reveal()))
            }
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Registry")
            .field("url", &self.url)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

/// A text as one segment of a path.
fn segment(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_escaped_in_paths() {
        assert_eq!(segment("orders-value"), "orders-value");
        assert_eq!(segment("a/b c\u{e4}"), "a%2Fb%20c%C3%A4");
    }

    #[test]
    fn secrets_are_not_shown() {
        let registry = Registry::new("http://127.0.0.1:1").with_auth(Auth::Bearer(Secret::new("hunter2")));
        assert!(!format!("{registry:?}").contains("hunter2"));
    }
}
