//! A look into a store while another process may hold it: its files are read without the lock, and nothing is written.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::Config;
use super::fetch::Fetcher;
use super::open::{self, Access, storage};
use crate::{Damage, Error, Piece, Place, PlaceStats, Stats};

/// How often a look begins anew when files that it was about to read were drained and deleted. Such an attempt ends at the
/// first file that is gone, so many of them are cheap; who drains small files faster than another looks needs many.
const ATTEMPTS: u32 = 1_000;

/// What a standby store on disk held at the moment of the look.
///
/// Its owner may go on appending and draining meanwhile. What is unfinished at the end of its files is left out, and
/// rows that are sent before they are read here are left out too.
#[derive(Debug)]
pub struct DiskLook {
    config: Config,
    fetcher: Fetcher,
    ledger: Arc<Mutex<super::ledger::Ledger>>,
    in_use: bool,
}

impl DiskLook {
    /// Looks into the store. Blocks for as long as the last of its files takes to read (at most some 64 MiB).
    ///
    /// # Errors
    /// [`Error::Format`] when another version wrote it, [`Error::Storage`] when its files cannot be read.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let directory = &config.directory;
        let in_use = open::is_in_use(directory)?;
        let mut attempt = 1;
        let ledger = loop {
            match open::look(directory) {
                Err(error) if attempt < ATTEMPTS && was_deleted(&error) => attempt += 1,
                other => break other?,
            }
        };
        let ledger = Arc::new(Mutex::new(ledger));
        let fetcher = Fetcher::new(config.clone(), ledger.clone(), Access::Look);
        let config = config.clone();
        Ok(Self {
            config,
            fetcher,
            ledger,
            in_use,
        })
    }

    /// True when a process had the store open: it drains it.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// The places that hold rows, the one with the oldest row first.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn open_places(&mut self) -> Result<Vec<PlaceStats>, Error> {
        let places = self.fetcher.open_places();
        places.map_err(|source| storage(&self.config.directory, "read", source))
    }

    /// As [`Standby::read`](crate::Standby::read).
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn read(&mut self, place: &Place, from: u64, bytes_max: usize) -> Result<Piece, Error> {
        let piece = self.fetcher.read(place, from, bytes_max);
        piece.map_err(|source| storage(&self.config.directory, "read", source))
    }

    /// What is parked in all.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn stats(&mut self) -> Result<Stats, Error> {
        let stats = self.fetcher.stats();
        stats.map_err(|source| storage(&self.config.directory, "read", source))
    }

    /// What could not be read back, as far as this look came upon it.
    #[must_use]
    pub fn damaged(&self) -> Vec<Damage> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.damages.clone()
    }
}

fn was_deleted(error: &Error) -> bool {
    matches!(error, Error::Storage { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
