#![doc = include_str!("../README.md")]

mod api;
mod broker;
mod clock;
mod config;
mod error;
pub mod faults;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod groups;
mod node;
pub mod proxy;
mod server;
mod storage;
mod wire;

pub use broker::{Broker, start};
pub use config::{Config, Limits};
pub use error::Error;
