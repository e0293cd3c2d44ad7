//! The settings that a topic can carry. Those that mean something here are obeyed; the rest are kept and shown.

use std::collections::BTreeMap;

/// How Kafka types a setting (`ConfigType` of `DescribeConfigs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Boolean,
    Text,
    Int,
    Long,
    Double,
    List,
}

impl Type {
    /// Its number on the wire.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }
}

/// A setting that a topic may have.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
    pub(crate) default: &'static str,
    pub(crate) meaning: &'static str,
    /// The least number it may be.
    least: i64,
    /// The words it may be; any when empty.
    words: &'static [&'static str],
}

const fn number(
    name: &'static str,
    kind: Type,
    default: &'static str,
    least: i64,
    meaning: &'static str,
) -> Setting {
    Setting {
        name,
        kind,
        default,
        meaning,
        least,
        words: &[],
    }
}

const fn word(
    name: &'static str,
    kind: Type,
    default: &'static str,
    words: &'static [&'static str],
    meaning: &'static str,
) -> Setting {
    Setting {
        name,
        kind,
        default,
        meaning,
        least: 0,
        words,
    }
}

const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
const CLEANUP_POLICY: &str = "cleanup.policy";
const BEFORE_MS: &str = "message.timestamp.before.max.ms";
const RETENTION_MS: &str = "retention.ms";
const RETENTION_BYTES: &str = "retention.bytes";
const SEGMENT_BYTES: &str = "segment.bytes";
const SEGMENT_MS: &str = "segment.ms";
const DELETE_RETENTION_MS: &str = "delete.retention.ms";
const MIN_LAG_MS: &str = "min.compaction.lag.ms";
const DIRTY_RATIO: &str = "min.cleanable.dirty.ratio";
const AFTER_MS: &str = "message.timestamp.after.max.ms";

/// Every setting that is taken.
pub(crate) const SETTINGS: &[Setting] = &[
    number(
        MAX_MESSAGE_BYTES,
        Type::Int,
        "1048588",
        0,
        "The largest batch that is taken, in bytes.",
    ),
    word(
        CLEANUP_POLICY,
        Type::List,
        "delete",
        &["delete", "compact"],
        "delete: segments go by age and size. compact: the latest record of each key stays. Or both.",
    ),
    word(
        "compression.type",
        Type::Text,
        "producer",
        &["producer"],
        "Batches are kept as they come.",
    ),
    word(
        "message.timestamp.type",
        Type::Text,
        "CreateTime",
        &["CreateTime"],
        "Records keep their timestamps.",
    ),
    number(
        BEFORE_MS,
        Type::Long,
        "9223372036854775807",
        0,
        "How old a timestamp may be, in milliseconds.",
    ),
    number(
        AFTER_MS,
        Type::Long,
        "3600000",
        0,
        "How far ahead a timestamp may be, in milliseconds.",
    ),
    number(
        "min.insync.replicas",
        Type::Int,
        "1",
        1,
        "Kept and shown; there is one replica.",
    ),
    number(
        RETENTION_MS,
        Type::Long,
        "-1",
        -1,
        "How old a segment's newest record becomes before it is deleted, in milliseconds; -1 for ever.",
    ),
    number(
        RETENTION_BYTES,
        Type::Long,
        "-1",
        -1,
        "Bytes of a partition beyond which its oldest segments are deleted; -1 for no limit.",
    ),
    number(
        SEGMENT_BYTES,
        Type::Int,
        "67108864",
        14,
        "Bytes from which on the next segment is begun; the broker's own when it is not given.",
    ),
    number(
        SEGMENT_MS,
        Type::Long,
        "604800000",
        1,
        "How long a segment is written to before the next is begun, in milliseconds.",
    ),
    number(
        DELETE_RETENTION_MS,
        Type::Long,
        "86400000",
        0,
        "How long a tombstone stays after it was first compacted, in milliseconds.",
    ),
    number(
        MIN_LAG_MS,
        Type::Long,
        "0",
        0,
        "How old a segment's newest record becomes before it is compacted, in milliseconds.",
    ),
    number(
        "max.compaction.lag.ms",
        Type::Long,
        "9223372036854775807",
        1,
        "Kept and shown.",
    ),
    number("file.delete.delay.ms", Type::Long, "60000", 0, "Kept and shown."),
    number(
        "flush.messages",
        Type::Long,
        "1",
        1,
        "Kept and shown; every acknowledgement is flushed.",
    ),
    number(
        "flush.ms",
        Type::Long,
        "9223372036854775807",
        0,
        "Kept and shown; every acknowledgement is flushed.",
    ),
    number("index.interval.bytes", Type::Int, "4096", 0, "Kept and shown."),
    number("segment.index.bytes", Type::Int, "10485760", 4, "Kept and shown."),
    number("segment.jitter.ms", Type::Long, "0", 0, "Kept and shown."),
    number(
        DIRTY_RATIO,
        Type::Double,
        "0.5",
        0,
        "The share of bytes not compacted yet from which on a partition is compacted.",
    ),
    word(
        "preallocate",
        Type::Boolean,
        "false",
        &["true", "false"],
        "Kept and shown.",
    ),
    word(
        "unclean.leader.election.enable",
        Type::Boolean,
        "false",
        &["true", "false"],
        "Kept and shown.",
    ),
];

