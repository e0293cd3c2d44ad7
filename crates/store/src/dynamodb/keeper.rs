//! The keeper: each of its calls, carried out by the module of what it is about.

use bytes::Bytes;
use evenkeel_flow::diversion::Process;

use super::{DynamoKeeper, clean, commit, lease, read, table};
use crate::server::{Block, Change, Keeper, Kept};
use crate::{BoxFuture, Error, Place};

impl Keeper for DynamoKeeper {
    fn name(&self) -> &str {
        &self.caller.name
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(table::check_format(&self.caller))
    }

    fn record(&self, place: &Place) -> BoxFuture<'_, Result<Option<Kept>, Error>> {
        let place = place.clone();
        Box::pin(async move { commit::record(&self.caller, &self.known, &place).await })
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(commit::commit(&self.caller, &self.known, changes))
    }

    fn changes_max(&self) -> usize {
        commit::CHANGES_MAX
    }

    fn blocks(&self, place: &Place, from: u64, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>, Error>> {
        let place = place.clone();
        Box::pin(async move { read::blocks(&self.caller, &place, from, bytes_max).await })
    }

    fn clean(&self, place: &Place, below: u64) -> BoxFuture<'_, Result<(), Error>> {
        let place = place.clone();
        Box::pin(async move {
            clean::clean(&self.caller, &place, below).await?;
            self.sweep_sometimes();
            Ok(())
        })
    }

    fn listed(&self) -> BoxFuture<'_, Result<Vec<(Place, Kept)>, Error>> {
        Box::pin(async move {
            self.sweep_sometimes();
            read::listed(&self.caller, &self.known).await
        })
    }

    fn put_lease(
        &self,
        process: Process,
        renewal: u64,
        lease: Bytes,
        joins: bool,
    ) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(lease::put(&self.caller, process, renewal, lease, joins))
    }

    fn remove_lease(&self, process: Process, renewal: u64) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(lease::remove(&self.caller, process, renewal))
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        Box::pin(lease::all(&self.caller))
    }
}
