//! What an operator holds back: the list beside the store is looked at every second, and the lines are told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_event::clock::Timestamp;
use evenkeel_flow::session::Input;
use evenkeel_flow::unplaced;
use evenkeel_store::{Holds, Place, Scope};

use super::done::Done;
use super::engine::Engine;

/// Between looks at the list.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is held, and what is to be drained at all.
#[derive(Debug)]
pub(super) struct Held {
    directory: PathBuf,
    holds: Holds,
    /// Nothing else is drained by this process; empty for all.
    only: Vec<Scope>,
}

impl Held {
    /// What the list says now. What cannot be read holds everything: an operator may have meant to.
    pub(super) fn read(directory: &Path, only: Vec<Scope>, now: Timestamp) -> Self {
        Self {
            directory: directory.to_owned(),
            holds: read(directory, now),
            only,
        }
    }

    pub(super) fn holds(&self, place: &Place) -> bool {
        let is_meant = self.only.is_empty() || self.only.iter().any(|scope| scope.covers(place));
        !is_meant || self.holds.of(place).is_some()
    }
}

fn read(directory: &Path, now: Timestamp) -> Holds {
    Holds::read(directory).unwrap_or_else(|error| {
        tracing::error!(%error, "what is to be held cannot be read; nothing parked is sent on");
        Holds::everything(now, "the list of holds cannot be read")
    })
}

impl Engine {
    pub(super) fn look_at_holds_later(&mut self) {
        let (directory, clock) = (self.held.directory.clone(), self.shared.clock.clone());
        self.work.push(Box::pin(async move {
            tokio::time::sleep(LOOK_EVERY).await;
            let looked = tokio::task::spawn_blocking(move || read(&directory, clock.now())).await;
            Done::Holds(looked.ok())
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
