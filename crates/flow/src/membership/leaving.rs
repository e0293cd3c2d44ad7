//! How a member leaves: asked to, or because the application is too slow.

use std::time::Duration;

use super::machine::{Coordinator, Member, Phase};
use super::{Error, Order};

impl Member {
    pub(super) fn rests_at(&self) -> Option<Duration> {
        let watched = !matches!(self.phase, Phase::Resting | Phase::Leaving { .. } | Phase::Closed)
            && self.closing.is_none();
        self.busy_since
            .filter(|_| watched)
            .map(|since| since + self.settings.poll_interval_max)
    }

    /// An application that does not look at the stream holds up the group: the member leaves, and joins again when
    /// the application comes back (KIP-62).
    pub(super) fn rest_if_too_slow(&mut self) {
        if self.rests_at().is_some_and(|at| at <= self.now) {
            if let (Coordinator::Known { node }, None, false) = (
                self.coordinator,
                &self.settings.instance,
                self.identity.member_id.is_empty(),
            ) {
                let request = self.number_request();
                let member_id = self.identity.member_id.clone();
                self.orders.push(Order::Leave {
                    request,
                    node,
                    member_id,
                });
            }
            self.lose(true);
            self.phase = Phase::Resting;
        } else if matches!(self.phase, Phase::Resting) && self.rests_since_ended() {
            self.phase = Phase::Unjoined;
        }
    }

    fn rests_since_ended(&self) -> bool {
        self.busy_since
            .is_none_or(|since| since + self.settings.poll_interval_max > self.now)
    }

    pub(super) fn close(&mut self, within: Duration) {
        if self.closing.is_none() && !matches!(self.phase, Phase::Closed) {
            self.closing = Some(self.now + within);
            self.revoke(|_| true);
        }
    }

    pub(super) fn leave_if_closing(&mut self) {
        let Some(until) = self.closing else { return };
        let overdue = self.now >= until;
        match self.phase {
            Phase::Closed => {}
            Phase::Leaving { .. } if !overdue => {}
            // A first join that is under way will bring the id to leave with.
            Phase::Joining { .. } if self.identity.member_id.is_empty() && !overdue => {}
            // The generation is about to be complete; then its commits are taken.
            Phase::Describing { .. } | Phase::Syncing { .. } if !self.has_given_all_back() && !overdue => {}
            _ if overdue || self.has_given_all_back() => self.say_goodbye(overdue),
            Phase::Unjoined if self.identity.member_id.is_empty() => self.end(None),
            _ => {}
        }
    }

    fn has_given_all_back(&self) -> bool {
        self.held.is_empty() && self.commits.is_empty()
    }

    /// A dynamic member tells the coordinator, so that its partitions go to others at once. A static one keeps its
    /// place for the time of its session.
    fn say_goodbye(&mut self, overdue: bool) {
        let member_id = self.identity.member_id.clone();
        let leaves = self.settings.instance.is_none() && !member_id.is_empty();
        match (overdue, leaves, self.coordinator) {
            (false, true, _) => self.phase = Phase::Leaving { request: None },
            (true, true, Coordinator::Known { node }) if !matches!(self.phase, Phase::Leaving { .. }) => {
                let request = self.number_request();
                self.orders.push(Order::Leave {
                    request,
                    node,
                    member_id,
                });
                self.end(None);
            }
            _ => self.end(None),
        }
    }

    pub(super) fn leave(&mut self, node: i32) {
        let request = self.number_request();
        self.phase = Phase::Leaving {
            request: Some(request),
        };
        let member_id = self.identity.member_id.clone();
        self.orders.push(Order::Leave {
            request,
            node,
            member_id,
        });
    }

    /// Out of the group for good.
    pub(super) fn end(&mut self, error: Option<Error>) {
        self.lose(true);
        self.phase = Phase::Closed;
        self.orders.push(Order::Closed(error));
    }
}
