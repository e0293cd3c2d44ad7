//! The binary as its users see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests panic to fail"
)]

mod dev;
mod documented;
mod interrupt;
mod letters;
mod oncall;
mod platform;
mod refusals;
mod shared;
mod standby;
mod verify;
mod worker;
