//! What every standby store on a server has in common.

mod keeper;

pub use keeper::{Block, Change, Keeper, Kept};
