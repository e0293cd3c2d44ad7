//! The broker over real sockets, through restarts and kills, before other vendors' clients and hostile bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    missing_docs,
    reason = "tests panic to fail"
)]

mod changes;
mod client;
mod compaction;
mod crash;
mod faults;
mod fetch;
mod group;
mod hostile;
mod judges;
mod produce;
mod proxy;
mod restart;
mod retention;
mod served;
mod topics;
mod versions;
mod works_with;
