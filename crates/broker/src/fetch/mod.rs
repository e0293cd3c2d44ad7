//! Reads partitions: one fetch, a range, a search.

mod offsets;
mod range;
mod request;
mod response;

pub use offsets::{At, Found};
pub use range::{Piece, Range, Until};
pub use request::{Fetcher, Limits, Position};
pub use response::{Fetched, State};