/// A topic's settings as they were given, by name.
pub(crate) type Given = BTreeMap<String, String>;

/// The settings that are obeyed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Obeyed {
    pub(crate) message_bytes_max: usize,
    pub(crate) is_compacted: bool,
    pub(crate) timestamp_before_ms: i64,
    pub(crate) timestamp_after_ms: i64,
    /// Whether segments are deleted by age and size.
    pub(crate) is_deleted: bool,
    pub(crate) retention_ms: Option<i64>,
    pub(crate) retention_bytes: Option<u64>,
    /// `None` when it was not given.
    pub(crate) segment_bytes: Option<u32>,
    pub(crate) segment_ms: i64,
    pub(crate) delete_retention_ms: i64,
    pub(crate) compaction_lag_ms: i64,
    pub(crate) dirty_ratio: f64,
}

impl Obeyed {
    pub(crate) fn of(given: &Given) -> Self {
        let value = |name| given.get(name).map_or_else(|| default_of(name), String::as_str);
        let number = |name| value(name).parse::<i64>();
        let has_policy = |policy| value(CLEANUP_POLICY).split(',').any(|word| word.trim() == policy);
        Self {
            message_bytes_max: value(MAX_MESSAGE_BYTES).parse().unwrap_or(0),
            is_compacted: has_policy("compact"),
            is_deleted: has_policy("delete"),
            timestamp_before_ms: value(BEFORE_MS).parse().unwrap_or(i64::MAX),
            timestamp_after_ms: value(AFTER_MS).parse().unwrap_or(i64::MAX),
            retention_ms: number(RETENTION_MS).ok().filter(|limit| *limit >= 0),
            retention_bytes: value(RETENTION_BYTES).parse().ok(),
            segment_bytes: given.get(SEGMENT_BYTES).and_then(|bytes| bytes.parse().ok()),
            segment_ms: number(SEGMENT_MS).unwrap_or(i64::MAX),
            delete_retention_ms: number(DELETE_RETENTION_MS).unwrap_or(i64::MAX),
            compaction_lag_ms: number(MIN_LAG_MS).unwrap_or(0),
            dirty_ratio: value(DIRTY_RATIO).parse().unwrap_or(0.5),
        }
    }
}

fn default_of(name: &str) -> &'static str {
    SETTINGS
        .iter()
        .find(|setting| setting.name == name)
        .map_or("", |setting| setting.default)
}

/// The setting of that name, or why there is none.
pub(crate) fn find(name: &str) -> Result<&'static Setting, String> {
    let found = SETTINGS.iter().find(|setting| setting.name == name);
    found.ok_or_else(|| format!("the embedded broker has no topic setting {name}"))
}

/// Refuses a setting that is unknown or cannot be, with the reason.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    let setting = find(name)?;
    let taken = match setting.kind {
        Type::Int => value
            .parse::<i32>()
            .is_ok_and(|number| i64::from(number) >= setting.least),
        Type::Long => value.parse::<i64>().is_ok_and(|number| number >= setting.least),
        Type::Double => value
            .parse::<f64>()
            .is_ok_and(|number| (0.0..=1.0).contains(&number)),
        Type::List => value.split(',').all(|word| setting.words.contains(&word.trim())),
        Type::Boolean | Type::Text => setting.words.contains(&value),
    };
    if taken {
        return Ok(());
    }
    let range = if setting.words.is_empty() {
        format!("a number from {} on", setting.least)
    } else {
        setting.words.join(" or ")
    };
    Err(format!("topic setting {name} is {value:?}, expected {range}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_their_own_check() {
        for setting in SETTINGS {
            assert_eq!(check(setting.name, setting.default), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn refusals_name_the_setting_and_the_range() {
        assert_eq!(
            check("no.such", "1"),
            Err("the embedded broker has no topic setting no.such".into())
        );
        let reason = "topic setting max.message.bytes is \"-1\", expected a number from 0 on";
        assert_eq!(check("max.message.bytes", "-1"), Err(reason.into()));
        let reason = "topic setting cleanup.policy is \"shred\", expected delete or compact";
        assert_eq!(check("cleanup.policy", "shred"), Err(reason.into()));
        assert_eq!(check("cleanup.policy", "compact,delete"), Ok(()));
    }

    #[test]
    fn given_settings_are_obeyed() {
        let given = [("max.message.bytes", "99"), ("cleanup.policy", "compact")];
        let obeyed = Obeyed::of(&given.map(|(name, value)| (name.into(), value.into())).into());
        assert_eq!((obeyed.message_bytes_max, obeyed.is_compacted), (99, true));
        assert_eq!(Obeyed::of(&Given::new()).message_bytes_max, 1_048_588);
    }
}
