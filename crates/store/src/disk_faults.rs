//! Lets the disk under this process's standby stores be slow or fail, so that `evenkeel verify` can show what holds then.
//! No part of the API.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

static SYNC_DELAY_MS: AtomicU64 = AtomicU64::new(0);
static IS_BROKEN: AtomicBool = AtomicBool::new(false);
static HAS_LIMITS: AtomicBool = AtomicBool::new(false);
static LIMITS: Mutex<Option<HashMap<PathBuf, u64>>> = Mutex::new(None);

/// Makes every sync take so much longer, in whole milliseconds.
pub fn slow(delay: Duration) {
    let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    SYNC_DELAY_MS.store(millis, Ordering::Relaxed);
}

/// Makes every read, write and sync fail, or lets them be.
pub fn fail(broken: bool) {
    IS_BROKEN.store(broken, Ordering::Relaxed);
}

/// Lets the disk under the store in `directory` be full when its files take `bytes`; `None`: it has room.
pub fn limit(directory: &Path, bytes: Option<u64>) {
    let mut limits = LIMITS.lock().unwrap_or_else(PoisonError::into_inner);
    let limits = limits.get_or_insert_default();
    match bytes {
        Some(bytes) => limits.insert(directory.to_owned(), bytes),
        None => limits.remove(directory),
    };
    HAS_LIMITS.store(!limits.is_empty(), Ordering::Release);
}

/// Fails when so many bytes more do not fit on the disk under the store in `directory`.
pub(crate) fn room(directory: &Path, bytes: u64) -> io::Result<()> {
    if !HAS_LIMITS.load(Ordering::Acquire) {
        return Ok(());
    }
    let limits = LIMITS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(limit) = limits.as_ref().and_then(|limits| limits.get(directory)) else {
        return Ok(());
    };
    let mut used = bytes;
    for entry in std::fs::read_dir(directory)? {
        used += entry?.metadata()?.len();
    }
    if used > *limit {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
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
