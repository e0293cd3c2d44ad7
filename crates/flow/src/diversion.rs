//! Lanes that several processes publish to: when they go by way of a shared standby store, all of them, and when
//! directly again.
//!
//! ```text
//!          a process cannot send          every lease acknowledges        little is left
//!   OPEN ------------------------> DIVERTING -----------------> DIVERTED <-----------------> CLOSING
//!  epoch e    nobody is told Parked   e                            e        more again          e
//!     ^                                                            |                            |
//!     +---- its drainer, in one write: nothing appended since the lane was seen empty; epoch e + 1 +
//! ```
//!
//! Each process has one [`Member`]; a place is a partition. The caller (the shell) gives it [`Input`]s and carries out
//! the [`Order`]s that it returns. Its contract:
//!
//! - a call to publish asks [`Member::way`] after it was made. What then goes directly may do so whatever happens next,
//!   late and again, under its stamp: who is promised to come before it has not returned yet;
//! - when a place is turned away from [`Way::Direct`], its session appends what is in flight with its stamps, then what
//!   waits. Turned back, it goes on under a producer id that stamped nothing yet, because a drainer may have gone on under
//!   the old one;
//! - an append names the epoch of its [`Way::Park`]; its callers are told `Parked` when [`Member::may_tell`] says so;
//! - a drain sends under stamps that the store took under its term, so that one that was taken over from sends nothing
//!   that its follower does not know of.
//!
//! Why that keeps the order: a publish that returned `Parked` was told when every process that could publish directly had
//! acknowledged its diversion, or had lost its lease for good. Whatever is called later asks for its way later, and finds
//! the diversion, or that the lane was sent and the place opened since.

mod input;
mod lease;
mod line;
mod member;
mod order;
mod record;
mod settings;
mod watch;

pub use input::{Input, Left, Loaded, Placed, PutResult, RenewResult};
pub use member::Member;
pub use order::{Order, Way};
pub use record::{Diversion, Lease, Phase, Process, Versioned};
pub use settings::{Mode, Settings};
