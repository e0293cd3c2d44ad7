//! What a standby store may answer.

use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_event::{Code, TopicName};

/// Why a store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The size limit is reached. Nothing was written.
    #[error(
        "the standby store uses {used_bytes} of {limit_bytes} bytes and cannot take {needed_bytes} more for topic \
         {topic}: bring Kafka back, or raise standby.bytes_max"
    )]
    Full {
        /// The topic whose rows were refused.
        topic: TopicName,
        /// Bytes in use.
        used_bytes: u64,
        /// Bytes that may be in use.
        limit_bytes: u64,
        /// Bytes that were asked for.
        needed_bytes: u64,
    },
    /// The disk has no room left. Nothing was written.
    #[error("the disk of the standby store {directory} is full: make room, or move the store")]
    DiskFull {
        /// The store's directory.
        directory: PathBuf,
    },
    /// A row is larger than a store takes. Nothing was written.
    #[error(
        "{bytes} bytes for topic {topic} are more than the {limit_bytes} that one append to the standby store takes"
    )]
    TooLarge {
        /// The topic whose row was refused.
        topic: TopicName,
        /// Bytes that were to be written.
        bytes: u64,
        /// Most bytes of one append.
        limit_bytes: u64,
    },
    /// A place has as many of something as its record on a server holds. Nothing was written.
    #[error(
        "a partition of topic {topic} has {limit} {what} in the standby store already: bring Kafka back, and let it drain"
    )]
    Crowded {
        /// The topic.
        topic: TopicName,
        /// What there are too many of.
        what: &'static str,
        /// Most of them.
        limit: usize,
    },
    /// Nothing was to be appended, or a stamp covers a position that holds nothing. Nothing was written.
    #[error("the standby store holds nothing at position {position} of topic {topic}")]
    NoRows {
        /// The topic that was asked for.
        topic: TopicName,
        /// A position asked for.
        position: u64,
    },
    /// Another process has the store open.
    #[error("the standby store {directory} is in use by another process: stop it, or use another directory")]
    Locked {
        /// The store's directory.
        directory: PathBuf,
    },
    /// The directory was written by a version that this one does not know.
    #[error(
        "the standby store {directory} has format {found:?}, this version reads {known:?}: start the version that wrote it and let it drain"
    )]
    Format {
        /// The store's directory.
        directory: PathBuf,
        /// What its format file says.
        found: String,
        /// What this version writes.
        known: &'static str,
    },
    /// The storage failed. The step may have been made.
    #[error("the standby store {directory} failed to {action}: {source}")]
    Storage {
        /// The store's directory.
        directory: PathBuf,
        /// What it was doing.
        action: &'static str,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// The server of a shared store does not answer, or its answer was lost. An outage: try again.
    #[error(
        "{server} cannot be reached to {action}: {reason}; see that the server runs and that this machine reaches it"
    )]
    Unreachable {
        /// The server and what of it is used.
        server: String,
        /// What was to be done.
        action: &'static str,
        /// What went wrong.
        reason: String,
        /// True when the request was sent, so that the step may be made.
        may_have_been_made: bool,
    },
    /// The server of a shared store takes no more at the moment. An outage: try again, later.
    #[error("{server} is asked for too much to {action}: {reason}; ask less often, or give it more capacity")]
    Throttled {
        /// The server and what of it is used.
        server: String,
        /// What was to be done.
        action: &'static str,
        /// What the server said.
        reason: String,
        /// True when an earlier attempt's answer was lost, so that the step may be made.
        may_have_been_made: bool,
    },
    /// The server of a shared store says no until somebody changes something.
    #[error("{server} refused to {action}: {reason}; {remedy}")]
    Refused {
        /// The server and what of it is used.
        server: String,
        /// What was to be done.
        action: &'static str,
        /// What the server said.
        reason: String,
        /// What to do.
        remedy: String,
        /// True when an earlier attempt's answer was lost, so that the step may be made.
        may_have_been_made: bool,
    },
    /// What the server keeps is not what this version writes. Nothing was written.
    #[error(
        "{server} holds {what} that cannot be read ({reason}): start a version that is at least as new as the one that wrote \
         it; if it is, the bytes are damaged and must be restored"
    )]
    Foreign {
        /// The server and what of it is used.
        server: String,
        /// What was read, with its topic where it has one.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An earlier failure left the state of the disk unknown, and the disk does not let the store go back to what it knows.
    #[error(
        "the standby store {directory} stopped after an error ({reason}): mend its disk (each step tries it again), or start again"
    )]
    Stopped {
        /// The store's directory.
        directory: PathBuf,
        /// What had failed.
        reason: String,
    },
}

impl Error {
    /// True when rows were refused because the store is at a limit or its disk is full: nothing was written.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(
            self,
            Self::Full { .. } | Self::DiskFull { .. } | Self::Crowded { .. }
        )
    }

    /// True when the step may have been made although it was not confirmed.
    #[must_use]
    pub const fn may_have_been_made(&self) -> bool {
        match self {
            Self::Storage { .. } => true,
            Self::Unreachable {
                may_have_been_made, ..
            }
            | Self::Throttled {
                may_have_been_made, ..
            }
            | Self::Refused {
                may_have_been_made, ..
            } => *may_have_been_made,
            _ => false,
        }
    }

    /// True when the same call may go well later without anybody's doing: the server is away or takes no more for now.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Throttled { .. })
    }

    /// The code that operators look up.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Full { .. } | Self::DiskFull { .. } | Self::Crowded { .. } => Code::StandbyFull,
            Self::TooLarge { .. } => Code::TooLarge,
            _ => Code::StandbyUnavailable,
        }
    }
}
