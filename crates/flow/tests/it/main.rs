#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    missing_docs,
    reason = "tests panic to fail"
)]

mod diversion;
mod script;
mod session;
mod unplaced;
