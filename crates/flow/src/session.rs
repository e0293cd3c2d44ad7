//! The produce session of one partition: what is sent, parked, drained and searched for, and when its callers are
//! answered.
//!
//! ```text
//!  Published ──> waiting ──stamp──> in flight (at most five sent) ──Appended──> acknowledged
//!                   │                    │
//!                   └──── out: Append ───┴──> lane in the standby store ──Read──> stamp, StoreStamps, Send, Remove
//! ```
//!
//! One [`Partition`] decides; the caller (the shell) gives it [`Input`]s and carries out the [`Order`]s it returns:
//!
//! - Every [`Order::Send`] is answered exactly once by [`Input::Answered`], at the latest after the request timeout;
//!   sends of one partition are written in the order in which they were given. When the leader changes, the shell ends
//!   the attempts at the old leader with `Disconnected`.
//! - [`Order::Append`] stands by itself. [`Order::Read`], [`Order::StoreStamps`] and [`Order::Remove`] of one partition
//!   are carried out in their order, each repeated until it succeeds; all three may be repeated without harm. A read
//!   may come later than its turn, behind what is ordered after it.
//! - Of several [`Order::WakeAt`] only the latest counts.
//!
//! A partition's **lane in the store** numbers its records: each has a position, dense and growing. A stored batch is a
//! range of positions; a stamp covers a range and is exact: what was stamped together is read together.

mod answered;
pub(crate) mod append;
mod decide;
mod drain;
mod identity;
pub(crate) mod in_flight;
mod input;
pub(crate) mod join;
mod lane;
mod order;
mod park;
mod partition;
mod payload;
mod resolve;
mod send;
mod settings;
mod split;

pub use input::{Input, Now, ProducerEpoch, SearchResult, StoreResult, Stored, Way};
pub use order::{Claim, Order, Outcome, Reason, StampedRange, Ticket};
pub use partition::Partition;
pub use payload::Payload;
pub use settings::Settings;
