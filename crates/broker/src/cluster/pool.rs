//! Connections by node, each made when first needed and again after a back-off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_event::backoff::Backoff;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::Error;

/// Connections for one purpose, one per node. Requests that may wait long at the broker (a long poll, a join) hold up
/// all that come behind them, so each such user has a pool of its own.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    places: Mutex<HashMap<i32, Arc<Place>>>,
}

#[derive(Debug, Default)]
struct Place {
    state: tokio::sync::Mutex<State>,
    attempts: std::sync::atomic::AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<Connection>,
    /// Failures in a row, the last of them, and when to try again.
    failures: u32,
    last: Option<Error>,
    not_before: Option<Instant>,
}

impl Pool {
    /// The connection to `node`; `dial` makes it when there is none that can be used.
    pub(crate) async fn connection<Dial>(
        &self,
        node: i32,
        dial: impl FnOnce() -> Dial,
    ) -> Result<Connection, Error>
    where
        Dial: Future<Output = Result<Connection, Error>>,
    {
        use std::sync::atomic::Ordering;
        let place = self.place(node);
        let before = place.attempts.load(Ordering::Acquire);
        let mut state = place.state.lock().await;
        if let Some(connection) = state
            .connection
            .as_ref()
            .filter(|connection| connection.is_usable())
        {
            return Ok(connection.clone());
        }
        state.connection = None;
        // An attempt that began while this caller waited speaks for this caller too.
        if let Some(error) = state
            .last
            .as_ref()
            .filter(|_| place.attempts.load(Ordering::Acquire) != before)
        {
            return Err(error.clone());
        }
        if let Some(not_before) = state.not_before {
            tokio::time::sleep_until(not_before).await;
        }
        place.attempts.fetch_add(1, Ordering::AcqRel);
        match dial().await {
            Ok(connection) => {
                *state = State {
                    connection: Some(connection.clone()),
                    ..State::default()
                };
                Ok(connection)
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                let wait = Backoff::RECONNECT.wait(state.failures, rand::random());
                state.not_before = Some(Instant::now() + wait);
                state.last = Some(error.clone());
                Err(error)
            }
        }
    }

    /// A connection to `node` that can be used at once.
    pub(crate) fn ready(&self, node: i32) -> Option<Connection> {
        let place = self.place(node);
        let state = place.state.try_lock().ok()?;
        state
            .connection
            .as_ref()
            .filter(|connection| connection.is_usable())
            .cloned()
    }

    /// Forgets connections to nodes that `keep` does not want any more.
    pub(crate) fn retain(&self, keep: impl Fn(i32) -> bool) {
        self.places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|node, _| keep(*node));
    }

    fn place(&self, node: i32) -> Arc<Place> {
        self.places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(node)
            .or_default()
            .clone()
    }
}
