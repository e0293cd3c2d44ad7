//! What can go wrong between us and Kafka, told apart by methods.

use std::time::Duration;

use evenkeel_event::TopicPartition;
use evenkeel_flow::answer::Class;
use evenkeel_flow::{Answer, Trouble};
use kafka_protocol::ResponseError;

/// Why something could not be had from, or done by, Kafka.
///
/// Callers decide on the methods, never on the text. Messages never hold secrets or payloads (invariant **private**).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings cannot be used.
    #[error("the Kafka settings are wrong: {0}")]
    Config(String),
    /// No connection could be made.
    #[error(
        "cannot reach Kafka at {address}: {reason}; check that the broker runs there and that its advertised address can be reached from here"
    )]
    Unreachable {
        /// `host:port`, or a list of them.
        address: String,
        /// What the operating system said.
        reason: String,
    },
    /// The TLS handshake failed.
    #[error("TLS with Kafka at {address} failed: {reason}")]
    Tls {
        /// `host:port`.
        address: String,
        /// The reason and the fix.
        reason: String,
    },
    /// The credentials were refused.
    #[error(
        "Kafka at {address} refused the credentials ({mechanism}): {reason}; check user name, password or token"
    )]
    AuthenticationRefused {
        /// `host:port`.
        address: String,
        /// The SASL mechanism.
        mechanism: String,
        /// What the broker said.
        reason: String,
    },
    /// The connection closed before the answer.
    #[error("Kafka at {address} closed the connection before it answered {request}: {reason}")]
    Disconnected {
        /// `host:port`.
        address: String,
        /// The request that was not answered.
        request: &'static str,
        /// What was seen.
        reason: String,
        /// False only when no byte of the request was written.
        written: bool,
    },
    /// No answer within the time allowed.
    #[error("Kafka at {address} did not answer {request} within {after:?}")]
    TimedOut {
        /// `host:port`.
        address: String,
        /// The request that was not answered.
        request: &'static str,
        /// The time allowed.
        after: Duration,
        /// False only when no byte of the request was written.
        written: bool,
    },
    /// The broker asked to slow down for longer than the time allowed.
    #[error("Kafka at {address} asks to slow down: {request} would have to wait {wait:?} for the quota")]
    Throttled {
        /// `host:port`.
        address: String,
        /// The request that was not sent.
        request: &'static str,
        /// How long the broker wants nothing from us.
        wait: Duration,
    },
    /// Bytes that Kafka's protocol does not allow.
    #[error("{address} does not speak Kafka's protocol as expected ({request}): {reason}")]
    Protocol {
        /// `host:port`.
        address: String,
        /// The request in question.
        request: &'static str,
        /// What was seen.
        reason: String,
    },
    /// The broker does not know a request in a version that we know.
    #[error(
        "Kafka at {address} does not offer {request} in a version between {lowest} and {highest}: Kafka 3.6 or newer is needed"
    )]
    Unsupported {
        /// `host:port`.
        address: String,
        /// The request.
        request: &'static str,
        /// The lowest version known here.
        lowest: i16,
        /// The highest version known here.
        highest: i16,
    },
    /// Kafka answered with an error code.
    #[error("Kafka refused {request} for {subject}: {} ({code}){}", code_name(*code), detail(message))]
    Refused {
        /// The request.
        request: &'static str,
        /// The topic, partition, group or node in question.
        subject: String,
        /// Kafka's error code (`org.apache.kafka.common.protocol.Errors`).
        code: i16,
        /// What the broker adds; may be empty.
        message: String,
    },
    /// The topic does not exist, or not under the identity it had.
    #[error(
        "the topic {topic} does not exist on this cluster (`evenkeel topic list` shows those that do, `evenkeel topic create \
         {topic}` makes it)"
    )]
    TopicMissing {
        /// The topic.
        topic: String,
    },
    /// The partition has no leader that can be reached.
    #[error("the partition {partition} has no leader at present")]
    Leaderless {
        /// The partition.
        partition: TopicPartition,
    },
    /// A batch was not answered as appended in time.
    #[error("{partition} did not take the records ({answer:?}); {}", landed(*may_have_landed))]
    NotAppended {
        /// The partition.
        partition: TopicPartition,
        /// The last answer.
        answer: Answer,
        /// True when an attempt is unanswered, so that the records may be on the topic.
        may_have_landed: bool,
    },
    /// The log was cut behind what was read (KIP-320).
    #[error("{partition} was truncated: offsets from {offset} on are not what was read before")]
    Truncated {
        /// The partition.
        partition: TopicPartition,
        /// The first offset that must be read again.
        offset: i64,
    },
    /// The offset is not on the log.
    #[error("offset {offset} of {partition} is not on the log, which begins at {earliest}")]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset asked for.
        offset: i64,
        /// The log's first offset, -1 when not known.
        earliest: i64,
    },
    /// A batch cannot be made or read.
    #[error(transparent)]
    Batch(#[from] crate::batch::Error),
}

