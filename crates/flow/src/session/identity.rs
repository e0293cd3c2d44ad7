//! Who stamps: a producer id, its epoch for this partition and the next sequence.
//!
//! The rules it keeps:
//! - a sequence is given once per producer id and epoch: the same sequence with other content is dropped by the broker as
//!   a double, an event lost. So what another process stamped goes on at an epoch above all that were ever stored;
//! - an identity is established by an append under its epoch and stays so for half of the producer's expiry, counted
//!   from the appended batch's timestamp as the broker counts it;
//! - stored batches keep the producer id that stamped them, whoever drains them.

use std::time::Duration;

use evenkeel_event::clock::Timestamp;

use super::ProducerEpoch;
use crate::Stamp;

/// A producer id as one partition knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    next_sequence: i32,
    established: Option<Timestamp>,
    /// Nobody but this process gave sequences of this epoch.
    is_ours: bool,
    /// The broker knows an epoch above this one, and which of its sequences are used up is not known.
    is_taken: bool,
}

impl Identity {
    /// True when the next sequence of this epoch is known to be free, and behind that of `stamp`.
    pub(super) fn goes_on_above(&self, stamp: Stamp) -> bool {
        self.is_ours && self.epoch > stamp.epoch
    }

    const fn is_exhausted(&self) -> bool {
        self.is_taken || self.epoch == i16::MAX
    }
}

/// The process's own identity and those whose stamped batches the store still holds.
#[derive(Debug, Default)]
pub(super) struct Identities {
    own: Option<i64>,
    list: Vec<Identity>,
    asked: bool,
}

impl Identities {
    /// Takes the process's producer id, when none is there or the one there is used up.
    pub(super) fn take_own(&mut self, producer_id: i64) {
        let needed = self.asked || self.own.is_none();
        self.asked = false;
        if needed && self.find(producer_id).is_none() {
            self.own = Some(producer_id);
            self.list.push(Identity {
                producer_id,
                epoch: 0,
                next_sequence: 0,
                established: None,
                is_ours: true,
                is_taken: false,
            });
        }
    }

    /// Gives the process's own identity up for good.
    pub(super) fn renounce(&mut self) {
        self.own = None;
    }

    pub(super) fn own(&self) -> Option<&Identity> {
        self.find(self.own?)
    }

    pub(super) fn find(&self, producer_id: i64) -> Option<&Identity> {
        self.list
            .iter()
            .find(|identity| identity.producer_id == producer_id)
    }

    fn find_mut(&mut self, producer_id: i64) -> Option<&mut Identity> {
        self.list
            .iter_mut()
            .find(|identity| identity.producer_id == producer_id)
    }

    /// True once per need: the shell is to be asked for a producer id. The second value is the one that is used up.
    pub(super) fn ask(&mut self) -> Option<Option<i64>> {
        (!std::mem::replace(&mut self.asked, true)).then_some(self.own)
    }

    /// Learns of a stamp that is already given. Stamps are told in their order.
    pub(super) fn learn(&mut self, stamp: Stamp) {
        match self.find_mut(stamp.producer_id) {
            Some(identity) if stamp.epoch < identity.epoch => {}
            Some(identity) => {
                if stamp.epoch > identity.epoch {
                    identity.established = None;
                    identity.is_ours = false;
                    identity.is_taken = false;
                }
                identity.epoch = stamp.epoch;
                identity.next_sequence = stamp.next_sequence();
            }
            None => self.list.push(Identity {
                producer_id: stamp.producer_id,
                epoch: stamp.epoch,
                next_sequence: stamp.next_sequence(),
                established: None,
                is_ours: false,
                is_taken: false,
            }),
        }
    }

    /// The broker said of a stamp that a higher epoch is in use. Where that is not one of ours, a dead process used it for
    /// what it never stored, so that the epoch above may be used up: late writes are fenced already, and what is left is
    /// stamped by another producer id.
    pub(super) fn fenced(&mut self, stamp: Stamp) {
        if let Some(identity) = self.find_mut(stamp.producer_id)
            && identity.epoch == stamp.epoch
        {
            identity.is_taken = true;
        }
    }

    /// Learns that an epoch is used up, with whatever sequences.
    pub(super) fn learn_epoch(&mut self, used: ProducerEpoch) {
        self.learn(Stamp {
            producer_id: used.producer_id,
            epoch: used.epoch,
            base_sequence: 0,
            count: 0,
        });
    }

    /// Gives the next `count` sequences of a producer id.
    pub(super) fn stamp(&mut self, producer_id: i64, count: i32) -> Option<Stamp> {
        let identity = self.find_mut(producer_id)?;
        let stamp = Stamp {
            producer_id,
            epoch: identity.epoch,
            base_sequence: identity.next_sequence,
            count,
        };
        identity.next_sequence = stamp.next_sequence();
        Some(stamp)
    }

