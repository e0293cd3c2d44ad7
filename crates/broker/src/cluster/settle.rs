//! Tries again what a cluster refuses only while it sorts itself out.

use evenkeel_event::backoff::Backoff;
use kafka_protocol::protocol::Request;
use tokio::time::Instant;

use super::Cluster;
use crate::error::Error;

impl Cluster {
    /// Makes `attempt` until it is not refused for a coordinator, a controller or a leader that loads or moves, for the
    /// request time-out at the most. Outages are told at once.
    pub(crate) async fn settled<T, Attempt>(&self, mut attempt: impl FnMut() -> Attempt) -> Result<T, Error>
    where
        Attempt: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + self.request_timeout();
        let mut failures = 0;
        loop {
            let outcome = attempt().await;
            let Err(Error::Refused {
                code: 5 | 6 | 14 | 15 | 16 | 41 | 74 | 76 | 78,
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

    /// Asks the controller, or whom the cluster names in its place. One that nothing could be written to may have died
    /// unnoticed: whom the cluster names next is asked, for the request time-out at the most.
    pub(crate) async fn ask_controller<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        let deadline = Instant::now() + self.request_timeout();
        if self.metadata().controller.is_none() {
            self.refresh().await?;
        }
        let mut failures = 0;
        loop {
            let outcome = match self.metadata().controller {
                Some(node) => self.ask_node(node, request).await,
                None => self.ask(request).await,
            };
            failures += 1;
            let wait = Backoff::RECONNECT.wait(failures, rand::random());
            match &outcome {
                Err(error) if error.is_unwritten() && Instant::now() + wait < deadline => {}
                _ => return outcome,
            }
            tokio::time::sleep(wait).await;
            self.refresh().await?;
        }
    }
}
