//! What is wrong with the machine of a publisher, from within its process: its wall clock, and the disk or the server under its
//! standby store.
//!
//! It is kept in a file that the process looks at, so that it counts at once, and for a process that is started again too.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel_event::clock::{Clock, SystemClock, Timestamp};
use evenkeel_store::{disk_faults, server_faults};
use serde::{Deserialize, Serialize};

use crate::output::say;

/// Between looks at the file.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is wrong; the default is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    /// How many seconds the wall clock is ahead; behind, when negative.
    clock_seconds: i64,
    /// How much longer each sync of the disk takes, or each call of the server, milliseconds.
    store_delay_ms: u64,
    /// Nothing can be read from the disk or written to it; no answer comes from the server.
    store_is_gone: bool,
    /// Of a hundred calls of the server so many are refused.
    throttled_percent: u32,
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The wall clock is so many seconds ahead.
    Clock(i64),
    /// Each sync, or each call of a server, takes so many milliseconds longer.
    SlowStore(u64),
    LoseStore,
    /// So many of a hundred calls of a server are refused.
    ThrottleStore(u32),
    /// The store works as it should.
    MendStore,
}

/// A wall clock that can be off. The monotonic clock is the system's.
#[derive(Debug, Default)]
pub(super) struct OffClock {
    system: SystemClock,
    ahead_ms: AtomicI64,
}

impl Clock for OffClock {
    fn now(&self) -> Timestamp {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(self.system.now().millis().saturating_add(ahead_ms))
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
}

impl Machine {
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Clock(seconds) => self.clock_seconds = seconds,
            Change::SlowStore(millis) => self.store_delay_ms = millis,
            Change::LoseStore => self.store_is_gone = true,
            Change::ThrottleStore(percent) => self.throttled_percent = percent,
            Change::MendStore => {
                (self.store_delay_ms, self.store_is_gone, self.throttled_percent) = (0, false, 0);
            }
        }
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(self, path: &Path) -> Result<()> {
        let draft = path.with_extension("draft");
        let text = serde_json::to_vec(&self)?;
        std::fs::write(&draft, text)
            .and_then(|()| std::fs::rename(&draft, path))
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// What the file says; nothing is wrong where there is none.
    fn read(path: &Path) -> Result<Self> {
        match std::fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    fn apply(self, clock: &OffClock) {
        let ahead_ms = self.clock_seconds.saturating_mul(1_000);
        clock.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        let delay = Duration::from_millis(self.store_delay_ms);
        disk_faults::slow(delay);
        disk_faults::fail(self.store_is_gone);
        server_faults::slow(delay);
        server_faults::lose(self.store_is_gone);
        server_faults::throttle(self.throttled_percent);
    }
}

/// Lets this process's machine be what the file says, from now on and for ever.
pub(super) fn follow(path: PathBuf) -> Result<Arc<OffClock>> {
    let clock = Arc::new(OffClock::default());
    let mut known = Machine::read(&path)?;
    known.apply(&clock);
    let followed = Arc::clone(&clock);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(LOOK_EVERY);
            match Machine::read(&path) {
                Ok(said) if said != known => {
                    known = said;
                    known.apply(&followed);
                }
                Ok(_) => {}
                Err(error) => say!("{error:#}"),
            }
        }
    });
    Ok(clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_applied() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("machine");
        assert_eq!(Machine::read(&path).unwrap(), Machine::default());
        let mut machine = Machine::default();
        machine.change(Change::Clock(-3_600));
        machine.change(Change::LoseStore);
        machine.write(&path).unwrap();
        let read = Machine::read(&path).unwrap();
        assert!(read == machine && read.store_is_gone);
        machine.change(Change::MendStore);
        let clock = OffClock::default();
        machine.apply(&clock);
        let behind_ms = SystemClock::default().now().since(clock.now()).as_millis();
        assert!((3_590_000..=3_600_000).contains(&behind_ms), "{behind_ms}");
    }
}