    /// Goes to the epoch above and returns the producer id to stamp with, which is the process's own where the epochs
    /// of `producer_id` are used up or taken. `None` when a new producer id is needed first.
    pub(super) fn raise(&mut self, producer_id: i64) -> Option<i64> {
        let exhausted = self.find(producer_id).is_none_or(Identity::is_exhausted);
        let raised = if exhausted { self.own? } else { producer_id };
        let identity = self.find_mut(raised)?;
        if identity.is_exhausted() {
            return None;
        }
        identity.epoch += 1;
        identity.next_sequence = 0;
        identity.established = None;
        identity.is_ours = true;
        Some(raised)
    }

    /// A batch was answered appended.
    pub(super) fn establish(&mut self, stamp: Stamp, at: Timestamp) {
        if let Some(identity) = self.find_mut(stamp.producer_id)
            && identity.epoch == stamp.epoch
        {
            identity.established = Some(identity.established.map_or(at, |earlier| earlier.max(at)));
        }
    }

    /// True when the broker knows the stamp's identity, so that it refuses what is out of turn.
    pub(super) fn is_established(&self, stamp: Stamp, wall: Timestamp, fresh_for: Duration) -> bool {
        self.find(stamp.producer_id).is_some_and(|identity| {
            identity.epoch == stamp.epoch
                && identity.established.is_some_and(|at| wall.since(at) <= fresh_for)
        })
    }

    /// The topic was created anew: no broker knows any producer.
    pub(super) fn forget_established(&mut self) {
        for identity in &mut self.list {
            identity.established = None;
        }
    }

    /// Forgets the identities of others once the store holds nothing of theirs.
    pub(super) fn keep_own(&mut self) {
        let own = self.own;
        self.list.retain(|identity| Some(identity.producer_id) == own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: i16, base_sequence: i32, count: i32) -> Stamp {
        Stamp {
            producer_id: 7,
            epoch,
            base_sequence,
            count,
        }
    }

    #[test]
    fn sequences_are_given_once_and_wrap() {
        let mut identities = Identities::default();
        identities.learn(stamp(0, i32::MAX - 2, 2));
        assert_eq!(identities.stamp(7, 3), Some(stamp(0, i32::MAX, 3)));
        assert_eq!(identities.stamp(7, 1), Some(stamp(0, 2, 1)));
    }

    #[test]
    fn the_next_epoch_begins_at_sequence_zero_and_is_not_established() {
        let (mut identities, at) = (Identities::default(), Timestamp::from_millis(5));
        identities.learn(stamp(0, 0, 4));
        identities.establish(stamp(0, 0, 4), at);
        assert!(identities.is_established(stamp(0, 4, 1), at, Duration::ZERO));
        assert_eq!(identities.raise(7), Some(7));
        assert_eq!(identities.stamp(7, 1), Some(stamp(1, 0, 1)));
        assert!(!identities.is_established(stamp(1, 0, 1), at, Duration::ZERO));
        identities.establish(stamp(0, 0, 4), at);
        assert!(!identities.is_established(stamp(1, 0, 1), at, Duration::ZERO));
    }

    #[test]
    fn a_stamp_of_an_older_epoch_teaches_nothing() {
        let mut identities = Identities::default();
        identities.learn(stamp(3, 0, 1));
        identities.learn(stamp(2, 8, 1));
        assert_eq!(identities.stamp(7, 1), Some(stamp(3, 1, 1)));
    }

    #[test]
    fn used_up_epochs_go_over_to_the_own_producer_id_or_to_a_new_one() {
        let mut identities = Identities::default();
        identities.learn(stamp(i16::MAX, 0, 1));
        assert_eq!(identities.raise(7), None);
        assert_eq!(identities.ask(), Some(None));
        assert_eq!(identities.ask(), None);
        identities.take_own(9);
        assert_eq!(identities.raise(7), Some(9));
    }

    #[test]
    fn an_epoch_above_that_somebody_else_used_is_never_used_again() {
        let mut identities = Identities::default();
        identities.learn(stamp(0, 3, 1));
        identities.fenced(stamp(0, 3, 1));
        assert_eq!(identities.raise(7), None);
        identities.take_own(9);
        assert_eq!(identities.raise(7), Some(9));
        let mut identities = Identities::default();
        identities.take_own(7);
        assert_eq!(identities.raise(7), Some(7));
        identities.fenced(stamp(0, 3, 1));
        assert_eq!(
            identities.raise(7),
            Some(7),
            "the epoch above is this process's own"
        );
    }
}
