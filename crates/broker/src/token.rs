//! Tokens for OAUTHBEARER (RFC 7628, KIP-255).

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::config::Secret;

/// A token, or why there is none.
pub type TokenFuture<'provider> =
    Pin<Box<dyn Future<Output = Result<Secret, TokenError>> + Send + 'provider>>;

/// Gives a token each time a connection is made. Tokens that expire are asked for anew.
pub trait TokenProvider: Send + Sync + fmt::Debug {
    /// A token that is valid now.
    fn token(&self) -> TokenFuture<'_>;
}

/// Why no token could be had. The text must not hold a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no token: {0}")]
pub struct TokenError(pub String);
