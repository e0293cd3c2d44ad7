//! The contracts of the demo's two events, in two versions, and one that must be refused.

/// A kind of event of the demo.
pub(super) struct Kind {
    /// CloudEvents type.
    pub(super) event_type: &'static str,
    /// Full name of the record.
    pub(super) record: &'static str,
    /// A customer is required.
    pub(super) v1: &'static str,
    /// A customer is optional.
    pub(super) v2: &'static str,
}

pub(super) const PLACED: Kind = Kind {
    event_type: "order-placed",
    record: "shop.orders.OrderPlaced",
    v1: include_str!("order-placed.v1.avsc"),
    v2: include_str!("order-placed.v2.avsc"),
};

pub(super) const CANCELLED: Kind = Kind {
    event_type: "order-cancelled",
    record: "shop.orders.OrderCancelled",
    v1: include_str!("order-cancelled.v1.avsc"),
    v2: include_str!("order-cancelled.v2.avsc"),
};

pub(super) const KINDS: [&Kind; 2] = [&PLACED, &CANCELLED];

/// Takes the lines away and wants a warehouse that no event so far has: no reader of it could read what is there.
pub(super) const INCOMPATIBLE: &str = include_str!("order-placed.incompatible.avsc");

impl Kind {
    /// The subject of events of this kind on `topic` (TopicRecordNameStrategy).
    pub(super) fn subject(&self, topic: &str) -> String {
        format!("{topic}-{}", self.record)
    }
}
