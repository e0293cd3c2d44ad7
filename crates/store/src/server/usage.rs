//! How much is parked in all, closely enough for a limit.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::record::Room;
use crate::Error;

/// For how long a sum is believed. What other processes appended meanwhile may go beyond the limit.
const FRESH: Duration = Duration::from_secs(1);

/// The bytes of all places as they were last summed, and what this process has appended since.
#[derive(Debug)]
pub(super) struct Usage {
    limit_bytes: u64,
    state: Mutex<State>,
    summing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    used_bytes: u64,
    summed_at: Option<Instant>,
}

impl Usage {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            state: Mutex::default(),
            summing: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub(super) fn room(&self) -> Room {
        Room {
            used_bytes: self.state().used_bytes,
            limit_bytes: self.limit_bytes,
        }
    }

    pub(super) fn add(&self, bytes: u64) {
        let mut state = self.state();
        state.used_bytes = state.used_bytes.saturating_add(bytes);
    }

    fn is_fresh(&self) -> bool {
        let summed_at = self.state().summed_at;
        summed_at.is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Sums anew when the last sum is old, one caller at a time.
    pub(super) async fn refresh(&self, sum: impl AsyncFnOnce() -> Result<u64, Error>) -> Result<(), Error> {
        if self.is_fresh() {
            return Ok(());
        }
        let _one = self.summing.lock().await;
        if self.is_fresh() {
            return Ok(());
        }
        let used_bytes = sum().await?;
        *self.state() = State {
            used_bytes,
            summed_at: Some(Instant::now()),
        };
        Ok(())
    }
}
