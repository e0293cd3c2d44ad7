//! Many events of one call: what was looked up, taken or heard for one of them serves those that follow, so that nearly
//! all take no look-up, no wait, no allocation and one lock each.

use std::ops::Range;
use std::sync::Arc;

use evenkeel_event::{Event, TopicName};
use evenkeel_schema::Contract;
use evenkeel_store::Kind;
use serde::Serialize;

use super::encoding::Encoding;
use super::fate::{Fate, Fates};
use super::front::{Entry, Front};
use super::publisher::{Pending, room_of};
use super::receipt::{PublishError, Receipt};
use super::shared::Shared;
use super::topic::Topic;
use crate::failpoint::{Point, pass};
use crate::schema_cache::SchemaCache;

/// Room that is taken at once for the events of a call, bytes.
const ROOM_BYTES: usize = 32 << 10;

/// The events of one call.
#[derive(Debug)]
pub(super) struct Many<'publisher> {
    shared: &'publisher Shared,
    schemas: &'publisher SchemaCache,
    known: Option<Known>,
    /// Room that was taken and is not used yet, bytes.
    room: usize,
    told: Vec<Told>,
    waits: Vec<Wait>,
}

/// What was looked up for an event, for those like it.
#[derive(Debug)]
struct Known {
    event_type: String,
    topic: Arc<Topic>,
    contract: Arc<Contract>,
    fronts: Arc<[Arc<Front>]>,
    /// For the receipts of this call alone: threads that count references to one name wait for each other.
    name: TopicName,
    /// By partition, where in `Many::told` its last event is told of.
    last: Vec<usize>,
}

/// Whom events of the call ask what becomes of them, and what was heard last.
#[derive(Debug)]
struct Told {
    fates: Arc<Fates>,
    topic: TopicName,
    heard: Option<(Range<u32>, Fate)>,
}

/// What an event's caller waits for.
#[derive(Debug)]
enum Wait {
    Told { at: usize, index: u32 },
    Else(Box<Result<Pending, PublishError>>),
}

impl<'publisher> Many<'publisher> {
    pub(super) fn new(shared: &'publisher Shared, schemas: &'publisher SchemaCache, events: usize) -> Self {
        Self {
            shared,
            schemas,
            known: None,
            room: 0,
            told: Vec::new(),
            waits: Vec::with_capacity(events),
        }
    }

    /// Puts an event behind the others, as nearly every one can be: its contract is known, it obeys it, its topic's
    /// partitions are known, and there is room. False where it is not so; then nothing was done.
    pub(super) fn enter<T: Serialize>(&mut self, event: &Event, data: &T) -> bool {
        if self.shared.is_closed() || !self.knows(event) {
            return false;
        }
        Encoding::with(|encoding| self.put(encoding, event, data)).is_some()
    }

    /// Adds an event that went another way, after [`rest`](Self::rest).
    pub(super) fn add(&mut self, pending: Result<Pending, PublishError>) {
        self.waits.push(Wait::Else(Box::new(pending)));
    }

    /// Gives back what was taken ahead and forgets what may be old: before every wait.
    pub(super) fn rest(&mut self) {
        self.known = None;
        if self.room > 0 {
            self.shared.give_room(std::mem::take(&mut self.room));
        }
    }

    /// Waits for all receipts, in the order of the events.
    pub(super) async fn receipts(mut self) -> Vec<Result<Receipt, PublishError>> {
        self.rest();
        let waits = std::mem::take(&mut self.waits);
        let mut receipts = Vec::with_capacity(waits.len());
        for wait in waits {
            receipts.push(match wait {
                Wait::Told { at, index } => match self.told.get_mut(at) {
                    Some(told) => told.receipt(index).await,
                    None => continue,
                },
                Wait::Else(pending) => match *pending {
                    Ok(pending) => pending.receipt().await,
                    Err(error) => Err(error),
                },
            });
        }
        receipts
    }

