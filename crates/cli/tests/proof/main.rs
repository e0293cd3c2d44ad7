//! What Evenkeel promises, shown on real input with the binary as its users run it: the demo's figures, judged by
//! others' clients too, and `publish` killed at random moments.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests panic to fail"
)]

mod demo;
mod invoices;
mod kafka;
mod kill;
mod redrive;
mod registry;
