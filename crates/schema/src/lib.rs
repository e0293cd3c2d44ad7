#![doc = include_str!("../README.md")]

pub mod avro;
mod contract;
mod limits;
mod valid;
mod violation;
pub mod wire;

pub use contract::Contract;
pub use limits::Limits;
pub use valid::{Payload, Valid};
pub use violation::{Violation, ViolationKind};
pub use wire::SchemaId;
