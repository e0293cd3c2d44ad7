use std::path::PathBuf;

use serde::Deserialize;

use crate::server::{Server, lacking};
use crate::tools::{printed_path, script, skipped};

/// A running DynamoDB local, all in memory, that ends when this value is dropped, or when the process that holds it ends in
/// whatever way. It takes any credentials and region; all see the same tables.
#[derive(Debug)]
pub struct DynamoDb(Server<Described>);

#[derive(Debug, Deserialize)]
struct Described {
    endpoint: String,
    folder: PathBuf,
}

/// Starts DynamoDB local, or says why it cannot be had on this machine and returns `None`.
///
/// # Panics
/// With `CI=true`, when it cannot be had; anywhere, when it is there and does not start.
#[must_use]
pub fn dynamodb_or_skip() -> Option<DynamoDb> {
    match missing() {
        Some(reason) => skipped(&format!("no DynamoDB local: {reason}")),
        None => Some(DynamoDb::start()),
    }
}

/// What it needs and this machine lacks.
fn missing() -> Option<String> {
    let lacking = lacking(&[("java", "-version"), ("python3", "--version")]);
    lacking.or_else(|| printed_path(script("dynamodb/fetch"), &[]).err())
}

impl DynamoDb {
    /// Starts the server and returns when it answers.
    ///
    /// # Panics
    /// When it does not start; the message holds the end of its log.
    #[must_use]
    pub fn start() -> Self {
        Self(Server::start("DynamoDB local", "dynamodb", &[]))
    }

    /// Where it answers: `http://127.0.0.1:` and its port.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.0.described.endpoint
    }

    /// Its folder, which holds its log.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        &self.0.described.folder
    }
}
