//! One conformance suite over every broker that Evenkeel runs on: Apache Kafka, an older one, the embedded broker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::missing_docs_in_private_items,
    missing_docs,
    reason = "tests panic to fail"
)]

mod access;
mod administer;
mod brokers;
mod content;
mod events;
mod expiry;
mod group_basics;
mod group_crowd;
mod group_faults;
mod group_member;
mod hostile;
mod judges;
mod offsets;
mod outage;
mod quota;
mod stamps;
mod truncation;
