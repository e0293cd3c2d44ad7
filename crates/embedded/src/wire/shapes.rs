//! The shape of every request that is taken, version by version, as Kafka's message definitions have it
//! (`clients/src/main/resources/common/message/*.json`). A test holds them against the decoder.

mod groups;

use groups::{
    DELETE_GROUPS, DESCRIBE_GROUPS, HEARTBEAT, JOIN_GROUP, LEAVE_GROUP, LIST_GROUPS, OFFSET_COMMIT,
    OFFSET_DELETE, OFFSET_FETCH, SYNC_GROUP,
};
use kafka_protocol::messages::ApiKey;

/// A request as it lies on the wire.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) key: ApiKey,
    /// The first and the last version that is taken.
    pub(crate) versions: (i16, i16),
    /// The first version with compact lengths and tagged fields (KIP-482).
    pub(crate) flexible: i16,
    pub(crate) fields: &'static [Field],
}

/// A field, in the versions that have it.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) tag: Option<u32>,
    from: i16,
    until: i16,
}

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A length, of 16 bits where it is not compact, and that many bytes.
    Text,
    /// A length, of 32 bits where it is not compact, and that many bytes.
    Blob,
    Nested(&'static [Field]),
    /// A count and that many elements.
    ListOf(&'static Kind),
}

impl Field {
    pub(crate) fn is_in(&self, version: i16) -> bool {
        (self.from..=self.until).contains(&version)
    }

    const fn from(mut self, version: i16) -> Self {
        self.from = version;
        self
    }

    const fn until(mut self, version: i16) -> Self {
        self.until = version;
        self
    }

    const fn tagged(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        tag: None,
        from: 0,
        until: i16::MAX,
    }
}

/// The shape of a request, if it is one that is taken.
pub(crate) fn of(key: i16) -> Option<&'static Shape> {
    SHAPES.iter().copied().find(|shape| shape.key as i16 == key)
}

/// Every request that is taken, in the order of the keys.
pub(crate) const SHAPES: &[&Shape] = &[
    &PRODUCE,
    &FETCH,
    &LIST_OFFSETS,
    &METADATA,
    &OFFSET_COMMIT,
    &OFFSET_FETCH,
    &FIND_COORDINATOR,
    &JOIN_GROUP,
    &HEARTBEAT,
    &LEAVE_GROUP,
    &SYNC_GROUP,
    &DESCRIBE_GROUPS,
    &LIST_GROUPS,
    &API_VERSIONS,
    &CREATE_TOPICS,
    &DELETE_TOPICS,
    &DELETE_RECORDS,
    &INIT_PRODUCER_ID,
    &OFFSET_FOR_LEADER_EPOCH,
    &DESCRIBE_CONFIGS,
    &ALTER_CONFIGS,
    &DESCRIBE_LOG_DIRS,
    &CREATE_PARTITIONS,
    &DELETE_GROUPS,
    &INCREMENTAL_ALTER_CONFIGS,
    &OFFSET_DELETE,
    &DESCRIBE_CLUSTER,
];

const PRODUCE: Shape = Shape {
    key: ApiKey::Produce,
    versions: (3, 13),
    flexible: 9,
    fields: &[
        field("transactional_id", Kind::Text),
        field("acks", Kind::Fixed(2)),
        field("timeout_ms", Kind::Fixed(4)),
        field(
            "topic_data",
            Kind::ListOf(&Kind::Nested(&[
                field("name", Kind::Text).until(12),
                field("topic_id", Kind::Fixed(16)).from(13),
                field(
                    "partition_data",
                    Kind::ListOf(&Kind::Nested(&[
                        field("index", Kind::Fixed(4)),
                        field("records", Kind::Blob),
                    ])),
                ),
            ])),
        ),
    ],
};

