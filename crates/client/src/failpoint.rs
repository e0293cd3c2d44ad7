//! Places at which `evenkeel verify` ends the process, to show that what it promises survives that. No part of the API.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// A place that an event passes on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Point {
    /// It obeys its contract, and is not on its way yet.
    Validate = 1,
    /// It has its stamp, and was not sent.
    Stamp,
    /// The broker has answered, and nobody was told.
    Send,
    /// It is about to be written to the standby store.
    Park,
    /// Its caller is about to be told.
    Acknowledge,
    /// The stamps of parked events are about to be stored.
    DrainStamp,
    /// Their stamps are stored, and they are about to be sent.
    DrainSend,
    /// They were sent, and are about to be removed from the store.
    Remove,
    /// They are removed, and their partition is about to be published to directly again.
    LaneOpen,
}

/// All points, in the order of an event's path.
pub const POINTS: [Point; 9] = [
    Point::Validate,
    Point::Stamp,
    Point::Send,
    Point::Park,
    Point::Acknowledge,
    Point::DrainStamp,
    Point::DrainSend,
    Point::Remove,
    Point::LaneOpen,
];

/// The point that ends the process; 0 for none.
static ARMED: AtomicU8 = AtomicU8::new(0);
/// How often it is passed before.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// Ends the process at the pass number `hit` (from 1) through `point`.
pub fn arm(point: Point, hit: u32) {
    LEFT.store(hit.max(1), Ordering::Relaxed);
    ARMED.store(point as u8, Ordering::Release);
}

/// Passes a point, if it is not the one that ends the process now.
#[inline]
pub(crate) fn pass(point: Point) {
    if ARMED.load(Ordering::Relaxed) == point as u8 {
        count_down();
    }
}

#[cold]
fn count_down() {
    if LEFT.fetch_sub(1, Ordering::AcqRel) == 1 {
        // As kill -9: nothing is flushed, closed or told.
        std::process::abort();
    }
}

impl Point {
    const fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Stamp => "stamp",
            Self::Send => "send",
            Self::Park => "park",
            Self::Acknowledge => "acknowledge",
            Self::DrainStamp => "drain-stamp",
            Self::DrainSend => "drain-send",
            Self::Remove => "remove",
            Self::LaneOpen => "lane-open",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = POINTS.into_iter().find(|point| point.name() == text);
        found.ok_or_else(|| {
            let names = POINTS.map(Point::name).join(", ");
            format!("\"{text}\" is no point on an event's path; they are {names}")
        })
    }
}
