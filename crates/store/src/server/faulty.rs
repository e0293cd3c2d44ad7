//! Lets the server under this process's shared standby stores be slow, throttle or be gone, so that `evenkeel verify` can
//! show what holds then. No part of the API.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_flow::diversion::Process;

use super::keeper::{Block, Change, Keeper, Kept};
use crate::standby::BoxFuture;
use crate::{Error, Place};

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

/// A keeper that meets the faults of this process.
#[derive(Debug)]
pub(super) struct Faulty<K>(pub(super) K);

impl<K: Keeper> Faulty<K> {
    async fn meet<T>(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.way().await;
        if self.is_drawn(THROTTLED_PERCENT.load(Ordering::Relaxed)) {
            return Err(Error::Throttled {
                server: self.0.name().to_owned(),
                action,
                reason: "a fault was injected".to_owned(),
                may_have_been_made: false,
            });
        }
        let is_gone = IS_GONE.load(Ordering::Relaxed);
        if is_gone && self.is_drawn(50) {
            return Err(self.lost(action));
        }
        let answer = call.await;
        self.way().await;
        match is_gone {
            true => Err(self.lost(action)),
            false => answer,
        }
    }

    async fn way(&self) {
        let millis = DELAY_MS.load(Ordering::Relaxed);
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis) / 2).await;
        }
    }

    fn is_drawn(&self, percent: u32) -> bool {
        percent > 0 && rand::random_range(0..100) < percent
    }

    fn lost(&self, action: &'static str) -> Error {
        Error::Unreachable {
            server: self.0.name().to_owned(),
            action,
            reason: "its answer was lost (a fault was injected)".to_owned(),
            may_have_been_made: true,
        }
    }
}

impl<K: Keeper> Keeper for Faulty<K> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn record(&self, place: &Place) -> BoxFuture<'_, Result<Option<Kept>, Error>> {
        Box::pin(self.meet("read a record", self.0.record(place)))
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.meet("write", self.0.commit(changes)))
    }

    fn changes_max(&self) -> usize {
        self.0.changes_max()
    }

    fn blocks(&self, place: &Place, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>, Error>> {
        Box::pin(self.meet("read rows", self.0.blocks(place, from, bytes_max)))
    }

    fn clean(&self, place: &Place, below: u64) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.meet("free rows", self.0.clean(place, below)))
    }

    fn listed(&self) -> BoxFuture<'_, Result<Vec<(Place, Kept)>, Error>> {
        Box::pin(self.meet("list what is parked", self.0.listed()))
    }

    fn put_lease(
        &self,
        process: Process,
        renewal: u64,
        lease: Bytes,
        joins: bool,
    ) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.meet("renew a lease", self.0.put_lease(process, renewal, lease, joins)))
    }

    fn remove_lease(&self, process: Process, renewal: u64) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.meet("take a lease away", self.0.remove_lease(process, renewal)))
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        Box::pin(self.meet("read the leases", self.0.leases()))
    }
}
