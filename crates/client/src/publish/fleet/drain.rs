//! The lanes that this process drains, each by a line of its own.

use std::ops::Range;
use std::time::Duration;

use evenkeel_event::TopicPartition;
use evenkeel_flow::session;
use evenkeel_store::{Place, PlaceStats};

use super::{Drains, Role};
use crate::publish::done::Done;
use crate::publish::engine::Engine;
use crate::publish::line::Line;

/// Wait before a lane is looked at again that could not be.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl Engine {
    /// Looks what epochs of producers the lane remembers, then drains it.
    pub(in crate::publish) fn open_drain(&mut self, place: Place, term: u64, head: u64, tail: u64) {
        let Some(fleet) = &self.fleet else { return };
        let store = fleet.store();
        self.work.push(Box::pin(async move {
            let mut found = store.open_places().await;
            while let Err(error) = found {
                tracing::debug!(%error, topic = %place.topic, "the lane cannot be looked at yet");
                tokio::time::sleep(LOOK_AGAIN).await;
                found = store.open_places().await;
            }
            let stats = found.into_iter().flatten().find(|stats| stats.place == place);
            Done::DrainOpened {
                place,
                term,
                span: head..tail,
                stats,
            }
        }));
    }

    pub(in crate::publish) fn drain_opened(
        &mut self,
        place: Place,
        term: u64,
        span: Range<u64>,
        stats: Option<PlaceStats>,
    ) {
        let record = self
            .fleet
            .as_ref()
            .map(|fleet| fleet.member.record(&place).record);
        let (Some(partition), Some(fleet)) = (place.partition, &mut self.fleet) else {
            return;
        };
        if record.is_none_or(|record| record.term != term) || fleet.drains.contains_key(&place) {
            return;
        }
        let front = self.shared.front(&place.topic, place.partition);
        let id = front.id;
        let role = Role::Drains(Drains { term, left: None });
        fleet.drains.insert(place.clone(), id);
        let partition = TopicPartition::new(place.topic.clone(), partition);
        self.lines
            .insert(id, Line::new(partition, front, role, self.settings));
        let (span, epochs) = match stats {
            Some(stats) => (stats.span.head..stats.span.tail.max(span.end), stats.epochs),
            None => (span.end..span.end, Vec::new()),
        };
        let (head, tail) = (span.start, span.end);
        self.inbox
            .push_back((id, session::Input::Recovered { head, tail, epochs }));
        self.tell_hold(id);
        self.tell_leader(id);
    }

    pub(in crate::publish) fn drain_has_grown(&mut self, place: &Place, head: u64, tail: u64) {
        let id = self
            .fleet
            .as_ref()
            .and_then(|fleet| fleet.drains.get(place))
            .copied();
        let Some(id) = id else { return };
        if let Some(Line {
            role: Role::Drains(drains),
            ..
        }) = self.lines.get_mut(&id)
        {
            // How it stands is told anew, also when it has sent all of this already.
            drains.left = None;
        }
        self.inbox.push_back((id, session::Input::Grown { head, tail }));
    }

    pub(in crate::publish) fn stop_drain(&mut self, place: &Place) {
        let id = self.fleet.as_mut().and_then(|fleet| fleet.drains.remove(place));
        if let Some(id) = id {
            self.lines.remove(&id);
            self.turns.forget(id);
            self.give_turns();
        }
    }
}
