//! The process's producer id, asked for once.

use std::time::Duration;

use evenkeel_broker::{Error, ProducerId};
use evenkeel_flow::session::Input;

use super::done::Done;
use super::engine::Engine;

/// Longest wait before a producer id is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The id, and the lines that wait for one.
#[derive(Debug, Default)]
pub(super) struct Producer {
    id: Option<i64>,
    asking: bool,
    waiting: Vec<u32>,
}

impl Engine {
    /// The line needs a producer id, another than `used_up`.
    pub(super) fn need_producer(&mut self, line: u32, used_up: Option<i64>) {
        // The lane of a shared partition changes hands, and nobody else's stamps may be among those that follow.
        if self.fleet.is_some() {
            return self.ask_own_producer(line);
        }
        match self.producer.id {
            Some(id) if used_up != Some(id) => self.inbox.push_back((line, Input::Producer { id })),
            _ => {
                self.producer.id = None;
                self.producer.waiting.push(line);
                if !std::mem::replace(&mut self.producer.asking, true) {
                    self.ask_producer();
                }
            }
        }
    }

    pub(super) fn ask_producer(&mut self) {
        let cluster = self.cluster.clone();
        self.work.push(Box::pin(async move {
            Done::Producer(cluster.init_producer_id().await)
        }));
    }

    fn ask_own_producer(&mut self, line: u32) {
        let cluster = self.cluster.clone();
        self.work.push(Box::pin(async move {
            let result = cluster.init_producer_id().await;
            if result.is_err() {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            Done::OwnProducer { line, result }
        }));
    }

    pub(super) fn own_producer_given(&mut self, line: u32, result: Result<ProducerId, Error>) {
        match result {
            Ok(ProducerId(id)) => self.inbox.push_back((line, Input::Producer { id })),
            Err(error) => {
                tracing::debug!(%error, "no producer id yet");
                self.ask_own_producer(line);
            }
        }
    }

    pub(super) fn producer_given(&mut self, result: Result<ProducerId, Error>) {
        match result {
            Ok(ProducerId(id)) => {
                self.producer.id = Some(id);
                self.producer.asking = false;
                for line in std::mem::take(&mut self.producer.waiting) {
                    self.inbox.push_back((line, Input::Producer { id }));
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no producer id yet");
                self.work.push(Box::pin(async {
                    tokio::time::sleep(AGAIN_AFTER).await;
                    Done::ProducerAgain
                }));
            }
        }
    }
}
