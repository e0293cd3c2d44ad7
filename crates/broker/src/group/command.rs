//! What the application asks of the engine.

use std::time::Duration;

use evenkeel_event::TopicName;
use evenkeel_flow::membership::{Claim, Mark};
use tokio::sync::oneshot;

use super::NotCommitted;

#[derive(Debug)]
pub(super) enum Command {
    Commit {
        offsets: Vec<(Claim, Mark)>,
        done: oneshot::Sender<Result<(), NotCommitted>>,
    },
    Released(Vec<Claim>),
    Seek(Claim, i64),
    Subscribe(Vec<TopicName>),
    Close {
        within: Duration,
    },
}
