#![doc = include_str!("../README.md")]

mod disk;
mod error;
mod memory;
mod row;
mod shared;
mod standby;

pub use disk::{Config, DiskStandby};
pub use error::Error;
pub use memory::MemoryStandby;
pub use row::{Kind, Piece, Row, StoredRow};
pub use shared::{AppendIn, Lane, Listed, SharedStandby};
pub use standby::{AppendId, BoxFuture, Damage, Place, PlaceStats, Span, Standby, Stats};
