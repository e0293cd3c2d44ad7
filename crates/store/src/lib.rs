#![doc = include_str!("../README.md")]

mod disk;
mod error;
mod row;
mod standby;

pub use disk::{Config, DiskStandby};
pub use error::Error;
pub use row::{Kind, Piece, Row, StoredRow};
pub use standby::{AppendId, BoxFuture, Damage, Place, PlaceStats, Span, Standby, Stats};
