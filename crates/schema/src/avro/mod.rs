//! Apache Avro 1.12: schemas, and the programs they are compiled to.

mod check;
mod comments;
pub mod compatibility;
mod fingerprint;
mod logical;
mod model;
mod parse;
mod parse_error;
mod print;

pub use model::{Enum, Field, Fixed, Kind, Logical, Name, Order, Props, Record, Schema, Type, TypeId};
pub use parse::{NESTING_MAX, TEXT_BYTES_MAX};
pub use parse_error::ParseError;
