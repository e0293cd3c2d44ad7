//! What became of one attempt to send a stamped batch, and how Kafka's error codes are told apart (invariant **told-apart**).

/// What one attempt to send a stamped batch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The batch is on the log. The offset of its first record is not known when the broker only said that it was
    /// there already (46).
    Appended {
        /// Offset of the batch's first record.
        offset: Option<i64>,
    },
    /// Refused for its content. Believed only when no earlier attempt of the stamp is unanswered.
    Refused(Refusal),
    /// 45: an earlier batch of the same epoch is not on the log.
    OutOfTurn,
    /// 47 or 90: somebody went on under a higher epoch.
    Fenced,
    /// Everything else: the stamp is kept and sent again, or parked with it.
    Unanswered {
        /// What was seen.
        trouble: Trouble,
        /// False only when no byte of the request was written, or when the broker checks for this trouble before
        /// it appends and no answer can be late.
        may_have_landed: bool,
    },
}

/// Why Kafka refused a batch for its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 2: the checksum does not match, or the topic wants keys and one is missing.
    Corrupt,
    /// 10 or 18: larger than the topic allows.
    TooLarge,
    /// 87: a record in it is invalid.
    InvalidRecord,
}

/// Why an attempt brought no decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// No connection could be made, or it closed before the answer.
    Disconnected,
    /// No answer in time, here or among the brokers (7).
    TimedOut,
    /// The partition has no leader, or the broker asked does not lead it (5, 6, 8, 9, 74-76 …).
    Leaderless,
    /// Too few replicas are in sync (19, 20).
    NotEnoughReplicas,
    /// The topic or partition is not there (3, 100).
    TopicMissing,
    /// The credentials are refused (58).
    AuthenticationRefused,
    /// The permission is refused (29, 31, 53, 65).
    PermissionRefused,
    /// The broker asks to slow down (89).
    Throttled,
    /// The timestamps are out of the topic's range (32): a clock is wrong.
    TimestampRefused,
    /// The broker does not know the producer any more (59).
    ProducerForgotten,
    /// The broker's disk failed (56).
    StorageFailed,
    /// Any other code.
    Other(i16),
}

/// What an outcome means for the event (invariant **told-apart**).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Done.
    Success,
    /// An outage: park.
    Park,
    /// Something that an operator must mend: park and raise an alarm.
    ParkWithAlarm,
    /// Slow down and send again.
    PushBack,
    /// The event is wrong: dead-letter it, when it was refused alone.
    DeadLetter,
    /// The stamp and what is known of the partition decide.
    Decide,
}

impl Answer {
    /// Reads a produce response's error code (Kafka's `Errors`). `offset` is its base offset, -1 where there is none.
    #[must_use]
    pub const fn from_code(code: i16, offset: i64) -> Self {
        match code {
            0 => Self::Appended {
                offset: if offset >= 0 { Some(offset) } else { None },
            },
            46 => Self::Appended { offset: None },
            2 => Self::Refused(Refusal::Corrupt),
            10 | 18 => Self::Refused(Refusal::TooLarge),
            87 => Self::Refused(Refusal::InvalidRecord),
            45 => Self::OutOfTurn,
            47 | 90 => Self::Fenced,
            _ => Self::Unanswered {
                trouble: Trouble::from_code(code),
                may_have_landed: may_have_landed(code),
            },
        }
    }

    /// What the answer means, taken alone.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Appended { .. } => Class::Success,
            Self::Refused(_) => Class::DeadLetter,
            Self::OutOfTurn | Self::Fenced => Class::Decide,
            Self::Unanswered { trouble, .. } => trouble.class(),
        }
    }
}

/// After these the batch may be on the leader's log although the answer is an error: too few replicas answered in
/// time, or the leader died or changed while it waited for them.
const fn may_have_landed(code: i16) -> bool {
    !matches!(code, 3 | 19 | 29 | 31 | 32 | 53 | 58 | 65 | 89 | 100)
}

impl Trouble {
    /// Reads an error code that is no decision about the batch.
    #[must_use]
    pub const fn from_code(code: i16) -> Self {
        match code {
            13 => Self::Disconnected,
            7 => Self::TimedOut,
            5 | 6 | 8 | 9 | 72 | 74 | 75 | 76 | 77 | 78 | 80 | 129 => Self::Leaderless,
            19 | 20 => Self::NotEnoughReplicas,
            3 | 17 | 100 => Self::TopicMissing,
            33 | 34 | 58 => Self::AuthenticationRefused,
            29 | 30 | 31 | 53 | 54 | 65 => Self::PermissionRefused,
            89 => Self::Throttled,
            32 => Self::TimestampRefused,
            59 => Self::ProducerForgotten,
            56 | 57 => Self::StorageFailed,
            other => Self::Other(other),
        }
    }

    /// What the trouble means for the event.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Disconnected
            | Self::TimedOut
            | Self::Leaderless
            | Self::NotEnoughReplicas
            | Self::StorageFailed => Class::Park,
            Self::TopicMissing
            | Self::AuthenticationRefused
            | Self::PermissionRefused
            | Self::TimestampRefused
            | Self::Other(_) => Class::ParkWithAlarm,
            Self::Throttled => Class::PushBack,
            Self::ProducerForgotten => Class::Decide,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_refused_and_outages_park() {
        for (code, expected) in [
            (0, Class::Success),
            (46, Class::Success),
            (2, Class::DeadLetter),
            (10, Class::DeadLetter),
            (18, Class::DeadLetter),
            (87, Class::DeadLetter),
            (45, Class::Decide),
            (47, Class::Decide),
            (59, Class::Decide),
            (3, Class::ParkWithAlarm),
            (29, Class::ParkWithAlarm),
            (32, Class::ParkWithAlarm),
            (58, Class::ParkWithAlarm),
            (5, Class::Park),
            (6, Class::Park),
            (7, Class::Park),
            (19, Class::Park),
            (20, Class::Park),
            (56, Class::Park),
            (89, Class::PushBack),
            (-1, Class::ParkWithAlarm),
        ] {
            assert_eq!(Answer::from_code(code, 5).class(), expected, "code {code}");
        }
    }

    #[test]
    fn only_content_is_ever_dead_lettered() {
        let dead: Vec<i16> = (-1..200)
            .filter(|code| Answer::from_code(*code, 0).class() == Class::DeadLetter)
            .collect();
        assert_eq!(dead, [2, 10, 18, 87]);
    }
}
