//! How the store stands, and whether it has moved.

use std::collections::BTreeMap;

use evenkeel_event::clock::Timestamp;
use evenkeel_store::{Error, Holds, Place, PlaceStats, SharedStandby};
use evenkeel_worker::applications::total;

/// What is parked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Parked events, those kept aside among them.
    pub(crate) events: u64,
    /// Dead letters that their own topic refuses. Nothing waits behind them, and no drain moves them.
    pub(crate) aside: u64,
    /// Events that an operator holds back: no drain moves them either.
    pub(crate) held: u64,
    /// When the oldest was parked.
    pub(crate) oldest: Option<Timestamp>,
    /// Some partition that is not held is not published to directly: it has parked events, or had some until now.
    pub(crate) is_diverted: bool,
    heads: BTreeMap<Place, u64>,
}

impl Standing {
    /// Looks into the store.
    pub(crate) async fn look(store: &dyn SharedStandby) -> Result<Self, Error> {
        let (places, holds) = (store.open_places().await?, store.holds().await?);
        let mut standing = Self::of(&places, &holds);
        let diverted = store.diversions().await?;
        let is_free = |place: &Place| holds.of(place).is_none();
        standing.is_diverted = standing.waiting() > 0 || diverted.iter().any(|listed| is_free(&listed.place));
        Ok(standing)
    }

    fn of(places: &[PlaceStats], holds: &Holds) -> Self {
        let (events, _, oldest) = total(places);
        let (aside, lanes): (Vec<_>, Vec<_>) = places.iter().partition(|parked| parked.place.is_aside());
        let held = lanes.iter().filter(|parked| holds.of(&parked.place).is_some());
        Self {
            events,
            aside: aside.iter().map(|parked| parked.events).sum(),
            held: held.map(|parked| parked.events).sum(),
            oldest,
            is_diverted: false,
            heads: places
                .iter()
                .map(|held| (held.place.clone(), held.span.head))
                .collect(),
        }
    }

    /// Events that a drain moves.
    pub(crate) fn waiting(&self) -> u64 {
        self.events.saturating_sub(self.aside + self.held)
    }

    /// True when something that was parked before has left, by whomever it was sent.
    pub(crate) fn has_moved_since(&self, before: &Self) -> bool {
        before
            .heads
            .iter()
            .any(|(place, head)| self.heads.get(place).is_none_or(|now| now > head))
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_event::TopicName;
    use evenkeel_store::{Scope, Span};

    use super::*;

    fn held(partition: i32, head: u64, tail: u64) -> PlaceStats {
        let topic = TopicName::new("orders").unwrap();
        let place = match partition {
            -1 => Place::aside(topic),
            partition => Place {
                topic,
                partition: Some(partition),
            },
        };
        PlaceStats {
            place,
            events: tail - head,
            bytes: 10 * (tail - head),
            oldest: Timestamp::from_millis(i64::try_from(head).unwrap()),
            span: Span { head, tail },
            epochs: Vec::new(),
        }
    }

    #[test]
    fn what_leaves_moves_it_and_what_comes_does_not() {
        let before = Standing::of(&[held(0, 5, 9), held(1, 0, 2), held(-1, 0, 1)], &Holds::default());
        assert_eq!((before.events, before.aside, before.waiting()), (7, 1, 6));
        assert_eq!(before.oldest, Some(Timestamp::from_millis(0)));
        let check = |places: &[PlaceStats], expected| {
            assert_eq!(
                Standing::of(places, &Holds::default()).has_moved_since(&before),
                expected,
                "{places:?}"
            );
        };
        check(&[held(0, 5, 9), held(1, 0, 2), held(-1, 0, 1)], false);
        check(
            &[held(0, 5, 99), held(1, 0, 2), held(2, 0, 7), held(-1, 0, 1)],
            false,
        );
        check(&[held(0, 6, 9), held(1, 0, 2), held(-1, 0, 1)], true);
        check(&[held(0, 5, 9), held(-1, 0, 1)], true);
    }

    #[test]
    fn what_is_held_waits_for_no_drain() {
        let mut holds = Holds::default();
        let scope = Scope {
            topic: None,
            partition: Some(1),
        };
        holds.keep(scope, Timestamp::from_millis(0), "").unwrap();
        let standing = Standing::of(&[held(0, 5, 9), held(1, 0, 2), held(-1, 0, 1)], &holds);
        assert_eq!((standing.events, standing.held, standing.waiting()), (7, 2, 4));
    }
}
