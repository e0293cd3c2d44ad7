//! Refusals, with the codes and words of Confluent's registry where it has them.

use axum::http::StatusCode;
use evenkeel_schema::avro::compatibility::Level;

use crate::journal;

/// A refusal, as the registry's clients see it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Error {
    status: StatusCode,
    code: u32,
    message: String,
}

impl Error {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Confluent's `error_code`: the status, or a number that begins with it.
    #[must_use]
    pub fn code(&self) -> u32 {
        self.code
    }

    /// What is wrong, in words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    fn not_found(code: u32, message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    fn unprocessable(code: u32, message: String) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// A refusal by the HTTP layer, whose code is its status.
    pub(crate) fn http(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, u32::from(status.as_u16()), message)
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::http(
            StatusCode::UNAUTHORIZED,
            crate::domains::Unauthenticated.to_string(),
        )
    }

    pub(crate) fn credentials_needed(subject: Option<&str>) -> Self {
        let what = subject.map_or("the global settings".to_owned(), |subject| {
            format!("subject '{subject}'")
        });
        Self::http(
            StatusCode::UNAUTHORIZED,
            format!("Writing to {what} needs the credentials of a domain."),
        )
    }

    pub(crate) fn owned(subject: &str, owner: &str, caller: &str) -> Self {
        let message = format!(
            "Subject '{subject}' is owned by the domain '{owner}'; the domain '{caller}' may read it and refer to it, but not change it."
        );
        Self::new(StatusCode::FORBIDDEN, 40301, message)
    }

    pub(crate) fn unowned(subject: &str) -> Self {
        let message = format!(
            "Subject '{subject}' has no owner yet: claim it, or register a version, before anything else is changed."
        );
        Self::new(StatusCode::FORBIDDEN, 40301, message)
    }

    pub(crate) fn not_admin(caller: &str) -> Self {
        let message =
            format!("The global settings are changed by admin domains; the domain '{caller}' is none.");
        Self::new(StatusCode::FORBIDDEN, 40301, message)
    }

    pub(crate) fn subject_not_found(subject: &str) -> Self {
        Self::not_found(40401, format!("Subject '{subject}' not found."))
    }

    pub(crate) fn version_not_found(version: u32) -> Self {
        Self::not_found(40402, format!("Version {version} not found."))
    }

    pub(crate) fn schema_not_found() -> Self {
        Self::not_found(40403, "Schema not found".to_owned())
    }

    pub(crate) fn id_not_found(id: u32) -> Self {
        Self::not_found(40403, format!("Schema {id} not found"))
    }

    pub(crate) fn subject_soft_deleted(subject: &str) -> Self {
        let message =
            format!("Subject '{subject}' was soft deleted. Set permanent=true to delete permanently");
        Self::not_found(40404, message)
    }

    pub(crate) fn subject_not_soft_deleted(subject: &str) -> Self {
        let message = format!("Subject '{subject}' was not deleted first before being permanently deleted");
        Self::not_found(40405, message)
    }

    pub(crate) fn version_soft_deleted(subject: &str, version: u32) -> Self {
        let message = format!(
            "Subject '{subject}' Version {version} was soft deleted. Set permanent=true to delete permanently"
        );
        Self::not_found(40406, message)
    }

    pub(crate) fn version_not_soft_deleted(subject: &str, version: u32) -> Self {
        let message = format!(
            "Subject '{subject}' Version {version} was not deleted first before being permanently deleted"
        );
        Self::not_found(40407, message)
    }

    pub(crate) fn no_level(subject: &str) -> Self {
        let message = format!("Subject '{subject}' does not have subject-level compatibility configured");
        Self::not_found(40408, message)
    }

    pub(crate) fn no_mode(subject: &str) -> Self {
        Self::not_found(
            40409,
            format!("Subject '{subject}' does not have subject-level mode configured"),
        )
    }

    pub(crate) fn incompatible(subject: &str, messages: &[String]) -> Self {
        let message = format!(
            "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: [{}]",
            messages.join(", ")
        );
        Self::http(StatusCode::CONFLICT, message)
    }

    pub(crate) fn invalid_schema(reason: impl std::fmt::Display) -> Self {
        Self::unprocessable(42201, format!("Invalid schema: {reason}"))
    }

    pub(crate) fn invalid_version(version: &str) -> Self {
        let message = format!(
            "The specified version '{version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
        );
        Self::unprocessable(42202, message)
    }

    pub(crate) fn invalid_level() -> Self {
        let words: Vec<String> = Level::ALL
            .iter()
            .map(|level| level.as_str().to_lowercase())
            .collect();
        Self::unprocessable(
            42203,
            format!(
                "Invalid compatibility level. Valid values are {}",
                words.join(", ")
            ),
        )
    }

    pub(crate) fn unsupported_setting(name: &str) -> Self {
        Self::unprocessable(
            42203,
            format!("The setting \"{name}\" is not supported, only \"compatibility\""),
        )
    }

    pub(crate) fn not_permitted(message: String) -> Self {
        Self::unprocessable(42205, message)
    }

    pub(crate) fn referenced(subject: &str, version: u32, users: &[u32]) -> Self {
        let users: Vec<String> = users.iter().map(u32::to_string).collect();
        let message = format!(
            "One or more references exist to the schema {{subject={subject},version={version}}}: the schemas with the ids {}.",
            users.join(", ")
        );
        Self::unprocessable(42206, message)
    }

    pub(crate) fn invalid_subject(subject: &str) -> Self {
        Self::unprocessable(
            42208,
            format!("The specified subject '{subject}' is not a valid subject."),
        )
    }

    pub(crate) fn store(error: &journal::Error) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            50001,
            format!("Error in the backend data store: {error}"),
        )
    }

    pub(crate) fn loading() -> Self {
        let message = "The registry is still reading its topics; try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, 50001, message)
    }

    pub(crate) fn timed_out(reason: impl std::fmt::Display) -> Self {
        let message = format!(
            "Operation timed out; whether it was done is not known yet. Trying again is safe and tells. ({reason})"
        );
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 50002, message)
    }

    /// A write that was answered with something that is no answer to it.
    pub(crate) fn mixed_up(answer: &super::decide::Answer) -> Self {
        Self::http(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("The write was answered with {answer:?}"),
        )
    }

    pub(crate) fn busy() -> Self {
        let message = "Too many requests are waiting; try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, 50002, message)
    }
}
