#![doc = include_str!("../README.md")]

pub mod admin;
mod append;
#[cfg(feature = "aws")]
pub mod aws;
pub mod batch;
mod cluster;
pub mod config;
mod connection;
mod error;
pub mod fetch;
pub mod group;
mod produce;
mod produce_request;
pub mod token;

pub use cluster::{Cluster, Leader, Metadata, Node, Partition, Topic};
pub use config::{Kafka, Secret};
pub use error::Error;
pub use produce::{Outcome, Outgoing, ProducerId, Sent};
