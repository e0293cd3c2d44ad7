//! Whether data of one schema can be read with another, by the rules of Java's `SchemaCompatibility` (org.apache.avro 1.12),
//! and the seven compatibility levels that Confluent's registry builds on them.

mod finding;
mod level;
mod pairs;
mod report;
mod rules;

pub use finding::{Incompatibility, IncompatibilityKind};
pub use level::{Conflict, Direction, Level, UnknownLevel, check_level};
pub use pairs::{PAIRS_MAX, TooComplex, check_pair};
