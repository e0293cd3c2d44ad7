//! Reads what a dead letter says of its failure, also letters that other frameworks wrote.

use crate::headers;
use crate::record::{Header, text};

/// What the headers of a letter say. All of it is untrusted input: whoever can write to the topic chose it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnosis {
    /// The topic that the original came from or was bound for.
    pub topic: Option<String>,
    /// Its partition there.
    pub partition: Option<i32>,
    /// Its offset there.
    pub offset: Option<i64>,
    /// The consumer group that failed it.
    pub group: Option<String>,
    /// Kind of failure: one of [`Code`](crate::Code)'s texts, or another framework's exception class.
    pub code: Option<String>,
    /// Where on its path it failed.
    pub stage: Option<String>,
    /// What went wrong, for people.
    pub message: Option<String>,
    /// The application that failed it.
    pub application: Option<String>,
    /// When, RFC 3339.
    pub failed_at: Option<String>,
    /// The id of the schema that judged it.
    pub schema_id: Option<u32>,
    /// How often it was redriven before; 0 when nothing is said.
    pub redrive_count: u32,
}

impl Diagnosis {
    /// Reads KIP-1191's and Evenkeel's headers, else Spring Kafka's (`kafka_dlt-*`), Kafka Connect's
    /// (`__connect.errors.*`, KIP-298) or Kafka Streams' (`__streams.errors.*`, KIP-1034). `None` when there are none
    /// of them.
    #[must_use]
    pub fn read(list: &[Header]) -> Option<Self> {
        [own, spring, connect, streams].iter().find_map(|read| read(list))
    }
}

fn own(list: &[Header]) -> Option<Diagnosis> {
    let written =
        |header: &Header| header.name.starts_with("__dlq.errors.") || header.name == headers::DLQ_CODE;
    list.iter().any(written).then(|| Diagnosis {
        topic: string(list, headers::DLQ_TOPIC),
        partition: number(list, headers::DLQ_PARTITION),
        offset: number(list, headers::DLQ_OFFSET),
        group: string(list, headers::DLQ_GROUP),
        code: string(list, headers::DLQ_CODE),
        stage: string(list, headers::DLQ_STAGE),
        message: string(list, headers::DLQ_MESSAGE),
        application: string(list, headers::DLQ_APPLICATION),
        failed_at: string(list, headers::DLQ_FAILED_AT),
        schema_id: number(list, headers::DLQ_SCHEMA_ID),
        redrive_count: number(list, headers::DLQ_REDRIVE_COUNT).unwrap_or(0),
    })
}

fn spring(list: &[Header]) -> Option<Diagnosis> {
    list.iter()
        .any(|header| header.name.starts_with("kafka_dlt-"))
        .then(|| Diagnosis {
            topic: string(list, "kafka_dlt-original-topic"),
            partition: bytes(list, "kafka_dlt-original-partition").map(i32::from_be_bytes),
            offset: bytes(list, "kafka_dlt-original-offset").map(i64::from_be_bytes),
            group: string(list, "kafka_dlt-original-consumer-group"),
            code: string(list, "kafka_dlt-exception-fqcn"),
            message: string(list, "kafka_dlt-exception-message"),
            ..Diagnosis::default()
        })
}

fn connect(list: &[Header]) -> Option<Diagnosis> {
    list.iter()
        .any(|header| header.name.starts_with("__connect.errors."))
        .then(|| Diagnosis {
            topic: string(list, "__connect.errors.topic"),
            partition: number(list, "__connect.errors.partition"),
            offset: number(list, "__connect.errors.offset"),
            code: string(list, "__connect.errors.exception.class.name"),
            stage: string(list, "__connect.errors.stage"),
            message: string(list, "__connect.errors.exception.message"),
            application: string(list, "__connect.errors.connector.name"),
            ..Diagnosis::default()
        })
}

fn streams(list: &[Header]) -> Option<Diagnosis> {
    list.iter()
        .any(|header| header.name.starts_with("__streams.errors."))
        .then(|| Diagnosis {
            topic: string(list, "__streams.errors.topic"),
            partition: number(list, "__streams.errors.partition"),
            offset: number(list, "__streams.errors.offset"),
            code: string(list, "__streams.errors.exception"),
            message: string(list, "__streams.errors.message"),
            ..Diagnosis::default()
        })
}

fn string(list: &[Header], name: &str) -> Option<String> {
    text(list, name).map(str::to_owned)
}

fn number<T: std::str::FromStr>(list: &[Header], name: &str) -> Option<T> {
    text(list, name)?.parse().ok()
}

fn bytes<const N: usize>(list: &[Header], name: &str) -> Option<[u8; N]> {
    list.iter()
        .find(|header| header.name == name)?
        .value
        .as_deref()?
        .try_into()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &[(&str, &[u8])], expected: Option<(&str, i32, i64, &str)>) {
        let list: Vec<Header> = list
            .iter()
            .map(|(name, value)| Header::new(*name, value.to_vec()))
            .collect();
        let diagnosis = Diagnosis::read(&list);
        let actual = diagnosis.as_ref().map(|read| {
            (
                read.topic.as_deref().unwrap_or_default(),
                read.partition.unwrap_or(-1),
                read.offset.unwrap_or(-1),
                read.message.as_deref().unwrap_or_default(),
            )
        });
        assert_eq!(actual, expected);
    }

    #[test]
    fn letters_of_four_frameworks_are_read() {
        check(
            &[
                (headers::DLQ_TOPIC, b"orders"),
                (headers::DLQ_PARTITION, b"3"),
                (headers::DLQ_OFFSET, b"42"),
                (headers::DLQ_MESSAGE, b"no"),
            ],
            Some(("orders", 3, 42, "no")),
        );
        check(
            &[
                ("kafka_dlt-original-topic", b"orders"),
                ("kafka_dlt-original-partition", &[0, 0, 0, 3]),
                ("kafka_dlt-original-offset", &[0, 0, 0, 0, 0, 0, 0, 42]),
                ("kafka_dlt-exception-message", b"no"),
            ],
            Some(("orders", 3, 42, "no")),
        );
        check(
            &[
                ("__connect.errors.topic", b"orders"),
                ("__connect.errors.partition", b"3"),
                ("__connect.errors.offset", b"42"),
                ("__connect.errors.exception.message", b"no"),
            ],
            Some(("orders", 3, 42, "no")),
        );
        check(
            &[
                ("__streams.errors.topic", b"orders"),
                ("__streams.errors.partition", b"3"),
                ("__streams.errors.offset", b"42"),
                ("__streams.errors.message", b"no"),
            ],
            Some(("orders", 3, 42, "no")),
        );
        check(&[("other", b"1")], None);
    }

    #[test]
    fn hostile_headers_are_read_as_absent() {
        check(
            &[
                ("kafka_dlt-original-topic", &[0xff, 0xfe]),
                ("kafka_dlt-original-partition", &[1]),
            ],
            Some(("", -1, -1, "")),
        );
        check(
            &[(headers::DLQ_PARTITION, b"99999999999999999999")],
            Some(("", -1, -1, "")),
        );
    }
}
