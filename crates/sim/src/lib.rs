#![doc = include_str!("../README.md")]
#![allow(
    clippy::indexing_slicing,
    reason = "this crate is a test: a panic is a failure"
)]

pub mod application;
pub mod broker;
pub mod consumer;
pub mod disk;
pub mod fleet;
pub mod history;
pub mod judge;
pub mod network;
pub mod process;
pub mod random;
pub mod records;
pub mod redriver;
pub mod store;
pub mod world;
