//! Lets the server under this process's shared standby stores be slow, throttle or be gone, so that `evenkeel verify` can
//! show what holds then. No part of the API.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::Error;

static DELAY_MS: AtomicU64 = AtomicU64::new(0);
static IS_GONE: AtomicBool = AtomicBool::new(false);
static THROTTLED_PERCENT: AtomicU32 = AtomicU32::new(0);

/// Makes every call take so much longer, half of it on each way, in whole milliseconds.
pub fn slow(delay: Duration) {
    let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    DELAY_MS.store(millis, Ordering::Relaxed);
}

/// Lets no answer come back, or lets them be. Every other call takes effect all the same.
pub fn lose(gone: bool) {
    IS_GONE.store(gone, Ordering::Relaxed);
}

/// Refuses so many of a hundred calls because there are too many of them.
pub fn throttle(percent: u32) {
    THROTTLED_PERCENT.store(percent, Ordering::Relaxed);
}

/// Makes a call of the server `name`, as far as the faults of this process let it.
pub(super) async fn meet<T>(
    name: &str,
    action: &'static str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    way().await;
    if is_drawn(THROTTLED_PERCENT.load(Ordering::Relaxed)) {
        return Err(Error::Throttled {
            server: name.to_owned(),
            action,
            reason: "a fault was injected".to_owned(),
            may_have_been_made: false,
        });
    }
    let is_gone = IS_GONE.load(Ordering::Relaxed);
    if is_gone && is_drawn(50) {
        return Err(lost(name, action));
    }
    let answer = call.await;
    way().await;
    match is_gone {
        true => Err(lost(name, action)),
        false => answer,
    }
}

async fn way() {
    let millis = DELAY_MS.load(Ordering::Relaxed);
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis) / 2).await;
    }
}

fn is_drawn(percent: u32) -> bool {
    percent > 0 && rand::random_range(0..100) < percent
}

fn lost(name: &str, action: &'static str) -> Error {
    Error::Unreachable {
        server: name.to_owned(),
        action,
        reason: "its answer was lost (a fault was injected)".to_owned(),
        may_have_been_made: true,
    }
}
