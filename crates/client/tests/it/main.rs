//! Both sides over the embedded broker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    missing_docs,
    reason = "tests panic to fail"
)]

mod accept;
mod alarms;
mod consume;
mod consume_changes;
mod faults;
mod fleet;
mod forgotten;
mod kill;
mod listener;
mod outage;
mod park;
mod publish;
mod schemas;
mod stage;
