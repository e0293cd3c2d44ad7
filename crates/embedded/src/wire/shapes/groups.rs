//! Requests of groups and their offsets.

use kafka_protocol::messages::ApiKey;

use super::{Kind, Shape, field};

pub(super) const OFFSET_COMMIT: Shape = Shape {
    key: ApiKey::OffsetCommit,
    versions: (2, 9),
    flexible: 8,
    fields: &[
        field("group_id", Kind::Text),
        field("generation_id_or_member_epoch", Kind::Fixed(4)),
        field("member_id", Kind::Text),
        field("group_instance_id", Kind::Text).from(7),
        field("retention_time_ms", Kind::Fixed(8)).until(4),
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("name", Kind::Text),
                field(
                    "partitions",
                    Kind::ListOf(&Kind::Nested(&[
                        field("partition_index", Kind::Fixed(4)),
                        field("committed_offset", Kind::Fixed(8)),
                        field("committed_leader_epoch", Kind::Fixed(4)).from(6),
                        field("committed_metadata", Kind::Text),
                    ])),
                ),
            ])),
        ),
    ],
};

pub(super) const OFFSET_FETCH: Shape = Shape {
    key: ApiKey::OffsetFetch,
    versions: (1, 9),
    flexible: 6,
    fields: &[
        field("group_id", Kind::Text).until(7),
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("name", Kind::Text).until(7),
                field("partition_indexes", Kind::ListOf(&Kind::Fixed(4))).until(7),
            ])),
        )
        .until(7),
        field(
            "groups",
            Kind::ListOf(&Kind::Nested(&[
                field("group_id", Kind::Text).from(8),
                field("member_id", Kind::Text).from(9),
                field("member_epoch", Kind::Fixed(4)).from(9),
                field(
                    "topics",
                    Kind::ListOf(&Kind::Nested(&[
                        field("name", Kind::Text).from(8),
                        field("partition_indexes", Kind::ListOf(&Kind::Fixed(4))).from(8),
                    ])),
                )
                .from(8),
            ])),
        )
        .from(8),
        field("require_stable", Kind::Fixed(1)).from(7),
    ],
};

pub(super) const JOIN_GROUP: Shape = Shape {
    key: ApiKey::JoinGroup,
    versions: (0, 9),
    flexible: 6,
    fields: &[
        field("group_id", Kind::Text),
        field("session_timeout_ms", Kind::Fixed(4)),
        field("rebalance_timeout_ms", Kind::Fixed(4)).from(1),
        field("member_id", Kind::Text),
        field("group_instance_id", Kind::Text).from(5),
        field("protocol_type", Kind::Text),
        field(
            "protocols",
            Kind::ListOf(&Kind::Nested(&[
                field("name", Kind::Text),
                field("metadata", Kind::Blob),
            ])),
        ),
        field("reason", Kind::Text).from(8),
    ],
};

pub(super) const HEARTBEAT: Shape = Shape {
    key: ApiKey::Heartbeat,
    versions: (0, 4),
    flexible: 4,
    fields: &[
        field("group_id", Kind::Text),
        field("generation_id", Kind::Fixed(4)),
        field("member_id", Kind::Text),
        field("group_instance_id", Kind::Text).from(3),
    ],
};

pub(super) const LEAVE_GROUP: Shape = Shape {
    key: ApiKey::LeaveGroup,
    versions: (0, 5),
    flexible: 4,
    fields: &[
        field("group_id", Kind::Text),
        field("member_id", Kind::Text).until(2),
        field(
            "members",
            Kind::ListOf(&Kind::Nested(&[
                field("member_id", Kind::Text).from(3),
                field("group_instance_id", Kind::Text).from(3),
                field("reason", Kind::Text).from(5),
            ])),
        )
        .from(3),
    ],
};

pub(super) const SYNC_GROUP: Shape = Shape {
    key: ApiKey::SyncGroup,
    versions: (0, 5),
    flexible: 4,
    fields: &[
        field("group_id", Kind::Text),
        field("generation_id", Kind::Fixed(4)),
        field("member_id", Kind::Text),
        field("group_instance_id", Kind::Text).from(3),
        field("protocol_type", Kind::Text).from(5),
        field("protocol_name", Kind::Text).from(5),
        field(
            "assignments",
            Kind::ListOf(&Kind::Nested(&[
                field("member_id", Kind::Text),
                field("assignment", Kind::Blob),
            ])),
        ),
    ],
};

pub(super) const DESCRIBE_GROUPS: Shape = Shape {
    key: ApiKey::DescribeGroups,
    versions: (0, 6),
    flexible: 5,
    fields: &[
        field("groups", Kind::ListOf(&Kind::Text)),
        field("include_authorized_operations", Kind::Fixed(1)).from(3),
    ],
};

pub(super) const LIST_GROUPS: Shape = Shape {
    key: ApiKey::ListGroups,
    versions: (0, 5),
    flexible: 3,
    fields: &[
        field("states_filter", Kind::ListOf(&Kind::Text)).from(4),
        field("types_filter", Kind::ListOf(&Kind::Text)).from(5),
    ],
};

pub(super) const DELETE_GROUPS: Shape = Shape {
    key: ApiKey::DeleteGroups,
    versions: (0, 2),
    flexible: 2,
    fields: &[field("groups_names", Kind::ListOf(&Kind::Text))],
};

pub(super) const OFFSET_DELETE: Shape = Shape {
    key: ApiKey::OffsetDelete,
    versions: (0, 0),
    flexible: i16::MAX,
    fields: &[
        field("group_id", Kind::Text),
        field(
            "topics",
            Kind::ListOf(&Kind::Nested(&[
                field("name", Kind::Text),
                field(
                    "partitions",
                    Kind::ListOf(&Kind::Nested(&[field("partition_index", Kind::Fixed(4))])),
                ),
            ])),
        ),
    ],
};
