//! A look into what an application has parked: on this machine's disk, or in the store that its processes share.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use evenkeel_store::{Damage, DiskLook, Piece, Place, PlaceStats, SharedStandby};
use evenkeel_worker::applications::Application;
use tokio::runtime::Handle;

use crate::config::Settings;
use crate::{shared_standby, standby};

/// What is parked, to be read by a thread that may wait.
pub(crate) enum ParkedLook {
    /// The disk's files; their application is not disturbed.
    Disk(DiskLook),
    /// The store that the settings name.
    Shared(Arc<dyn SharedStandby>),
}

impl ParkedLook {
    /// Looks for what the application `name`, or the one of the settings, has parked.
    pub(crate) fn open(settings: &Settings, name: Option<String>) -> Result<(Application, Self)> {
        if shared_standby::is_of(settings, name.as_deref()) {
            let store = Handle::current().block_on(shared_standby::existing(settings))?;
            let store = store.context("standby.url names no store")?;
            return Ok((shared_standby::application(settings), Self::Shared(store)));
        }
        let application = standby::application(settings, name)?;
        let look = application.open()?;
        Ok((application, Self::Disk(look)))
    }

    /// The places that hold something, the one with the oldest event first.
    pub(crate) fn open_places(&mut self) -> Result<Vec<PlaceStats>> {
        match self {
            Self::Disk(look) => Ok(look.open_places()?),
            Self::Shared(store) => Ok(Handle::current().block_on(store.open_places())?),
        }
    }

    /// Rows of a place from a position on, about so many bytes of them.
    pub(crate) fn read(&mut self, place: &Place, from: u64, bytes_max: usize) -> Result<Piece> {
        match self {
            Self::Disk(look) => Ok(look.read(place, from, bytes_max)?),
            Self::Shared(store) => Ok(Handle::current().block_on(store.read(place, from, bytes_max))?),
        }
    }

    /// What could not be read, as far as this look came upon it.
    pub(crate) fn damaged(&self) -> Result<Vec<Damage>> {
        match self {
            Self::Disk(look) => Ok(look.damaged()),
            Self::Shared(store) => Ok(Handle::current().block_on(store.damaged())?),
        }
    }
}
