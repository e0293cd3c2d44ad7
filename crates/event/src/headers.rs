//! Names of the headers that Evenkeel reads and writes.

/// CloudEvents 1.0, Kafka protocol binding, binary mode: `specversion`.
pub const CE_SPECVERSION: &str = "ce_specversion";
/// CloudEvents `id`.
pub const CE_ID: &str = "ce_id";
/// CloudEvents `source`.
pub const CE_SOURCE: &str = "ce_source";
/// CloudEvents `type`.
pub const CE_TYPE: &str = "ce_type";
/// CloudEvents `time`, RFC 3339.
pub const CE_TIME: &str = "ce_time";
/// CloudEvents `subject`.
pub const CE_SUBJECT: &str = "ce_subject";
/// CloudEvents `dataschema`.
pub const CE_DATASCHEMA: &str = "ce_dataschema";
/// CloudEvents partitioning extension.
pub const CE_PARTITIONKEY: &str = "ce_partitionkey";
/// CloudEvents `datacontenttype` in binary mode.
pub const CONTENT_TYPE: &str = "content-type";
/// W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";
/// `1` on an event that may be on its topic twice, because no stamp and no search could decide.
pub const POSSIBLE_DOUBLE: &str = "evenkeel-possible-double";

/// KIP-1191: the topic that the failed record came from or was bound for.
pub const DLQ_TOPIC: &str = "__dlq.errors.topic";
/// KIP-1191: its partition, decimal.
pub const DLQ_PARTITION: &str = "__dlq.errors.partition";
/// KIP-1191: its offset, decimal.
pub const DLQ_OFFSET: &str = "__dlq.errors.offset";
/// KIP-1191: the consumer group that failed.
pub const DLQ_GROUP: &str = "__dlq.errors.group";
/// KIP-1191: how often it was delivered, decimal.
pub const DLQ_DELIVERY_COUNT: &str = "__dlq.errors.delivery.count";
/// KIP-1191: what went wrong, for people.
pub const DLQ_MESSAGE: &str = "__dlq.errors.message";
/// The failure's [`Code`](crate::Code).
pub const DLQ_CODE: &str = "evenkeel-dlq-code";
/// Where on its path the event failed: `publish`, `frame`, `decode`, `validate`, `handle`.
pub const DLQ_STAGE: &str = "evenkeel-dlq-stage";
/// The application that failed it.
pub const DLQ_APPLICATION: &str = "evenkeel-dlq-application";
/// When it failed, RFC 3339.
pub const DLQ_FAILED_AT: &str = "evenkeel-dlq-failed-at";
/// The schema id that judged it, decimal.
pub const DLQ_SCHEMA_ID: &str = "evenkeel-dlq-schema-id";
/// How often it was redriven before, decimal.
pub const DLQ_REDRIVE_COUNT: &str = "evenkeel-dlq-redrive-count";
