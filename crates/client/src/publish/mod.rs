//! Publishing: judged by its contract, in order per key, never lost (invariants **owned**, **in-order**, **once**,
//! **told-apart**, **valid**).

mod alarm;
mod aside;
mod batch;
mod claim;
mod done;
mod encoding;
mod engine;
mod fate;
mod fleet;
mod front;
mod hold;
mod intake;
mod letter;
mod line;
mod many;
mod placing;
mod producer;
mod publisher;
mod pulse;
mod receipt;
mod search;
mod send;
mod shared;
mod store_step;
mod ticket;
mod topic;
mod topic_line;
mod torn;
mod turns;

pub use claim::is_wanted;
pub use publisher::{Pending, Publisher, StartError};
pub use receipt::{Lane, LetterPlace, PublishError, Receipt};
