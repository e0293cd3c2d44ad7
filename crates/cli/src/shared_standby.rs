//! A standby store that several processes of an application share, by the address that settings name.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use evenkeel_store::{Alarms, Holds, HoldsError, SharedStandby, address};
use evenkeel_worker::applications::{Application, Looked};

use crate::config::Settings;
use crate::sdk;

/// Opens the store at `url` that the processes of `application` share, for at most `bytes_max` of parked events.
pub(crate) async fn open(url: &str, application: &str, bytes_max: u64) -> Result<Arc<dyn SharedStandby>> {
    address::open(url, application, bytes_max)
        .await
        .context("the shared standby store cannot be opened (standby.url says where it is)")
}

/// Makes the tables of the store at `url` for `application`, where they are not there.
pub(crate) async fn create(url: &str, application: &str) -> Result<()> {
    address::create(url, application)
        .await
        .context("the tables of the shared standby store cannot be made (standby.url says where it is)")
}

/// True when what the application `name`, or the one of the settings, parks lies in the store that the settings name.
pub(crate) fn is_of(settings: &Settings, name: Option<&str>) -> bool {
    let is_own = name.is_none_or(|name| name == settings.publish.application);
    is_own && !settings.standby.url.reveal().is_empty()
}

/// The store that the settings name; `None` where what is parked is kept on this machine.
pub(crate) async fn of(settings: &Settings) -> Result<Option<Arc<dyn SharedStandby>>> {
    let (standby, application) = (&settings.standby, &settings.publish.application);
    if standby.url.reveal().is_empty() {
        return Ok(None);
    }
    let store = open(standby.url.reveal(), application, standby.bytes_max).await?;
    Ok(Some(store))
}

/// The store in which what the application `name`, or the one of the settings, parks lies; `None` where that is on this machine.
pub(crate) async fn named(settings: &Settings, name: Option<&str>) -> Result<Option<Arc<dyn SharedStandby>>> {
    match is_of(settings, name) {
        true => of(settings).await,
        false => Ok(None),
    }
}

/// Looks into the store that the settings name, as into one on a disk.
pub(crate) async fn look(settings: &Settings) -> Result<Option<(Application, Looked)>> {
    let Some(store) = of(settings).await? else {
        return Ok(None);
    };
    let application = application(settings);
    let looked = Looked {
        in_use: !store.leases().await?.is_empty(),
        places: store.open_places().await?,
        damages: store.damaged().await?,
        holds: store.holds().await?,
        alarms: Alarms::read(&application.directory).unwrap_or_default(),
    };
    Ok(Some((application, looked)))
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
