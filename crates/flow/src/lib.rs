#![doc = include_str!("../README.md")]

pub mod answer;
pub mod stamp;

pub use answer::{Answer, Trouble};
pub use stamp::Stamp;
