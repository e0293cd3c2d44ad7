//! Publishing: judged by its contract, in order per key, never lost (invariants **owned**, **in-order**, **once**,
//! **told-apart**, **valid**).

mod batch;
mod done;
mod engine;
mod fate;
mod front;
mod intake;
mod letter;
mod line;
mod producer;
mod publisher;
mod receipt;
mod search;
mod send;
mod shared;
mod store_step;
mod ticket;
mod topic;
mod topic_line;

pub use publisher::{Pending, Publisher, StartError};
pub use receipt::{Lane, LetterPlace, PublishError, Receipt};
