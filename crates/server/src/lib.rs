#![doc = include_str!("../README.md")]

pub mod domains;
pub mod journal;
pub mod registry;
