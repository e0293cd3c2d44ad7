//! The real binary, invoked by a stand-in of Lambda's runtime API, over a real store and the embedded broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    missing_docs,
    reason = "tests panic to fail"
)]

mod deploy;
mod http;
mod invoke;
mod kill;
mod park;
mod refuse;
mod runtime_api;
mod stage;
mod stuck;
