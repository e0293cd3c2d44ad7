//! Tests of the crate through its public interface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    clippy::print_stdout,
    reason = "tests panic to fail"
)]

mod compatibility;
mod corpus;
mod fastavro;
mod java;
mod odd_texts;
mod parse;
mod random;
mod resolution;
mod schema_pairs;
mod strictness;
mod typed;
mod values;