const FETCH: Shape = Shape {
    key: ApiKey::Fetch,
    versions: (4, 17),
    flexible: 12,
    fields: &[
        field("replica_id", Kind::Fixed(4)).until(14),
        field("max_wait_ms", Kind::Fixed(4)),
        field("min_bytes", Kind::Fixed(4)),
        field("max_bytes", Kind::Fixed(4)),
        field("isolation_level", Kind::Fixed(1)),
        field("session_id", Kind::Fixed(4)).from(7),
        field("session_epoch", Kind::Fixed(4)).from(7),
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("topic", Kind::Text).until(12),
                field("topic_id", Kind::Fixed(16)).from(13),
                field(
                    "partitions",
                    Kind::ListOf(&Kind::Nested(&[
                        field("partition", Kind::Fixed(4)),
                        field("current_leader_epoch", Kind::Fixed(4)).from(9),
                        field("fetch_offset", Kind::Fixed(8)),
                        field("last_fetched_epoch", Kind::Fixed(4)).from(12),
                        field("log_start_offset", Kind::Fixed(8)).from(5),
                        field("partition_max_bytes", Kind::Fixed(4)),
                        field("replica_directory_id", Kind::Fixed(16)).tagged(0).from(17),
                        field("high_watermark", Kind::Fixed(8)).tagged(1).from(18),
                    ])),
                ),
            ])),
        ),
        field(
            "forgotten_topics_data",
            Kind::ListOf(&Kind::Nested(&[
                field("topic", Kind::Text).from(7).until(12),
                field("topic_id", Kind::Fixed(16)).from(13),
                field("partitions", Kind::ListOf(&Kind::Fixed(4))).from(7),
            ])),
        )
        .from(7),
        field("rack_id", Kind::Text).from(11),
        field("cluster_id", Kind::Text).tagged(0),
        field(
            "replica_state",
            Kind::Nested(&[
                field("replica_id", Kind::Fixed(4)).from(15),
                field("replica_epoch", Kind::Fixed(8)).from(15),
            ]),
        )
        .tagged(1)
        .from(15),
    ],
};

const LIST_OFFSETS: Shape = Shape {
    key: ApiKey::ListOffsets,
    versions: (1, 10),
    flexible: 6,
    fields: &[
        field("replica_id", Kind::Fixed(4)),
        field("isolation_level", Kind::Fixed(1)).from(2),
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("name", Kind::Text),
                field(
                    "partitions",
                    Kind::ListOf(&Kind::Nested(&[
                        field("partition_index", Kind::Fixed(4)),
                        field("current_leader_epoch", Kind::Fixed(4)).from(4),
                        field("timestamp", Kind::Fixed(8)),
                    ])),
                ),
            ])),
        ),
        field("timeout_ms", Kind::Fixed(4)).from(10),
    ],
};

const METADATA: Shape = Shape {
    key: ApiKey::Metadata,
    versions: (0, 13),
    flexible: 9,
    fields: &[
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("topic_id", Kind::Fixed(16)).from(10),
                field("name", Kind::Text),
            ])),
        ),
        field("allow_auto_topic_creation", Kind::Fixed(1)).from(4),
        field("include_cluster_authorized_operations", Kind::Fixed(1))
            .from(8)
            .until(10),
        field("include_topic_authorized_operations", Kind::Fixed(1)).from(8),
    ],
};

const FIND_COORDINATOR: Shape = Shape {
    key: ApiKey::FindCoordinator,
    versions: (0, 6),
    flexible: 3,
    fields: &[
        field("key", Kind::Text).until(3),
        field("key_type", Kind::Fixed(1)).from(1),
        field("coordinator_keys", Kind::ListOf(&Kind::Text)).from(4),
    ],
};

const API_VERSIONS: Shape = Shape {
    key: ApiKey::ApiVersions,
    versions: (0, 4),
    flexible: 3,
    fields: &[
        field("client_software_name", Kind::Text).from(3),
        field("client_software_version", Kind::Text).from(3),
    ],
};

const CREATE_TOPICS: Shape = Shape {
    key: ApiKey::CreateTopics,
    versions: (2, 7),
    flexible: 5,
    fields: &[
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("name", Kind::Text),
                field("num_partitions", Kind::Fixed(4)),
                field("replication_factor", Kind::Fixed(2)),
                field(
                    "assignments",
                    Kind::ListOf(&Kind::Nested(&[
                        field("partition_index", Kind::Fixed(4)),
                        field("broker_ids", Kind::ListOf(&Kind::Fixed(4))),
                    ])),
                ),
                field(
                    "configs",
                    Kind::ListOf(&Kind::Nested(&[
                        field("name", Kind::Text),
                        field("value", Kind::Text),
                    ])),
                ),
            ])),
        ),
        field("timeout_ms", Kind::Fixed(4)),
        field("validate_only", Kind::Fixed(1)),
    ],
};

const DELETE_TOPICS: Shape = Shape {
    key: ApiKey::DeleteTopics,
    versions: (1, 6),
    flexible: 4,
    fields: &[
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("name", Kind::Text).from(6),
                field("topic_id", Kind::Fixed(16)).from(6),
            ])),
        )
        .from(6),
        field("topic_names", Kind::ListOf(&Kind::Text)).until(5),
        field("timeout_ms", Kind::Fixed(4)),
    ],
};

