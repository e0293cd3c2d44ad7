//! What an application does with an event, and how that can fail.

use std::future::Future;
use std::pin::Pin;

use super::Received;

/// A handler's work on one event.
pub type Handling = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// What an application does with each event. Any `Fn(Received) -> Future<Output = Result<(), Failure>>` is one.
pub trait Handler: Send + Sync + 'static {
    /// Handles one event. Events of one partition come one after the other; those of several at the same time.
    fn handle(&self, event: Received) -> Handling;
}

impl<F, Fut> Handler for F
where
    F: Fn(Received) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    fn handle(&self, event: Received) -> Handling {
        Box::pin(self(event))
    }
}

/// Why a handler could not handle an event. Any error turns into [`Failure::Again`] by `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may go well later: call again, and dead-letter the event when that has failed often enough.
    Again(String),
    /// It can never go well: dead-letter the event at once.
    Never(String),
}

impl Failure {
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Again(message) | Self::Never(message) => message,
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::Again(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_causes() {
        let error = std::io::Error::other("disk gone");
        assert_eq!(Failure::from(error), Failure::Again("disk gone".to_owned()));
    }
}
