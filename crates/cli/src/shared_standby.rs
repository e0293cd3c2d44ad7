//! A standby store that several processes of an application share, by the address that settings name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use evenkeel_store::{Alarms, Holds, HoldsError, SharedStandby, address};
use evenkeel_worker::applications::{Application, Looked};

use crate::config::Settings;
use crate::sdk;

/// Between looks at who lives.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A lease that says that it counts for longer is not believed.
const LEASE_MAX: Duration = Duration::from_secs(10);

/// Opens the store at `url` that the processes of `application` share, for at most `bytes_max` of parked events.
pub(crate) async fn open(url: &str, application: &str, bytes_max: u64) -> Result<Arc<dyn SharedStandby>> {
    address::open(url, application, bytes_max)
        .await
        .context("the shared standby store cannot be opened (standby.url says where it is)")
}

/// Makes the tables of the store at `url` for `application`, where they are not there; takes it over from another one, or refuses
/// one that is another one's.
pub(crate) async fn create(url: &str, application: &str, takes_over: bool) -> Result<()> {
    address::create(url, application)
        .await
        .context("the tables of the shared standby store cannot be made (standby.url says where it is)")?;
    let settled = match takes_over {
        true => address::take_over(url, application).await,
        false => address::open_existing(url, application).await.map(drop),
    };
    settled.context("the shared standby store is there, and not to be used")
}

/// True when what the application `name`, or the one of the settings, parks lies in the store that the settings name.
pub(crate) fn is_of(settings: &Settings, name: Option<&str>) -> bool {
    let is_own = name.is_none_or(|name| name == settings.publish.application);
    is_own && url(settings).is_some()
}

/// Its address, where the settings name one.
fn url(settings: &Settings) -> Option<&str> {
    Some(settings.standby.url.reveal()).filter(|url| !url.is_empty())
}

/// The store that the settings name; `None` where what is parked is kept on this machine.
pub(crate) async fn of(settings: &Settings) -> Result<Option<Arc<dyn SharedStandby>>> {
    let Some(url) = url(settings) else {
        return Ok(None);
    };
    let store = open(url, &settings.publish.application, settings.standby.bytes_max).await?;
    Ok(Some(store))
}

/// The same for a look: what is not there is an error.
pub(crate) async fn existing(settings: &Settings) -> Result<Option<Arc<dyn SharedStandby>>> {
    let Some(url) = url(settings) else {
        return Ok(None);
    };
    let application = &settings.publish.application;
    let store = address::open_existing(url, application).await;
    let cause = || {
        format!(
            "the standby store that the processes of {application} share cannot be looked into (standby.url says where it is)"
        )
    };
    Ok(Some(store.with_context(cause)?))
}

/// The store in which what the application `name`, or the one of the settings, parks lies; `None` where that is on this machine.
pub(crate) async fn named(settings: &Settings, name: Option<&str>) -> Result<Option<Arc<dyn SharedStandby>>> {
    match is_of(settings, name) {
        true => existing(settings).await,
        false => Ok(None),
    }
}

/// Looks into the store that the settings name, as into one on a disk.
pub(crate) async fn look(settings: &Settings) -> Result<Option<(Application, Looked)>> {
    let Some(store) = existing(settings).await? else {
        return Ok(None);
    };
    let application = application(settings);
    let looked = Looked {
        in_use: is_in_use(&*store).await?,
        is_shared: true,
        places: store.open_places().await?,
        damages: store.damaged().await?,
        holds: store.holds().await?,
        alarms: Alarms::read(&application.directory).unwrap_or_default(),
    };
    Ok(Some((application, looked)))
}

/// Whether a process that lives shares the store. One that was killed leaves its lease behind: only one that is renewed counts, for
/// which half of its duration is waited.
async fn is_in_use(store: &dyn SharedStandby) -> Result<bool> {
    let before = store.leases().await?;
    let Some(longest) = before.iter().map(|lease| lease.duration).max() else {
        return Ok(false);
    };
    let begun = Instant::now();
    while begun.elapsed() < longest.min(LEASE_MAX) / 2 {
        tokio::time::sleep(LOOK_EVERY).await;
        if store.leases().await?.iter().any(|lease| !before.contains(lease)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Changes what is held back of the store that the settings name, also while others do.
pub(crate) async fn change_holds(
    store: &dyn SharedStandby,
    change: impl Fn(&mut Holds) -> Result<(), HoldsError>,
) -> Result<Holds> {
    loop {
        let seen = store.holds().await?;
        let mut holds = seen.clone();
        change(&mut holds)?;
        if holds == seen || store.put_holds(&seen, &holds).await? {
            return Ok(holds);
        }
    }
}

/// The application of the settings, whose processes share a store.
pub(crate) fn application(settings: &Settings) -> Application {
    let name = settings.publish.application.clone();
    let directory = sdk::directory(settings, &name);
    Application { name, directory }
}

/// Removes what [`open`] made in PostgreSQL; tables of DynamoDB are made and removed by their owner.
pub(crate) async fn remove(url: &str, application: &str) -> Result<()> {
    address::remove(url, application)
        .await
        .context("what was parked is sent, and its empty tables are left")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use evenkeel_flow::diversion::{Lease, Process};
    use evenkeel_store::MemoryStandby;

    use super::*;

    fn lease(renewal: u64) -> Lease<evenkeel_store::Place> {
        Lease {
            process: Process(1),
            renewal,
            duration: Duration::from_secs(2),
            acknowledged: BTreeMap::new(),
        }
    }

    /// A process that was killed leaves its lease behind.
    #[tokio::test]
    async fn only_a_lease_that_is_renewed_is_of_a_process_that_lives() {
        let store = MemoryStandby::new(1);
        assert!(!is_in_use(&store).await.unwrap());
        assert!(store.renew(lease(1), true).await.unwrap());
        assert!(!is_in_use(&store).await.unwrap());
        let renews = async {
            tokio::time::sleep(LOOK_EVERY).await;
            store.renew(lease(2), false).await
        };
        let (in_use, renewed) = tokio::join!(is_in_use(&store), renews);
        assert!(in_use.unwrap() && renewed.unwrap());
    }
}
