#![doc = include_str!("../README.md")]

pub mod address;
mod alarms;
mod disk;
#[doc(hidden)]
pub mod disk_faults;
mod durable_file;
#[cfg(feature = "aws")]
pub mod dynamodb;
mod error;
mod holds;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod row;
mod server;
mod shared;
mod standby;

pub use alarms::{Alarm, AlarmKind, Alarms};
pub use disk::{Config, DiskLook, DiskStandby, NotAccepted, Unreadable};
pub use error::Error;
pub use holds::{Hold, Holds, HoldsError, Scope};
pub use memory::MemoryStandby;
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresConfig, PostgresStandby};
pub use row::{Kind, Piece, Row, StoredRow};
#[doc(hidden)]
pub use server::faulty as server_faults;
pub use server::{Block, Change, Keeper, Kept, ServerStandby};
pub use shared::{AppendIn, Lane, Listed, SharedStandby};
pub use standby::{AppendId, BoxFuture, Damage, Place, PlaceStats, Span, Standby, Stats};
