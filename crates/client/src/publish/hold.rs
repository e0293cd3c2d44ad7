//! What an operator holds back: the list beside the store, or in the one that processes share, is looked at every second, and
//! the lines are told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_event::clock::Timestamp;
use evenkeel_flow::session::Input;
use evenkeel_flow::unplaced;
use evenkeel_store::{Holds, Place, Scope, SharedStandby};

use super::done::Done;
use super::engine::Engine;

/// Between looks at the list.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is held, and what is to be drained at all.
#[derive(Debug)]
pub(super) struct Held {
    list: List,
    holds: Holds,
    /// Nothing else is drained by this process; empty for all.
    only: Vec<Scope>,
}

/// Where the list is.
#[derive(Debug, Clone)]
pub(super) enum List {
    In(PathBuf),
    Shared(Arc<dyn SharedStandby>),
}

impl List {
    /// What it says now; `None` where that is not to be known now.
    pub(super) async fn look(self, now: Timestamp) -> Option<Holds> {
        match self {
            Self::In(directory) => tokio::task::spawn_blocking(move || read(&directory, now))
                .await
                .ok(),
            Self::Shared(store) => match store.holds().await {
                Ok(holds) => Some(holds),
                // Nothing is drained without it either.
                Err(error) if error.is_outage() => None,
                Err(error) => Some(unreadable(&error, now)),
            },
        }
    }
}

impl Held {
    /// As long as the store that is shared was not asked, all of it is held.
    pub(super) fn shared(store: Arc<dyn SharedStandby>, only: Vec<Scope>, now: Timestamp) -> Self {
        Self {
            list: List::Shared(store),
            holds: Holds::everything(now, "it is not known yet what is held"),
            only,
        }
    }

    /// What the list says now. What cannot be read holds everything: an operator may have meant to.
    pub(super) fn read(directory: &Path, only: Vec<Scope>, now: Timestamp) -> Self {
        Self {
            list: List::In(directory.to_owned()),
            holds: read(directory, now),
            only,
        }
    }

    pub(super) fn list(&self) -> List {
        self.list.clone()
    }

    pub(super) fn holds(&self, place: &Place) -> bool {
        let is_meant = self.only.is_empty() || self.only.iter().any(|scope| scope.covers(place));
        !is_meant || self.holds.of(place).is_some()
    }
}

fn read(directory: &Path, now: Timestamp) -> Holds {
    Holds::read(directory).unwrap_or_else(|error| unreadable(&error, now))
}

fn unreadable(error: &dyn std::error::Error, now: Timestamp) -> Holds {
    tracing::error!(%error, "what is to be held cannot be read; nothing parked is sent on");
    Holds::everything(now, "the list of holds cannot be read")
}

impl Engine {
    pub(super) fn look_at_holds_later(&mut self) {
        self.look_at_holds(LOOK_EVERY);
    }

    pub(super) fn look_at_holds(&mut self, after: Duration) {
        let (list, clock) = (self.held.list.clone(), self.shared.clock.clone());
        self.work.push(Box::pin(async move {
            tokio::time::sleep(after).await;
            Done::Holds(list.look(clock.now()).await)
        }));
    }

    pub(super) fn holds_seen(&mut self, holds: Option<Holds>) {
        self.look_at_holds_later();
        let Some(holds) = holds.filter(|holds| *holds != self.held.holds) else {
            return;
        };
        self.held.holds = holds;
        let lines: Vec<u32> = self.lines.keys().copied().collect();
        for id in lines {
            self.tell_hold(id);
        }
        let topics: Vec<u32> = self.topics.keys().copied().collect();
        for id in topics {
            self.tell_topic_hold(id);
        }
    }

    /// Tells a line whether what it has parked is held.
    pub(super) fn tell_hold(&mut self, id: u32) {
        if let Some(place) = self.place_of(id) {
            let held = self.held.holds(&place);
            self.inbox.push_back((id, Input::Hold { held }));
            self.report_leader(id);
        }
    }

    /// Tells a topic whether what is parked under it is held.
    pub(super) fn tell_topic_hold(&mut self, id: u32) {
        if let Some(place) = self.topic_place(id) {
            let held = self.held.holds(&place);
            self.topic_step(id, unplaced::Input::Hold { held });
        }
    }
}
