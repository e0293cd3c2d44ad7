//! The disk, as the log's thread finds it: what it is told to do wrong, and whether the last write failed.

use std::{
    fs::File,
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use crate::faults::no_space;

/// The disk as it is to behave.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    full: AtomicBool,
    failing: AtomicBool,
    sync_delay_micros: AtomicU64,
}

impl Disk {
    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::Release);
    }

    pub(crate) fn slow(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.sync_delay_micros.store(micros, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        self.fill(false);
        self.slow(Duration::ZERO);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// The last round of appends could not be written.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// A round of appends was written, or failed. That is said when it changes, not for each of them: on a full disk the
    /// log file would be the next flood.
    pub(super) fn note(&self, failure: Option<&io::Error>) {
        let was_failing = self.failing.swap(failure.is_some(), Ordering::AcqRel);
        match failure {
            Some(error) if !was_failing => {
                tracing::error!(%error, "appends fail, and are refused until they can be written")
            }
            None if was_failing => tracing::warn!("appends are written again"),
            _ => {}
        }
    }

    /// Fails when there is no space for a write.
    pub(super) fn check_space(&self) -> io::Result<()> {
        if self.is_full() { Err(no_space()) } else { Ok(()) }
    }

    /// Waits until the file's data is on disk.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        let micros = self.sync_delay_micros.load(Ordering::Acquire);
        if micros > 0 {
            thread::sleep(Duration::from_micros(micros));
        }
        file.sync_data()
    }
}
