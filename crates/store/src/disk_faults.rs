//! Lets the disk under this process's standby stores be slow or fail, so that `evenkeel verify` can show what holds then.
//! No part of the API.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

static SYNC_DELAY_MS: AtomicU64 = AtomicU64::new(0);
static IS_BROKEN: AtomicBool = AtomicBool::new(false);

/// Makes every sync take so much longer, in whole milliseconds.
pub fn slow(delay: Duration) {
    let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    SYNC_DELAY_MS.store(millis, Ordering::Relaxed);
}

/// Makes every read, write and sync fail, or lets them be.
pub fn fail(broken: bool) {
    IS_BROKEN.store(broken, Ordering::Relaxed);
}

/// Fails when the disk is broken.
pub(crate) fn meet() -> io::Result<()> {
    if IS_BROKEN.load(Ordering::Relaxed) {
        return Err(io::Error::other(
            "the disk does not answer (a fault was injected)",
        ));
    }
    Ok(())
}

/// Waits as long as the disk takes longer, then fails when it is broken.
pub(crate) fn meet_sync() -> io::Result<()> {
    let millis = SYNC_DELAY_MS.load(Ordering::Relaxed);
    if millis > 0 {
        std::thread::sleep(Duration::from_millis(millis));
    }
    meet()
}
