#![doc = include_str!("../README.md")]

pub mod answer;
pub mod commit;
pub mod diversion;
pub mod inbox;
pub mod membership;
pub mod pace;
pub mod redrive;
pub mod retry;
pub mod session;
pub mod stamp;
pub mod unplaced;

pub use answer::{Answer, Trouble};
pub use stamp::{Stamp, Stamping};
