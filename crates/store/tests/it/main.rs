#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests panic to fail"
)]

mod accept;
mod conformance;
mod damage;
mod disk;
#[cfg(feature = "aws")]
mod dynamodb;
mod full;
mod keeper;
mod kill;
mod look;
mod memory;
mod owner;
#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod server;
mod shared;
