//! Opening the standby store that a drain of another process may hold for a while.
//!
//! Whoever sends on what a dead application left lets go of the store when the application itself wants it: the
//! application leaves a file, and the drain looks for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_store::{Config, DiskStandby, Error};

/// Between attempts to open the store.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A wish that is older is of a process that has given up, or died.
const WISH_LASTS: Duration = Duration::from_secs(10);

fn wish(directory: &Path) -> PathBuf {
    directory.join("wanted")
}

/// True when a process waits for the store of the application that keeps its data in `directory`: a drain then lets go of
/// it, so that the application can start.
#[must_use]
pub fn is_wanted(directory: &Path) -> bool {
    let wished = std::fs::metadata(wish(directory)).and_then(|about| about.modified());
    // A file's time, and not the application's clock: both sides of it are this machine's.
    wished.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < WISH_LASTS))
}

/// Opens the store, and waits for at most `limit` while another process has it open.
pub(super) async fn open(directory: &Path, config: Config, limit: Duration) -> Result<DiskStandby, Error> {
    let mut waited = Duration::ZERO;
    loop {
        let attempt = config.clone();
        let opened = match tokio::task::spawn_blocking(move || DiskStandby::open(&attempt)).await {
            Ok(opened) => opened,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let is_locked = matches!(opened, Err(Error::Locked { .. }));
        if waited > Duration::ZERO && !is_locked {
            // Left behind, it only makes a drain let go for nothing.
            std::fs::remove_file(wish(directory)).ok();
        }
        if !is_locked || waited >= limit {
            return opened;
        }
        if let Err(error) = std::fs::write(wish(directory), []) {
            tracing::debug!(%error, "the store cannot be asked for");
        }
        if waited.is_zero() {
            tracing::warn!(
                directory = %directory.display(),
                seconds = limit.as_secs(),
                "another process has the standby store open; waiting for it"
            );
        }
        tokio::time::sleep(AGAIN_AFTER).await;
        waited += AGAIN_AFTER;
    }
}
