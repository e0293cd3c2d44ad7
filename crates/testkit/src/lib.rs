#![doc = include_str!("../README.md")]
#![allow(
    clippy::expect_used,
    reason = "a test that cannot start what it needs must fail, with the reason"
)]

mod dynamodb;
mod kafka;
mod postgres;
mod server;
mod tools;

pub use dynamodb::{DynamoDb, dynamodb_or_skip};
pub use kafka::{Kafka, Listener, Node, Options, Sasl, Tls, kafka_or_skip};
pub use postgres::{PostgresServer, postgres_or_skip};
pub use tools::{console_or_skip, kcat_or_skip, node_or_skip, python_or_skip, skipped};
