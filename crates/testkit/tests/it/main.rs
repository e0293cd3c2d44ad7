#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests panic to fail and speak to their parent on stdout"
)]

mod architecture;
mod dynamodb;
mod holder;
mod kafka;
mod tools;
