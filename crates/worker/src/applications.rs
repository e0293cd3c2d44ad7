//! The applications that keep their data on this machine, and a look into what each has parked.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use evenkeel_event::clock::{Clock as _, SystemClock, Timestamp};
use evenkeel_store::{Alarms, Damage, DiskLook, Holds, PlaceStats};

/// An application with a directory of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its name, which is the directory's.
    pub name: String,
    /// Where it keeps parked events, schemas, holds and alarms.
    pub directory: PathBuf,
}

/// What a look into a store shows. Nothing is written for it, and the application may run.
#[derive(Debug)]
pub struct Looked {
    /// A running process has the store open, and drains it.
    pub in_use: bool,
    /// Processes share the store; else it is on this machine's disk, for one.
    pub is_shared: bool,
    /// What it holds, the place with the oldest event first.
    pub places: Vec<PlaceStats>,
    /// What cannot be read back, as far as the look came upon it.
    pub damages: Vec<Damage>,
    /// What an operator holds.
    pub holds: Holds,
    /// What only an operator can mend, and what was refused.
    pub alarms: Alarms,
}

/// Names, sizes and times of a store's files: while they stay the same, so does what it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace(Vec<(std::ffi::OsString, u64, Option<std::time::SystemTime>)>);

/// The applications with a standby store under `directory`, by name; none where it is not there.
///
/// # Errors
/// When the directory cannot be read.
pub fn applications(directory: &Path) -> Result<Vec<Application>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("the directory {} cannot be read", directory.display()))?,
    };
    let mut applications = Vec::new();
    for entry in entries {
        let directory = entry.context("the data directory cannot be read")?.path();
        let name = directory.file_name().and_then(|name| name.to_str());
        let Some(name) = name else {
            continue;
        };
        if is_directory(&store(&directory))? {
            applications.push(Application {
                name: name.to_owned(),
                directory: directory.clone(),
            });
        }
    }
    applications.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(applications)
}

/// A store that may not be looked at is none that is not there: its events would go unseen.
fn is_directory(path: &Path) -> Result<bool> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match std::fs::metadata(path) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(false),
        found => Ok(found
            .with_context(|| format!("{} cannot be looked at", path.display()))?
            .is_dir()),
    }
}

impl Application {
    /// Where it keeps the schemas of its events.
    #[must_use]
    pub fn schemas(&self) -> PathBuf {
        self.directory.join("schemas")
    }

    /// Opens a look into the store. Waits for the disk.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn open(&self) -> Result<DiskLook> {
        let config = evenkeel_store::Config::new(store(&self.directory));
        DiskLook::open(&config).with_context(|| format!("the standby store of {}", self.name))
    }

    /// Looks into the store, and at holds and alarms. Waits for the disk.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn look(&self) -> Result<Looked> {
        let mut look = self.open()?;
        let places = look
            .open_places()
            .with_context(|| format!("the standby store of {}", self.name))?;
        let holds = Holds::read(&self.directory).unwrap_or_else(|error| {
            tracing::warn!(%error, "nothing of it is sent on");
            Holds::everything(SystemClock::default().now(), "the list of holds cannot be read")
        });
        let alarms = Alarms::read(&self.directory).unwrap_or_else(|error| {
            tracing::warn!(application = self.name, %error, "its alarms cannot be read");
            Alarms::default()
        });
        Ok(Looked {
            is_shared: false,
            in_use: look.is_in_use(),
            places,
            damages: look.damaged(),
            holds,
            alarms,
        })
    }

    /// See [`Trace`].
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn trace(&self) -> Result<Trace> {
        let mut trace = Vec::new();
        for directory in [store(&self.directory), self.directory.clone()] {
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                // A file may be gone before it is looked at: it has changed then too.
                if let Ok(about) = entry.metadata() {
                    trace.push((entry.file_name(), about.len(), about.modified().ok()));
                }
            }
        }
        trace.sort();
        Ok(Trace(trace))
    }
}

impl Looked {
    /// Events, bytes, and when the oldest was parked.
    #[must_use]
    pub fn total(&self) -> (u64, u64, Option<Timestamp>) {
        total(&self.places)
    }

    /// Places that are held and hold something.
    #[must_use]
    pub fn held(&self) -> u64 {
        held(&self.places, &self.holds)
    }

    /// Events that a drain would send on: neither held nor kept aside.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        waiting(&self.places, &self.holds)
    }
}

/// Events, bytes, and when the oldest was parked.
#[must_use]
pub fn total(places: &[PlaceStats]) -> (u64, u64, Option<Timestamp>) {
    (
        places.iter().map(|place| place.events).sum(),
        places.iter().map(|place| place.bytes).sum(),
        places.iter().map(|place| place.oldest).min(),
    )
}

/// Places that are held and hold something.
#[must_use]
pub fn held(places: &[PlaceStats], holds: &Holds) -> u64 {
    let is_held = |held: &&PlaceStats| holds.of(&held.place).is_some();
    places.iter().filter(is_held).count() as u64
}

/// Events that a drain would send on.
pub(crate) fn waiting(places: &[PlaceStats], holds: &Holds) -> u64 {
    let is_waiting = |held: &&PlaceStats| !held.place.is_aside() && holds.of(&held.place).is_none();
    places.iter().filter(is_waiting).map(|held| held.events).sum()
}

fn store(application: &Path) -> PathBuf {
    application.join("standby")
}
