//! What became of the events of one batch, told to all who wait for it at once.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_event::{Code, TopicName};
use evenkeel_flow::session::Reason;
use tokio::sync::Notify;

use super::receipt::{Lane, LetterPlace, PublishError, Receipt};

/// What became of neighbouring events: what is said of the first, and of the others by their distance.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    Published {
        partition: i32,
        offset: Option<i64>,
    },
    Parked {
        partition: Option<i32>,
        position: u64,
    },
    DeadLettered {
        code: Code,
        cause: String,
        at: LetterPlace,
    },
    Failed {
        reason: Reason,
        may_have_landed: bool,
        /// What the store said.
        refusal: Option<Arc<Refusal>>,
    },
}

/// Why the standby store did not take an event.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) is_full: bool,
    /// Why neither Kafka nor the store has the event.
    pub(super) cause: String,
}

/// The fates of one batch's events.
#[derive(Debug)]
pub(super) struct Fates {
    topic: TopicName,
    known: Mutex<Vec<(Range<u32>, Fate)>>,
    told: Notify,
}

impl Fates {
    pub(super) fn new(topic: TopicName) -> Self {
        Self {
            topic,
            known: Mutex::default(),
            told: Notify::new(),
        }
    }

    pub(super) const fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// Tells what became of `events`, counted from the batch's first.
    pub(super) fn tell(&self, events: Range<u32>, fate: Fate) {
        self.lock().push((events, fate));
        self.told.notify_waiters();
    }

    /// Waits until it is known what became of the event at `index`.
    pub(super) async fn of(&self, index: u32) -> Result<Receipt, PublishError> {
        let (events, fate) = self.around(index).await;
        fate.receipt(self.topic.clone(), index - events.start)
    }

    /// As [`of`](Self::of), with all neighbours that became the same.
    pub(super) async fn around(&self, index: u32) -> (Range<u32>, Fate) {
        if let Some(told) = self.find(index) {
            return told;
        }
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if let Some(told) = self.find(index) {
                return told;
            }
            told.await;
        }
    }

    fn find(&self, index: u32) -> Option<(Range<u32>, Fate)> {
        let known = self.lock();
        known.iter().find(|(events, _)| events.contains(&index)).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Range<u32>, Fate)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(
    topic: TopicName,
    reason: Reason,
    may_have_landed: bool,
    refusal: Option<&Refusal>,
) -> PublishError {
    match reason {
        Reason::StandbyRefused | Reason::StandbyUnknown => PublishError::NotParked {
            topic,
            full: refusal.is_some_and(|refusal| refusal.is_full),
            cause: match (refusal, reason, may_have_landed) {
                (Some(refusal), ..) => refusal.cause.clone(),
                (None, Reason::StandbyUnknown, true) => {
                    "Kafka cannot take the event, and the standby store does not say whether it has it"
                        .to_owned()
                }
                (None, ..) => "Kafka cannot take the event, and the standby store does not answer".to_owned(),
            },
            may_have_landed,
        },
        Reason::QueueFull => PublishError::Overloaded {
            topic,
            waiting_bytes: 0,
        },
        Reason::Closed => PublishError::Closed {
            topic,
            may_have_landed,
        },
        Reason::LetterLost => PublishError::LetterLost {
            topic,
            cause: "Kafka refuses it alone".to_owned(),
        },
    }
}

impl LetterPlace {
    /// Where a letter is whose own publishing came to `receipt`; `None` when it is not kept as a letter.
    pub(super) fn of(receipt: Receipt) -> Option<Self> {
        match receipt {
            Receipt::Published {
                topic,
                partition,
                offset,
            } => Some(Self::Topic {
                topic,
                partition,
                offset,
            }),
            Receipt::Parked { lane, sequence } => Some(Self::Standby { lane, sequence }),
            // The letter is refused by its own topic, and kept aside.
            Receipt::DeadLettered { at, .. } => Some(at),
        }
    }
}

impl Fate {
    /// What the event `distance` behind the first is told, which was bound for `topic`.
    pub(super) fn receipt(&self, topic: TopicName, distance: u32) -> Result<Receipt, PublishError> {
        match self {
            Self::Published { partition, offset } => Ok(Receipt::Published {
                topic,
                partition: *partition,
                offset: offset.map(|first| first + i64::from(distance)),
            }),
            Self::Parked { partition, position } => Ok(Receipt::Parked {
                lane: Lane {
                    topic,
                    partition: *partition,
                },
                sequence: position + u64::from(distance),
            }),
            Self::DeadLettered { code, cause, at } => Ok(Receipt::DeadLettered {
                code: *code,
                cause: cause.clone(),
                at: at.clone(),
            }),
            Self::Failed {
                reason,
                may_have_landed,
                refusal,
            } => Err(failure(topic, *reason, *may_have_landed, refusal.as_deref())),
        }
    }

    /// What is said of the event `distance` behind the first.
    pub(super) fn behind(&self, distance: u32) -> Self {
        let mut fate = self.clone();
        match &mut fate {
            Self::Published { offset, .. } => *offset = offset.map(|first| first + i64::from(distance)),
            Self::Parked { position, .. } => *position += u64::from(distance),
            Self::DeadLettered { .. } | Self::Failed { .. } => {}
        }
        fate
    }
}