impl Error {
    /// Kafka, or the way to it, is out: waiting may help, what is to be sent is parked.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Disconnected { .. }
            | Self::TimedOut { .. }
            | Self::Leaderless { .. } => true,
            Self::Refused { code, .. } => coordinator_moves(*code) || class(*code) == Class::Park,
            Self::NotAppended { answer, .. } => answer.class() == Class::Park,
            _ => false,
        }
    }

    /// The credentials or the permission were refused: somebody must mend it, waiting does not help.
    #[must_use]
    pub fn is_access_refused(&self) -> bool {
        match self {
            Self::AuthenticationRefused { .. } => true,
            Self::Refused { code, .. } => matches!(
                Trouble::from_code(*code),
                Trouble::AuthenticationRefused | Trouble::PermissionRefused
            ),
            Self::NotAppended { answer, .. } => matches!(
                answer,
                Answer::Unanswered {
                    trouble: Trouble::AuthenticationRefused | Trouble::PermissionRefused,
                    ..
                }
            ),
            _ => false,
        }
    }

    /// TLS cannot be agreed on: a certificate or an authority is wrong.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }

    /// The topic or the partition does not exist.
    #[must_use]
    pub fn is_topic_missing(&self) -> bool {
        match self {
            Self::TopicMissing { .. } => true,
            Self::Refused { code, .. } => matches!(code, 3 | 100),
            _ => false,
        }
    }

    /// What was to be created is there already (36).
    #[must_use]
    pub const fn is_already_there(&self) -> bool {
        matches!(self, Self::Refused { code: 36, .. })
    }

    /// The broker asks to slow down.
    #[must_use]
    pub const fn is_throttled(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Refused { code: 89, .. })
    }

    /// Kafka's error code, when Kafka answered with one.
    #[must_use]
    pub const fn code(&self) -> Option<i16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// True when what was to be written may be on the log although this is an error.
    #[must_use]
    pub const fn may_have_landed(&self) -> bool {
        match self {
            Self::NotAppended { may_have_landed, .. } => *may_have_landed,
            Self::Disconnected { written, .. } | Self::TimedOut { written, .. } => *written,
            _ => false,
        }
    }

    /// True when the broker was not reached with the request, which another one may be asked then.
    pub(crate) const fn is_unwritten(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Disconnected { written: false, .. }
                | Self::TimedOut { written: false, .. }
        )
    }

    /// What the failure of a produce request says about its batches.
    pub(crate) const fn trouble(&self) -> Trouble {
        match self {
            Self::TimedOut { .. } => Trouble::TimedOut,
            Self::AuthenticationRefused { .. } => Trouble::AuthenticationRefused,
            Self::Throttled { .. } => Trouble::Throttled,
            Self::TopicMissing { .. } => Trouble::TopicMissing,
            Self::Leaderless { .. } => Trouble::Leaderless,
            Self::Refused { code, .. } => Trouble::from_code(*code),
            Self::Unsupported { .. } => Trouble::Other(35),
            // A wrong certificate, like a wrong password, must be mended by somebody: it parks with an alarm.
            Self::Tls { .. } | Self::Config(_) => Trouble::AuthenticationRefused,
            _ => Trouble::Disconnected,
        }
    }

    /// An error code as an error, `Ok` for 0.
    pub(crate) fn check(
        code: i16,
        request: &'static str,
        subject: impl std::fmt::Display,
        message: Option<&str>,
    ) -> Result<(), Self> {
        if code == 0 {
            return Ok(());
        }
        Err(Self::Refused {
            request,
            subject: subject.to_string(),
            code,
            message: message.unwrap_or_default().to_owned(),
        })
    }
}

/// How an error code is classed (invariant **told-apart**).
fn class(code: i16) -> Class {
    Answer::from_code(code, -1).class()
}

/// 14, 15, 16: the coordinator loads, is not there yet or is elsewhere; 41: the controller is elsewhere.
const fn coordinator_moves(code: i16) -> bool {
    matches!(code, 14 | 15 | 16 | 41)
}

fn code_name(code: i16) -> String {
    ResponseError::try_from_code(code).map_or_else(|| "unknown code".to_owned(), |known| format!("{known:?}"))
}

fn detail(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

const fn landed(may_have_landed: bool) -> &'static str {
    if may_have_landed {
        "they may be on the log"
    } else {
        "they are not on the log"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant **told-apart** over all of Kafka's error codes: what is not named here parks with an alarm.
    #[test]
    fn every_code_has_its_class() {
        for code in -1..=133_i16 {
            let expected = match code {
                0 | 46 => Class::Success,
                2 | 10 | 18 | 87 => Class::DeadLetter,
                45 | 47 | 59 | 90 => Class::Decide,
                89 => Class::PushBack,
                5..=9 | 13 | 19 | 20 | 56 | 57 | 72 | 74..=78 | 80 | 129 => Class::Park,
                _ => Class::ParkWithAlarm,
            };
            assert_eq!(class(code), expected, "{} ({code})", code_name(code));
            assert!(
                ResponseError::try_from_code(code).is_some() || code == 0,
                "{code} is not Kafka's"
            );
        }
    }

    fn refused(code: i16) -> Error {
        Error::check(code, "Produce", "orders-0", None).unwrap_err()
    }

    #[test]
    fn refusals_are_told_apart() {
        let codes = |wanted: fn(&Error) -> bool| -> Vec<i16> {
            (1..=133).filter(|code| wanted(&refused(*code))).collect()
        };
        assert_eq!(
            codes(Error::is_access_refused),
            [29, 30, 31, 33, 34, 53, 54, 58, 65]
        );
        assert_eq!(codes(Error::is_topic_missing), [3, 100]);
        assert_eq!(codes(Error::is_throttled), [89]);
        assert_eq!(
            codes(Error::is_outage),
            [
                5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20, 41, 56, 57, 72, 74, 75, 76, 77, 78, 80, 129
            ]
        );
    }

    #[test]
    fn a_refusal_names_the_request_the_thing_and_the_code() {
        let text = refused(29).to_string();
        assert_eq!(
            text,
            "Kafka refused Produce for orders-0: TopicAuthorizationFailed (29)"
        );
    }
}
