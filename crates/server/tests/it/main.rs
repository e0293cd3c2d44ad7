//! Tests of the crate through its public interface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    clippy::print_stdout,
    reason = "tests panic to fail"
)]

mod api;
mod domains;
mod journals;
mod judge;
mod on_broker;
mod ownership;
mod read_back;
mod routes;
