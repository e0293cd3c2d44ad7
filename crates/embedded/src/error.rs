//! What can go wrong while a broker starts or stops.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why a broker could not start or stop. Each message names the directory, file or address and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The broker has neither authentication nor encryption, so it listens on loopback alone.
    #[error("the embedded broker listens on loopback only, not on {address}: use 127.0.0.1 or ::1")]
    NotLoopback {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another port, or 0 for any free one")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another broker, in this process or another, holds the directory.
    #[error("data directory {} is in use by another broker: stop that one or choose another directory", directory.display())]
    InUse {
        /// The data directory.
        directory: PathBuf,
    },
    /// The directory was written by another version, or is something else altogether.
    #[error("data directory {} has format {found:?}, this version reads {expected:?}: use the version that wrote it, or an empty directory", directory.display())]
    Format {
        /// The data directory.
        directory: PathBuf,
        /// The first line of its `format` file; empty when there is none.
        found: String,
        /// What this version writes.
        expected: String,
    },
    /// What had been acknowledged cannot be read back, and nothing was changed.
    #[error("{} is damaged at byte {position}: {reason}; nothing was changed: restore the file from a copy, or move its directory away to lose the topic's data", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from its start.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A setting is outside its range.
    #[error("setting {setting} is {value}: {reason}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// The value that was given.
        value: String,
        /// The range.
        reason: &'static str,
    },
    /// The log's thread ended before it was asked to.
    #[error("the log of {} ended early: the broker cannot be trusted with more, start it again", directory.display())]
    Ended {
        /// The data directory.
        directory: PathBuf,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
