//! What the disk is told to do wrong: it stands before every write and sync of the log's thread.

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

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
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
