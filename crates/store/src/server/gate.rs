//! The way of every call to the keeper. What the keeper needs is prepared, and whose the store is is settled, before the first
//! call, once that goes well: a process may start while the server is away. Then each call meets the faults of this process.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use evenkeel_flow::diversion::Process;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::faulty::meet;
use super::keeper::{Block, Change, Keeper, Kept};
use super::owner::Owner;
use crate::standby::BoxFuture;
use crate::{Error, Place};

/// A keeper that is prepared before it is asked.
#[derive(Debug)]
pub(super) struct Gate<K> {
    pub(super) keeper: K,
    pub(super) owner: Owner,
    prepared: OnceCell<()>,
    /// When it was tried last in vain, and why.
    failed: Mutex<Option<(Instant, Error)>>,
}

impl<K: Keeper> Gate<K> {
    pub(super) fn new(keeper: K, owner: Owner) -> Self {
        Self {
            keeper,
            owner,
            prepared: OnceCell::new(),
            failed: Mutex::default(),
        }
    }

    /// Prepares the keeper, unless that is done.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        let asked = Instant::now();
        let prepared = self.prepared.get_or_try_init(|| self.try_to_prepare(asked)).await;
        prepared.copied()
    }

    /// Who waited while another one tried shares what became of that: else each in turn would wait for a server that is away.
    async fn try_to_prepare(&self, asked: Instant) -> Result<(), Error> {
        let failed = || self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = failed().clone().filter(|(at, _)| *at > asked);
        if let Some((_, error)) = shared {
            return Err(error);
        }
        let prepared = async {
            self.keeper.prepare().await?;
            self.owner.settle(&self.keeper).await
        };
        let prepared = prepared.await;
        if let Err(error) = &prepared {
            *failed() = Some((Instant::now(), error.clone()));
        }
        prepared
    }

    async fn pass<T>(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let prepared = async {
            self.prepare().await?;
            call.await
        };
        meet(self.keeper.name(), action, prepared).await
    }
}

impl<K: Keeper> Keeper for Gate<K> {
    fn name(&self) -> &str {
        self.keeper.name()
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.prepare())
    }

    fn record(&self, place: &Place) -> BoxFuture<'_, Result<Option<Kept>, Error>> {
        Box::pin(self.pass("read a record", self.keeper.record(place)))
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.pass("write", self.keeper.commit(changes)))
    }

    fn changes_max(&self) -> usize {
        self.keeper.changes_max()
    }

    fn blocks(&self, place: &Place, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>, Error>> {
        Box::pin(self.pass("read rows", self.keeper.blocks(place, from, bytes_max)))
    }

    fn clean(&self, place: &Place, below: u64) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.pass("free rows", self.keeper.clean(place, below)))
    }

    fn listed(&self) -> BoxFuture<'_, Result<Vec<(Place, Kept)>, Error>> {
        Box::pin(self.pass("list what is parked", self.keeper.listed()))
    }

    fn put_lease(
        &self,
        process: Process,
        renewal: u64,
        lease: Bytes,
        joins: bool,
    ) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.pass(
            "renew a lease",
            self.keeper.put_lease(process, renewal, lease, joins),
        ))
    }

    fn remove_lease(&self, process: Process, renewal: u64) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.pass("take a lease away", self.keeper.remove_lease(process, renewal)))
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        Box::pin(self.pass("read the leases", self.keeper.leases()))
    }
}
