//! What processes tell each other: diversions and leases.

use evenkeel_flow::diversion::{Diversion, Lease, Phase, Process};
use evenkeel_flow::session::StampedRange;

use super::lane::fetch;
use super::record::{Answer, Ask};
use super::wire::{read_lease, write_lease};
use super::{Change, Keeper, ServerStandby};
use crate::shared::{AppendIn, Lane, Listed, SharedStandby};
use crate::standby::BoxFuture;
use crate::{AppendId, Error, Holds, Place, Row, holds};

impl<K: Keeper> ServerStandby<K> {
    /// What is held back, and the revision of the record that says so.
    async fn held(&self) -> Result<(Option<u64>, Holds), Error> {
        let Some(kept) = self.keeper.record(&Place::of_holds()).await? else {
            return Ok((None, Holds::default()));
        };
        let holds = holds::parse(&kept.bytes).map_err(|reason| self.no_holds(reason))?;
        Ok((Some(kept.revision), holds))
    }

    fn no_holds(&self, reason: String) -> Error {
        Error::Foreign {
            server: self.keeper.name().to_owned(),
            what: "the list of holds".to_owned(),
            reason,
        }
    }
}

impl<K: Keeper> SharedStandby for ServerStandby<K> {
    fn lane(&self, place: &Place) -> BoxFuture<'_, Result<Lane, Error>> {
        let place = place.clone();
        Box::pin(async move {
            let record = fetch(&*self.keeper, &place).await?.record;
            Ok(Lane {
                diversion: record.diversion,
                span: record.span,
            })
        })
    }

    fn put_diversion(
        &self,
        place: &Place,
        expected: u64,
        tail: Option<u64>,
        diversion: Diversion,
    ) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        let place = place.clone();
        Box::pin(async move {
            let ask = Ask::Divert {
                expected,
                tail,
                diversion,
            };
            match self.ask(&place, ask).await? {
                Answer::Divert(version) => Ok(version),
                _ => Err(self.mixed_up(&place)),
            }
        })
    }

    fn diversions(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        Box::pin(async move {
            let all = self.all().await?.into_iter();
            let diverted = all.filter(|(_, record)| record.diversion.record.phase != Phase::Open);
            Ok(diverted
                .map(|(place, record)| Listed {
                    place,
                    diversion: record.diversion,
                })
                .collect())
        })
    }

    fn append_in(
        &self,
        place: &Place,
        epoch: u64,
        id: AppendId,
        rows: Vec<Row>,
    ) -> BoxFuture<'_, Result<AppendIn, Error>> {
        let place = place.clone();
        Box::pin(async move { self.append_when(&place, Some(epoch), id, rows).await })
    }

    fn store_stamps_in(
        &self,
        place: &Place,
        term: u64,
        stamps: Vec<StampedRange>,
    ) -> BoxFuture<'_, Result<bool, Error>> {
        let place = place.clone();
        Box::pin(async move { self.stamp_when(&place, Some(term), stamps).await })
    }

    fn renew(&self, lease: Lease<Place>, joins: bool) -> BoxFuture<'_, Result<bool, Error>> {
        let bytes = write_lease(&lease).into();
        self.keeper.put_lease(lease.process, lease.renewal, bytes, joins)
    }

    fn revoke(&self, process: Process, renewal: u64) -> BoxFuture<'_, Result<bool, Error>> {
        self.keeper.remove_lease(process, renewal)
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease<Place>>, Error>> {
        Box::pin(async move {
            let kept = self.keeper.leases().await?;
            let read = kept.iter().map(|bytes| {
                read_lease(bytes).ok_or_else(|| Error::Foreign {
                    server: self.keeper.name().to_owned(),
                    what: "a lease".to_owned(),
                    reason: "it has another format".to_owned(),
                })
            });
            read.collect()
        })
    }

    fn holds(&self) -> BoxFuture<'_, Result<Holds, Error>> {
        Box::pin(async move { Ok(self.held().await?.1) })
    }

    fn put_holds(&self, expected: &Holds, holds: &Holds) -> BoxFuture<'_, Result<bool, Error>> {
        let (expected, holds) = (expected.clone(), holds.clone());
        Box::pin(async move {
            let (revision, held) = self.held().await?;
            if held != expected {
                return Ok(false);
            }
            let record = holds::write(&holds).map_err(|error| self.no_holds(error.to_string()))?;
            let change = Change::of_note(Place::of_holds(), revision, record.into());
            self.keeper.commit(vec![change]).await
        })
    }
}
