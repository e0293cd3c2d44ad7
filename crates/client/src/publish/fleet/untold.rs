//! Callers whose events are durable in the shared store, and who are told so when no process publishes ahead of them.

use std::time::Duration;

use evenkeel_flow::diversion::Mode;
use evenkeel_flow::session::Claim;
use evenkeel_store::Place;

use super::Role;
use crate::publish::engine::Engine;
use crate::publish::fate::Fate;
use crate::publish::line::Line;
use crate::publish::pulse::boot_time;

/// Longest time that callers wait for the diversion to count for all: longer than a lease of the usual length takes to run
/// out.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Untold {
    epoch: u64,
    since: Duration,
    claim: Claim,
    fate: Fate,
}

impl Engine {
    /// An append under `epoch` was made.
    pub(in crate::publish) fn made_in(&mut self, id: u32, epoch: Option<u64>) {
        if let (
            Some(Line {
                role: Role::Publishes(publishes),
                ..
            }),
            Some(epoch),
        ) = (self.lines.get_mut(&id), epoch)
        {
            publishes.epoch = epoch;
        }
    }

    /// Tells callers that they are parked, when nobody publishes ahead of them; else later. False: this does not concern it.
    pub(in crate::publish) fn tell_parked(&mut self, id: u32, claim: Claim, fate: &Fate) -> bool {
        let (Some(fleet), Some(line)) = (&self.fleet, self.lines.get_mut(&id)) else {
            return false;
        };
        let (Role::Publishes(publishes), Fate::Parked { .. }) = (&mut line.role, fate) else {
            return false;
        };
        let epoch = publishes.epoch;
        if fleet.member.may_tell(&line.intake.front.place, epoch) {
            return false;
        }
        let (since, fate) = (boot_time(), fate.clone());
        publishes.untold.push(Untold {
            epoch,
            since,
            claim,
            fate,
        });
        true
    }

    pub(in crate::publish) fn tell_settled(&mut self, place: &Place) {
        let (Some(fleet), Some(id)) = (&self.fleet, self.publishing_line(place)) else {
            return;
        };
        let Some(Line {
            role: Role::Publishes(publishes),
            ..
        }) = self.lines.get_mut(&id)
        else {
            return;
        };
        let is_settled = |untold: &mut Untold| fleet.member.may_tell(place, untold.epoch);
        let settled: Vec<Untold> = publishes.untold.extract_if(.., is_settled).collect();
        for Untold { claim, fate, .. } in settled {
            self.acknowledge(claim, fate);
        }
    }

    /// In the mode that promises no order without the store, who has waited for the store for long is told that the event is
    /// parked, as it is: only its order across processes is not promised.
    pub(in crate::publish) fn tell_late(&mut self) {
        if self.fleet.as_ref().is_none_or(|fleet| fleet.mode == Mode::Strict) {
            return;
        }
        let now = boot_time();
        let mut late = Vec::new();
        for line in self.lines.values_mut() {
            if let Role::Publishes(publishes) = &mut line.role {
                let is_late = |untold: &mut Untold| now > untold.since + TOLD_WITHIN;
                late.extend(publishes.untold.extract_if(.., is_late));
            }
        }
        for Untold { claim, fate, .. } in late {
            self.acknowledge(claim, fate);
        }
    }
}
