//! The Apache Kafka that all tests of this binary share.

use std::sync::OnceLock;

use evenkeel_testkit::{Kafka, Options, kafka_or_skip};

/// `None` where it cannot be had.
pub(crate) fn shared() -> Option<&'static Kafka> {
    static KAFKA: OnceLock<Option<Kafka>> = OnceLock::new();
    KAFKA.get_or_init(|| kafka_or_skip(Options::default())).as_ref()
}
