//! The data directory: who holds it, and whether this version can read it.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::checkpoint::replace_file;
use crate::Error;

const FORMAT: &str = "evenkeel-embedded 1";

/// A data directory that nobody else has. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Takes the directory, creating it if it is absent.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(Error::io("create", path))?;
        let lock_path = path.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path);
        let lock = lock.map_err(Error::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    directory: path.into(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &lock_path)(error)),
        }
        check_format(path)?;
        let topics = path.join("topics");
        fs::create_dir_all(&topics).map_err(Error::io("create", &topics))?;
        Ok(Self {
            path: path.into(),
            lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is being forked at this moment holds a copy of it.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(directory = %self.path.display(), %error, "the lock could not be given back");
        }
    }
}

fn check_format(directory: &Path) -> Result<(), Error> {
    let path = directory.join("format");
    let found = match fs::read_to_string(&path) {
        Ok(found) => found.lines().next().unwrap_or_default().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_fresh(directory)? => {
            return replace_file(&path, format!("{FORMAT}\n").as_bytes()).map_err(Error::io("write", &path));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    if found == FORMAT {
        return Ok(());
    }
    Err(Error::Format {
        directory: directory.into(),
        found,
        expected: FORMAT.into(),
    })
}

/// Whether nothing but our own lock, or a format file that was never finished, is in it.
fn is_fresh(directory: &Path) -> Result<bool, Error> {
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let name = entry.map_err(Error::io("list", directory))?.file_name();
        if name != "lock" && name != "format.new" {
            return Ok(false);
        }
    }
    Ok(true)
}