    /// True when what is known is known of this event, looked up now at the latest.
    fn knows(&mut self, event: &Event) -> bool {
        if self.known.as_ref().is_some_and(|known| known.fits(event)) {
            return true;
        }
        self.known = self.look_up(event);
        self.known.is_some()
    }

    fn look_up(&self, event: &Event) -> Option<Known> {
        let contract = self.schemas.known(&event.topic, &event.event_type)?;
        let topic = self.shared.topic(&event.topic);
        let fronts = topic.fronts()?;
        Some(Known {
            event_type: event.event_type.clone(),
            topic,
            contract,
            name: TopicName::new(event.topic.as_str()).unwrap_or_else(|_| event.topic.clone()),
            last: vec![usize::MAX; fronts.len()],
            fronts,
        })
    }

    fn put<T: Serialize>(&mut self, encoding: &mut Encoding, event: &Event, data: &T) -> Option<()> {
        let Self {
            shared,
            known,
            room,
            told,
            waits,
            ..
        } = self;
        let known = known.as_mut()?;
        let made = encoding.encode(event, &known.contract, data).ok()?;
        pass(Point::Validate);
        let bytes = room_of(event, made.value_bytes);
        if *room < bytes {
            let more = [ROOM_BYTES.max(bytes), bytes];
            *room += more.into_iter().find(|more| shared.try_take_room(*more))?;
        }
        let key = event.key.as_deref();
        let partition = known.topic.partition(key, known.fronts.len());
        let front = known.fronts.get(partition)?;
        let last = known.last.get_mut(partition)?;
        let entry = Entry {
            kind: Kind::Event,
            id: Some(&event.id),
            key,
            body: made.body,
            bytes,
            parks: false,
        };
        let taken = front.push(&entry, shared.closing, &*shared.clock, |fates, index| {
            if told
                .get(*last)
                .is_none_or(|told| !Arc::ptr_eq(&told.fates, fates))
            {
                *last = told.len();
                told.push(Told::new(fates, known.name.clone()));
            }
            waits.push(Wait::Told { at: *last, index });
        })?;
        *room -= bytes;
        if taken.announce {
            shared.announce(front);
        }
        Some(())
    }
}

impl Drop for Many<'_> {
    fn drop(&mut self) {
        self.rest();
    }
}

impl Known {
    fn fits(&self, event: &Event) -> bool {
        self.topic.name == event.topic && self.event_type == event.event_type
    }
}

impl Told {
    fn new(fates: &Arc<Fates>, topic: TopicName) -> Self {
        Self {
            topic,
            fates: fates.clone(),
            heard: None,
        }
    }

    async fn receipt(&mut self, index: u32) -> Result<Receipt, PublishError> {
        // That nothing will be known any more is told of all at once, those included of whom more was known.
        let heard = self
            .heard
            .take()
            .filter(|(events, fate)| events.contains(&index) && !matches!(fate, Fate::Failed { .. }));
        let heard = match heard {
            Some(heard) => heard,
            None => self.fates.around(index).await,
        };
        let (events, fate) = self.heard.insert(heard);
        fate.receipt(self.topic.clone(), index - events.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_flow::session::Reason;

    /// What was told of an event stays, also where the engine ended before it could tell of those before it.
    #[tokio::test]
    async fn each_event_hears_what_was_told_of_it_first() {
        let topic = TopicName::new("orders").unwrap();
        let fates = Arc::new(Fates::new(topic.clone()));
        let published = |first| Fate::Published {
            partition: 1,
            offset: Some(first),
        };
        fates.tell(0..2, published(10));
        fates.tell(3..5, published(20));
        let gone = Fate::Failed {
            reason: Reason::Closed,
            may_have_landed: true,
            refusal: None,
        };
        fates.tell(0..u32::MAX, gone);
        let mut told = Told::new(&fates, topic);
        let mut offsets = Vec::new();
        for index in 0..5 {
            offsets.push(match told.receipt(index).await {
                Ok(Receipt::Published { offset, .. }) => offset,
                _ => None,
            });
        }
        assert_eq!(offsets, [Some(10), Some(11), None, Some(20), Some(21)]);
    }
}
