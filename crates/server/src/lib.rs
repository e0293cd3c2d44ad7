#![doc = include_str!("../README.md")]

pub mod admin;
pub mod domains;
pub mod journal;
pub mod platform;
pub mod registry;