const DELETE_RECORDS: Shape = Shape {
    key: ApiKey::DeleteRecords,
    versions: (0, 2),
    flexible: 2,
    fields: &[
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("name", Kind::Text),
                field(
                    "partitions",
                    Kind::ListOf(&Kind::Nested(&[
                        field("partition_index", Kind::Fixed(4)),
                        field("offset", Kind::Fixed(8)),
                    ])),
                ),
            ])),
        ),
        field("timeout_ms", Kind::Fixed(4)),
    ],
};

const INIT_PRODUCER_ID: Shape = Shape {
    key: ApiKey::InitProducerId,
    versions: (0, 5),
    flexible: 2,
    fields: &[
        field("transactional_id", Kind::Text),
        field("transaction_timeout_ms", Kind::Fixed(4)),
        field("producer_id", Kind::Fixed(8)).from(3),
        field("producer_epoch", Kind::Fixed(2)).from(3),
    ],
};

const DESCRIBE_CONFIGS: Shape = Shape {
    key: ApiKey::DescribeConfigs,
    versions: (1, 4),
    flexible: 4,
    fields: &[
        field(
            "resources",
            Kind::ListOf(&Kind::Nested(&[
                field("resource_type", Kind::Fixed(1)),
                field("resource_name", Kind::Text),
                field("configuration_keys", Kind::ListOf(&Kind::Text)),
            ])),
        ),
        field("include_synonyms", Kind::Fixed(1)),
        field("include_documentation", Kind::Fixed(1)).from(3),
    ],
};

const DESCRIBE_CLUSTER: Shape = Shape {
    key: ApiKey::DescribeCluster,
    versions: (0, 2),
    flexible: 0,
    fields: &[
        field("include_cluster_authorized_operations", Kind::Fixed(1)),
        field("endpoint_type", Kind::Fixed(1)).from(1),
        field("include_fenced_brokers", Kind::Fixed(1)).from(2),
    ],
};

const OFFSET_FOR_LEADER_EPOCH: Shape = Shape {
    key: ApiKey::OffsetForLeaderEpoch,
    versions: (2, 4),
    flexible: 4,
    fields: &[
        field("replica_id", Kind::Fixed(4)).from(3),
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("topic", Kind::Text),
                field(
                    "partitions",
                    Kind::ListOf(&Kind::Nested(&[
                        field("partition", Kind::Fixed(4)),
                        field("current_leader_epoch", Kind::Fixed(4)),
                        field("leader_epoch", Kind::Fixed(4)),
                    ])),
                ),
            ])),
        ),
    ],
};

const DESCRIBE_LOG_DIRS: Shape = Shape {
    key: ApiKey::DescribeLogDirs,
    versions: (1, 4),
    flexible: 2,
    fields: &[field(
        "topics",
        Kind::ListOf(&Kind::Nested(&[
            field("topic", Kind::Text),
            field("partitions", Kind::ListOf(&Kind::Fixed(4))),
        ])),
    )],
};

const ALTER_CONFIGS: Shape = Shape {
    key: ApiKey::AlterConfigs,
    versions: (0, 2),
    flexible: 2,
    fields: &[
        field(
            "resources",
            Kind::ListOf(&Kind::Nested(&[
                field("resource_type", Kind::Fixed(1)),
                field("resource_name", Kind::Text),
                field(
                    "configs",
                    Kind::ListOf(&Kind::Nested(&[
                        field("name", Kind::Text),
                        field("value", Kind::Text),
                    ])),
                ),
            ])),
        ),
        field("validate_only", Kind::Fixed(1)),
    ],
};

const INCREMENTAL_ALTER_CONFIGS: Shape = Shape {
    key: ApiKey::IncrementalAlterConfigs,
    versions: (0, 1),
    flexible: 1,
    fields: &[
        field(
            "resources",
            Kind::ListOf(&Kind::Nested(&[
                field("resource_type", Kind::Fixed(1)),
                field("resource_name", Kind::Text),
                field(
                    "configs",
                    Kind::ListOf(&Kind::Nested(&[
                        field("name", Kind::Text),
                        field("config_operation", Kind::Fixed(1)),
                        field("value", Kind::Text),
                    ])),
                ),
            ])),
        ),
        field("validate_only", Kind::Fixed(1)),
    ],
};

const CREATE_PARTITIONS: Shape = Shape {
    key: ApiKey::CreatePartitions,
    versions: (0, 3),
    flexible: 2,
    fields: &[
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("name", Kind::Text),
                field("count", Kind::Fixed(4)),
                field(
                    "assignments",
                    Kind::ListOf(&Kind::Nested(&[field(
                        "broker_ids",
                        Kind::ListOf(&Kind::Fixed(4)),
                    )])),
                ),
            ])),
        ),
        field("timeout_ms", Kind::Fixed(4)),
        field("validate_only", Kind::Fixed(1)),
    ],
};
