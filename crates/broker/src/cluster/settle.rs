//! Tries again what a cluster refuses only while it sorts itself out.

use evenkeel_event::backoff::Backoff;
use tokio::time::Instant;

use super::Cluster;
use crate::error::Error;

impl Cluster {
    /// Makes `attempt` until it is not refused for a coordinator or controller that loads or moves, for the request
    /// time-out at the most. Outages are told at once.
    pub(crate) async fn settled<T, Attempt>(&self, mut attempt: impl FnMut() -> Attempt) -> Result<T, Error>
    where
        Attempt: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + self.request_timeout();
        let mut failures = 0;
        loop {
            let outcome = attempt().await;
            let Err(Error::Refused {
                code: 14 | 15 | 16 | 41,
                ..
            }) = &outcome
            else {
                return outcome;
            };
            failures += 1;
            let wait = Backoff::RECONNECT.wait(failures, rand::random());
            if Instant::now() + wait >= deadline {
                return outcome;
            }
            self.suspect();
            tokio::time::sleep(wait).await;
        }
    }
}
