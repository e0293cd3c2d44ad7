//! The standby stores of the applications that keep their data on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use evenkeel_event::clock::Timestamp;
use evenkeel_store::{DiskStandby, Error, PlaceStats, Standby as _};

use crate::config::Settings;

/// An application with a directory under `data.directory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
}

/// What a look into a store shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// What it holds, the place with the oldest event first.
    Places(Vec<PlaceStats>),
    /// A running process has it open.
    InUse,
}

/// The applications with a standby store, by name.
pub(crate) fn applications(settings: &Settings) -> Result<Vec<Application>> {
    let directory = settings.data.directory.join("applications");
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("the directory {} cannot be read", directory.display()))?,
    };
    let mut applications = Vec::new();
    for entry in entries {
        let directory = entry.context("the data directory cannot be read")?.path();
        let name = directory.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|_| store(&directory).is_dir()) {
            applications.push(Application {
                name: name.to_owned(),
                directory: directory.clone(),
            });
        }
    }
    applications.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(applications)
}

impl Application {
    /// Looks into the store; while it does, no publisher can start on it.
    pub(crate) async fn look(&self) -> Result<Look> {
        let config = evenkeel_store::Config::new(store(&self.directory));
        let opened = tokio::task::spawn_blocking(move || DiskStandby::open(&config)).await;
        let store = match opened.context("opening a standby store stopped early")? {
            Ok(store) => store,
            Err(Error::Locked { .. }) => return Ok(Look::InUse),
            Err(error) => return Err(error.into()),
        };
        let places = store.open_places().await;
        // Closing it waits for its threads.
        tokio::task::spawn_blocking(move || drop(store))
            .await
            .context("closing a standby store stopped early")?;
        Ok(Look::Places(places?))
    }

    /// Names, sizes and times of the store's files: while they stay the same, so does what it holds.
    pub(crate) fn trace(&self) -> Result<Trace> {
        let mut trace = Vec::new();
        for entry in std::fs::read_dir(store(&self.directory))? {
            let entry = entry?;
            let about = entry.metadata()?;
            trace.push((entry.file_name(), about.len(), about.modified().ok()));
        }
        trace.sort();
        Ok(Trace(trace))
    }
}

/// See [`Application::trace`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trace(Vec<(std::ffi::OsString, u64, Option<std::time::SystemTime>)>);

/// Events, bytes, and when the oldest was parked.
pub(crate) fn total(places: &[PlaceStats]) -> (u64, u64, Option<Timestamp>) {
    (
        places.iter().map(|place| place.events).sum(),
        places.iter().map(|place| place.bytes).sum(),
        places.iter().map(|place| place.oldest).min(),
    )
}

fn store(application: &Path) -> PathBuf {
    application.join("standby")
}
