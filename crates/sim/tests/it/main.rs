#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    clippy::print_stdout,
    missing_docs,
    reason = "tests panic to fail"
)]

mod fleet;
mod histories;
