#![doc = include_str!("../README.md")]

pub mod applications;
pub mod drain_standby;
pub mod redrive;
