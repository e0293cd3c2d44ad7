//! Apache Avro 1.12: schemas, and the programs they are compiled to.

mod check;
mod code;
mod codec;
mod comments;
pub mod compatibility;
mod decimal;
mod decode_json;
mod decode_serde;
mod default;
mod encode;
mod encode_json;
mod encode_serde;
mod fingerprint;
mod json_text;
mod logical;
mod measure;
mod model;
mod parse;
mod parse_error;
mod print;
mod program;
mod read;
mod resolve;
mod resolve_scalar;
mod sample;
mod scalar;
mod time;
mod varint;

pub(crate) use codec::Codec;
pub use codec::Reader;
pub use encode::Scratch;

pub use model::{Enum, Field, Fixed, Kind, Logical, Name, Order, Props, Record, Schema, Type, TypeId};
pub use parse::{NESTING_MAX, TEXT_BYTES_MAX, WEIGHT_MAX};
pub use parse_error::ParseError;
